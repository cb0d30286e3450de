#include "decode/scheduler.h"

#include <stdlib.h>

#include "base/threads.h"
#include "decode/running.h"
#include "engine/pass.h"

struct scheduler {
    struct running running;             /* the engine thread's */
    pthread_t thread;
    pthread_mutex_t lock;               /* guards all that follows, `next` and `cancelled` of
                                           requests too */
    pthread_cond_t changed;
    struct request *first, **end;       /* owned: a list by age */
    size_t n_requests;
    uint64_t tickets;
    struct scheduler_figures figures;   /* as of the last step */
    bool closing, ready;
    bool failed;                        /* for good, or not ready: */
    struct error err;
};

/* ---- the engine thread --------------------------------------------------------------- */

/* Of the request in a piece. */
static bool is_cancelled(void *user)
{
    struct scheduler *s = user;
    const struct request *r = s->running.prefilling;
    pthread_mutex_lock(&s->lock);
    bool cancelled = r && r->cancelled;
    pthread_mutex_unlock(&s->lock);
    return cancelled;
}

/* With the lock held: takes those that are over out of the list, and gives them as a list. */
static struct request *take_over(struct scheduler *s)
{
    struct request *over = NULL, **over_end = &over, **at = &s->first;
    while (*at) {
        struct request *r = *at;
        if (r->cancelled && !r->is_over)
            request_end(r, SCHEDULER_CANCELLED);
        if (!r->is_over) {
            at = &r->next;
            continue;
        }
        running_leave(&s->running, r);
        *at = r->next;
        s->n_requests--;
        *over_end = r;
        over_end = &r->next;
    }
    *over_end = NULL;
    s->end = at;
    return over;
}

static void end_all(struct request *over)
{
    while (over) {
        struct request *r = over;
        over = r->next;
        r->given.ended(r->given.user, r->end, r->end == SCHEDULER_FAILED ? &r->err : NULL);
        request_free(r);
    }
}

/* With the lock held: the oldest that waits. */
static struct request *first_waiting(const struct scheduler *s)
{
    struct request *r = s->first;
    while (r && r->state)
        r = r->next;
    return r;
}

/* With the lock held. */
static void fail(struct scheduler *s, const struct error *err)
{
    s->failed = s->figures.failed = true;
    s->err = *err;
    for (struct request *r = s->first; r; r = r->next) {
        if (r->is_over)
            continue;
        request_end(r, SCHEDULER_FAILED);
        r->err = *err;
    }
}

/* With the lock held. */
static void note_figures(struct scheduler *s)
{
    s->figures = s->running.figures;
    s->figures.running = s->running.n;
    s->figures.waiting = s->n_requests - s->running.n;
    s->figures.kv_used = running_kv_tokens(&s->running);
    s->figures.cached_states = s->running.cache.n_entries;
    s->figures.failed = s->failed;
}

/* What has ended leaves; what waits starts; a step.  With the lock held, except for the work. */
static void turn(struct scheduler *s)
{
    struct error err = { 0 };
    struct request *over = take_over(s), *next = first_waiting(s);
    note_figures(s);
    pthread_mutex_unlock(&s->lock);
    end_all(over);
    if (next && running_may_start(&s->running, next))
        running_start(&s->running, next);
    bool ok = !s->running.n || running_step(&s->running, &err);
    pthread_mutex_lock(&s->lock);
    if (!ok)
        fail(s, &err);
}

static void *work(void *user)
{
    struct scheduler *s = user;
    struct error err = { 0 };
    bool ok = threads_start(s->running.engine->n_threads, 0, &err);
    pthread_mutex_lock(&s->lock);
    s->ready = true;
    if (!ok)
        fail(s, &err);
    pthread_cond_broadcast(&s->changed);
    while (s->first || !s->closing) {
        if (s->first)
            turn(s);
        else
            pthread_cond_wait(&s->changed, &s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- opening and closing ---------------------------------------------------------------- */

/* Waits for the engine thread, whose parallel regions may lack threads. */
static bool start_thread(struct scheduler *s, struct error *err)
{
    if (!threads_begin(&s->thread, work, s, "the engine thread", err))
        return false;
    pthread_mutex_lock(&s->lock);
    while (!s->ready)
        pthread_cond_wait(&s->changed, &s->lock);
    bool ok = !s->failed;
    if (!ok)
        *err = s->err;
    pthread_mutex_unlock(&s->lock);
    return ok;
}

struct scheduler *scheduler_open(const struct engine *e, const struct scheduler_options *options,
                                 struct error *err)
{
    struct scheduler *s = mem_array(1, sizeof *s, "the scheduler", err);
    if (!s)
        return NULL;
    s->end = &s->first;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    if (running_open(&s->running, e, options, is_cancelled, s, err)) {
        note_figures(s);
        if (start_thread(s, err))
            return s;
    }
    scheduler_close(s);
    return NULL;
}

void scheduler_close(struct scheduler *s)
{
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    for (struct request *r = s->first; r; r = r->next)
        r->cancelled = true;
    pthread_cond_broadcast(&s->changed);
    bool joins = s->ready;
    pthread_mutex_unlock(&s->lock);
    if (joins)
        pthread_join(s->thread, NULL);
    running_close(&s->running);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void scheduler_memory(const struct scheduler *s, struct scheduler_memory *memory)
{
    *memory = s->running.memory;
}

/* ---- requests ------------------------------------------------------------------------- */

static bool check(const struct scheduler *s, const struct scheduler_request *r, struct error *err)
{
    const struct engine *e = s->running.engine;
    size_t context = s->running.options.context;
    if (r->n_prompt == 0)
        return error_set(err, "the prompt holds no tokens");
    if (r->n_prompt > context)
        return error_set(err, "the prompt has %zu tokens, more than the context of %zu",
                         r->n_prompt, context);
    return engine_check_input(e, r->prompt, r->n_prompt, NULL, 0, err);
}

/* With the lock held. */
static bool has_place(const struct scheduler *s, struct error *err)
{
    if (s->failed || s->closing) {
        if (err)
            err->interrupted = true;
        return s->failed ? error_set(err, "the engine has failed: %s", s->err.message)
                         : error_set(err, "no request is taken any more");
    }
    const struct scheduler_options *o = &s->running.options;
    return s->n_requests < o->max_sequences || s->n_requests - o->max_sequences < o->max_queue
        || error_lack(err, "%zu requests run or wait already", s->n_requests);
}

bool scheduler_add(struct scheduler *s, const struct scheduler_request *r, uint64_t *ticket,
                   struct error *err)
{
    if (!check(s, r, err))
        return false;
    struct request *new = request_new(r, &s->running.cache, err);
    if (!new)
        return false;
    pthread_mutex_lock(&s->lock);
    bool ok = has_place(s, err);
    if (ok) {
        *ticket = new->ticket = ++s->tickets;
        *s->end = new;
        s->end = &new->next;
        s->n_requests++;
        s->figures.waiting++;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    if (!ok)
        request_free(new);
    return ok;
}

void scheduler_cancel(struct scheduler *s, uint64_t ticket)
{
    pthread_mutex_lock(&s->lock);
    for (struct request *r = s->first; r; r = r->next)
        if (r->ticket == ticket)
            r->cancelled = true;
    pthread_mutex_unlock(&s->lock);
}

void scheduler_read_figures(struct scheduler *s, struct scheduler_figures *figures)
{
    pthread_mutex_lock(&s->lock);
    *figures = s->figures;
    pthread_mutex_unlock(&s->lock);
}
