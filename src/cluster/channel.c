#include "cluster/channel.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_SECONDS 600
#define BEAT_SECONDS 1.0                /* between two signs of life */
#define LOOK_SECONDS 0.005              /* between two looks for messages */

double channel_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void on_alarm(int signal_number)
{
    static const char text[] = "surprisal: a rank waited in vain for another one to begin or end\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)signal_number, (void)written;
    _exit(1);
}

/* MPI_Init and MPI_Finalize wait for all ranks, and know no end of it. */
static void limit_time(int seconds)
{
    signal(SIGALRM, on_alarm);
    alarm((unsigned)seconds);
}

static bool connect(struct channel *c, const struct launch *launch, struct surprisal_error *err)
{
    c->library = launch->library;
    limit_time(c->timeout_seconds);
    c->session = c->library->begin(&c->rank, &c->size, err);
    limit_time(0);
    if (!c->session)
        return false;
    if (c->size == launch->size)
        return true;
    snprintf(err->message, sizeof err->message, "%s started %d ranks, but %s finds %d: the "
             "launcher belongs to another MPI", launch->launcher, launch->size, c->library->name,
             c->size);
    return false;
}

bool channel_open(struct channel *c, const struct launch *launch, struct surprisal_error *err)
{
    const char *text = getenv("SURPRISAL_RANK_TIMEOUT");
    long seconds = text ? strtol(text, NULL, 10) : 0;
    c->size = 1;
    c->timeout_seconds = seconds >= 1 && seconds <= 86400 ? (int)seconds : TIMEOUT_SECONDS;
    if (launch && !connect(c, launch, err))
        return false;
    c->heard = calloc((size_t)c->size, sizeof *c->heard);
    c->ended = calloc((size_t)c->size, sizeof *c->ended);
    if (!c->heard || !c->ended) {
        snprintf(err->message, sizeof err->message, "out of memory: %d ranks", c->size);
        return false;
    }
    for (int i = 0; i < c->size; i++)
        c->heard[i] = channel_seconds();
    return true;
}

void channel_close(struct channel *c)
{
    if (c->session) {
        limit_time(c->timeout_seconds);
        c->library->end(c->session);
        limit_time(0);
    }
    free(c->heard);
    free(c->ended);
    c->session = NULL;
}

void channel_send(struct channel *c, int to, enum message_kind kind, size_t a, size_t b,
                  const char *text)
{
    struct message m;
    memset(&m, 0, offsetof(struct message, text));
    m.kind = (int)kind;
    m.from = c->rank;
    m.a = a;
    m.b = b;
    snprintf(m.text, sizeof m.text, "%s", text ? text : "");
    size_t n = offsetof(struct message, text) + strlen(m.text) + 1;
    if (c->session && !c->library->send(c->session, to, &m, n)) {
        fprintf(stderr, "surprisal: rank %d: cannot send a message to rank %d\n", c->rank, to);
        channel_abort(c, 1);
    }
}

void channel_tell_all(struct channel *c, enum message_kind kind, size_t a)
{
    for (int i = 0; i < c->size; i++)
        if (i != c->rank && !c->ended[i])
            channel_send(c, i, kind, a, 0, NULL);
}

static void beat(struct channel *c, double now)
{
    if (now - c->beaten < BEAT_SECONDS)
        return;
    c->beaten = now;
    if (c->rank == 0)
        channel_tell_all(c, MESSAGE_ALIVE, 0);
    else
        channel_send(c, 0, MESSAGE_ALIVE, 0, 0, NULL);
}

/* Rank 0 listens to all, the others to rank 0. */
static int silent(const struct channel *c, double now)
{
    int n = c->rank == 0 ? c->size : 1;
    for (int i = c->rank == 0 ? 1 : 0; i < n; i++)
        if (!c->ended[i] && now - c->heard[i] > c->timeout_seconds)
            return i;
    return -1;
}

int channel_exchange(struct channel *c)
{
    double now = channel_seconds();
    if (!c->session || now - c->looked < LOOK_SECONDS)
        return -1;
    /* A process that was stopped as a whole, and goes on, has not listened. */
    if (now - c->looked > 0.5 * c->timeout_seconds)
        for (int i = 0; i < c->size; i++)
            c->heard[i] = now;
    c->looked = now;
    beat(c, now);
    struct message m;
    while (c->library->receive(c->session, &m, sizeof m)) {
        m.text[sizeof m.text - 1] = '\0';
        if (m.from >= 0 && m.from < c->size)
            c->heard[m.from] = now;
        if (m.kind != MESSAGE_ALIVE)
            c->receive(c->user, &m);
    }
    return silent(c, now);
}

int channel_wait(struct channel *c)
{
    usleep((useconds_t)(1000000 * LOOK_SECONDS));
    return channel_exchange(c);
}

void channel_abort(struct channel *c, int status)
{
    fflush(stderr);
    if (c->session)
        c->library->abort(c->session, status);
    _exit(status);
}
