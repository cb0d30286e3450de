#include "base/threads.h"

#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* The threads that OpenMP keeps for the calling thread: those of its last parallel region stay for
 * the next one, and OpenMP has no call that tells their number.  Only needed to not count them
 * twice. */
static _Thread_local int running = 1;

static int begin(pthread_t *thread, void *(*run)(void *), void *user)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(thread, NULL, run, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

bool threads_begin(pthread_t *thread, void *(*run)(void *), void *user, const char *what,
                   struct error *err)
{
    int failed = begin(thread, run, user);
    return !failed || error_lack(err, "cannot start %s: %s", what, error_reason(failed));
}

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool is_open;
};

static void *wait_at_gate(void *user)
{
    struct gate *g = user;
    pthread_mutex_lock(&g->lock);
    while (!g->is_open)
        pthread_cond_wait(&g->opened, &g->lock);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

static void open_gate(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->is_open = true;
    pthread_cond_broadcast(&g->opened);
    pthread_mutex_unlock(&g->lock);
}

/* How many of n threads can exist at once; *why: the error of the first one that cannot start. */
static int try(pthread_t *threads, int n, int *why)
{
    struct gate gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };
    int started = 0;
    *why = 0;
    while (started < n && (*why = begin(&threads[started], wait_at_gate, &gate)) == 0)
        started++;
    open_gate(&gate);
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return started;
}

/* Runs a region that does next to nothing; its threads stay. */
static void start(int n)
{
    int seen = 0;
    #pragma omp parallel num_threads(n) reduction(+ : seen)
    seen += omp_get_thread_num();
    running = seen > 0 ? n : 1;
}

bool threads_start(int n, int more, struct error *err)
{
    int limit = omp_get_thread_limit(), why;
    int team = n < limit ? n : limit, new = (team > running ? team - running : 0) + more;
    pthread_t *threads = mem_array((size_t)new, sizeof *threads, "threads", err);
    if (!threads)
        return false;
    int started = try(threads, new, &why);
    free(threads);
    if (started == new) {
        start(team);
        return true;
    }
    int possible = running + started - more;
    if (possible < 1)
        return error_lack(err, "cannot start a thread beside the main one: %s", error_reason(why));
    return error_lack(err, "cannot start %d threads: %s; --threads %d would work", n,
                      error_reason(why), possible);
}
