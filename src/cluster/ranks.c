#include "cluster/ranks.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cluster/channel.h"
#include "cluster/crew.h"

#define STOP_SECONDS 60.0               /* in which ranks save what they have */

struct ranks {
    const struct ranks_request *request;
    struct channel channel;
    struct surprisal_eval_options eval; /* the caller's, with this rank's share of the machine */
    struct surprisal_error error;       /* of the job, in rank 0; else of this rank */
    bool stopping;                      /* nothing new is begun, and what runs is saved */
    /* Of ranks other than rank 0: */
    struct message order;               /* the last one of rank 0 that is not carried out; kind -1:
                                           none */
    bool told;                          /* that this rank fails or stops */
    /* Of rank 0: */
    struct crew crew;
    struct surprisal_division *division;
};

static bool is_first(const struct ranks *r)
{
    return r->channel.rank == 0;
}

/* ---- stopping ---------------------------------------------------------------------------- */

/* Rank 0: the first reason counts. */
static void stop_all(struct ranks *r, bool interrupted, const char *why)
{
    if (r->stopping)
        return;
    r->stopping = true;
    surprisal_printable(&r->error, why);        /* which shortens it, if need be, in its middle */
    r->error.interrupted = interrupted;
    channel_tell_all(&r->channel, MESSAGE_STOP, 0);
}

/* This rank failed: rank 0 hears of it. */
static void fail(struct ranks *r, const struct surprisal_error *why)
{
    char text[sizeof why->message + 400];
    if (is_first(r) && r->channel.session && !why->interrupted) {
        crew_prefix(text, sizeof text, &r->crew, 0, why->message);
        stop_all(r, false, text);
    } else if (is_first(r))
        stop_all(r, why->interrupted, why->message);
    else if (!r->told)
        channel_send(&r->channel, 0, why->interrupted ? MESSAGE_STOPPED : MESSAGE_FAILED, 0, 0,
                     why->message);
    r->told = r->stopping = true;
}

/* A rank that does not answer cannot be waited for: the others get the time to save. */
static void give_up(struct ranks *r, int rank)
{
    char text[500], line[1000];
    snprintf(text, sizeof text, "has not answered for %d s", r->channel.timeout_seconds);
    r->channel.ended[rank] = true;
    if (is_first(r)) {
        crew_prefix(line, sizeof line, &r->crew, rank, text);
        stop_all(r, false, line);
        r->crew.lost = true;
    } else {
        fprintf(stderr, "surprisal: rank %d: rank %d %s\n", r->channel.rank, rank, text);
        r->told = r->stopping = true;
        r->order.kind = MESSAGE_END;
        r->crew.lost = true;
    }
}

/* ---- what comes in, and the callbacks of the work ---------------------------------------- */

static void exchange(struct ranks *r, int (*how)(struct channel *c))
{
    int rank = how(&r->channel);
    if (rank >= 0)
        give_up(r, rank);
}

static void receive_first(struct ranks *r, const struct message *m)
{
    char line[MESSAGE_TEXT_BYTES + 400];
    if (m->from < 1 || m->from >= r->channel.size)
        return;
    crew_prefix(line, sizeof line, &r->crew, m->from, m->text);
    if (m->kind == MESSAGE_FAILED || m->kind == MESSAGE_STOPPED) {
        r->channel.ended[m->from] = true;
        stop_all(r, m->kind == MESSAGE_STOPPED, line);
    } else if (m->kind == MESSAGE_WARNING)
        crew_warn(&r->crew, m->text, line, &r->request->eval->machine.progress);
    else
        crew_receive(&r->crew, m);
    if (!r->stopping && r->division)
        crew_deal(&r->crew, &r->channel);
}

static void receive(void *user, const struct message *m)
{
    struct ranks *r = user;
    if (is_first(r))
        receive_first(r, m);
    else if (m->kind == MESSAGE_STOP)
        r->stopping = true;
    else
        r->order = *m;
}

static bool report(void *user, const char *stage, double done, double total, const char *unit)
{
    struct ranks *r = user;
    const struct surprisal_progress *to = &r->request->eval->machine.progress;
    exchange(r, channel_exchange);
    return (!to->report || to->report(to->user, stage, done, total, unit)) && !r->stopping;
}

/* What all ranks have to say of the same text is said once, by rank 0. */
static void warn(void *user, const char *message)
{
    struct ranks *r = user;
    if (is_first(r))
        crew_warn(&r->crew, message, message, &r->request->eval->machine.progress);
    else
        channel_send(&r->channel, 0, MESSAGE_WARNING, 0, 0, message);
}

/* Of the first part that rank 0 scores. */
static void plan(void *user, const struct surprisal_plan *p)
{
    struct ranks *r = user;
    if (r->crew.told_plan)
        return;
    r->crew.told_plan = true;
    crew_show(&r->crew, surprisal_division_parts(r->division));
    r->request->eval->plan(r->request->eval->machine.progress.user, p);
}

/* Sleeps a little; false: the user asks to stop, or all do. */
static bool wait_a_little(struct ranks *r, const char *stage, double done, double total)
{
    const struct surprisal_progress *to = &r->request->eval->machine.progress;
    exchange(r, channel_wait);
    if (!r->stopping && to->report && !to->report(to->user, stage, done, total, "parts")) {
        const struct surprisal_error why = { .message = "interrupted", .interrupted = true };
        fail(r, &why);
    }
    return !r->stopping;
}

/* ---- any rank ---------------------------------------------------------------------------- */

/* "HOST PROCESSORS", the latter as hexadecimal digits. */
static void describe_place(char *out, size_t n)
{
    char host[256] = "?";
    cpu_set_t set;
    gethostname(host, sizeof host - 1);
    size_t at = (size_t)snprintf(out, n, "%s ", host);
    memset(&set, 0, sizeof set);
    sched_getaffinity(0, sizeof set, &set);
    for (size_t i = 0; i < sizeof set && at + 3 < n; i++)
        at += (size_t)snprintf(out + at, n - at, "%02x", ((const unsigned char *)&set)[i]);
}

/* Threads for this rank: those of its processors, shared by the ranks that have the same. */
static void take_share(struct ranks *r, size_t on_machine, size_t on_processors)
{
    cpu_set_t set;
    struct surprisal_machine *m = &r->eval.machine;
    int own = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    int share = own / (int)on_processors > 0 ? own / (int)on_processors : 1;
    m->processes = (int)on_machine;
    if (m->threads > share) {
        char text[200], line[600];
        snprintf(text, sizeof text, "has %d processor%s for the %d threads of --threads; the "
                 "launcher binds it", share, share == 1 ? "" : "s", m->threads);
        crew_prefix(line, sizeof line, &r->crew, 0, text);
        warn(r, is_first(r) ? line : text);     /* rank 0 says who the others are */
    } else if (!m->threads)
        m->threads = share;
}

static bool find_facts(struct ranks *r, struct surprisal_division_facts *facts)
{
    struct surprisal_error why = { 0 };
    if (surprisal_division_facts(&r->eval, facts, &why))
        return true;
    fail(r, &why);
    return false;
}

static bool score(struct ranks *r, size_t part, size_t of)
{
    struct surprisal_error why = { 0 };
    if (surprisal_division_score(&r->eval, (struct surprisal_part){ part, of }, &why))
        return true;
    fail(r, &why);
    return false;
}

/* ---- ranks other than the first ---------------------------------------------------------- */

static bool greet(struct ranks *r)
{
    char text[MESSAGE_TEXT_BYTES];
    struct surprisal_division_facts facts = { 0 };
    describe_place(text, sizeof text);
    channel_send(&r->channel, 0, MESSAGE_HELLO, 0, 0, text);
    while (r->order.kind != MESSAGE_WELCOME && r->order.kind != MESSAGE_END)
        if (!wait_a_little(r, "waiting for rank 0", 0, 0))
            return false;
    if (r->order.kind == MESSAGE_END)
        return false;
    take_share(r, r->order.a, r->order.b);
    r->order.kind = -1;
    bool ok = find_facts(r, &facts);
    if (ok && !crew_pack(text, sizeof text, &facts)) {
        const struct surprisal_error why = { .message = "has too many plans for several ranks" };
        fail(r, &why);
        ok = false;
    }
    if (ok)
        channel_send(&r->channel, 0, MESSAGE_READY, 0, 0, text);
    free(facts.settings);
    return ok;
}

/* Scores what rank 0 sends, until the end; gives the job's exit status. */
static int serve(struct ranks *r)
{
    bool works = greet(r);
    while (r->order.kind != MESSAGE_END) {
        struct message *m = &r->order;
        if (r->stopping && !r->told) {
            const struct surprisal_error why = { .message = "interrupted", .interrupted = true };
            fail(r, &why);
        }
        if (works && !r->stopping && m->kind == MESSAGE_SCORE) {
            size_t part = m->a, of = m->b;
            m->kind = -1;
            works = score(r, part, of);
            if (works)
                channel_send(&r->channel, 0, MESSAGE_DONE, part, 0, NULL);
        } else
            wait_a_little(r, "waiting for other ranks", 0, 0);
    }
    return (int)r->order.a;
}

/* ---- rank 0 ------------------------------------------------------------------------------ */

/* All ranks are here, know their share, and have the same settings. */
static bool gather(struct ranks *r, struct surprisal_division_facts *facts)
{
    char text[MESSAGE_TEXT_BYTES];
    struct crew *crew = &r->crew;
    struct surprisal_error why = { 0 };
    describe_place(text, sizeof text);
    crew_place(crew, 0, text);
    while (crew->n_here < crew->size)
        if (!wait_a_little(r, "waiting for ranks", 0, 0))
            return false;
    crew_welcome(crew, &r->channel);
    take_share(r, crew_on_machine(crew, 0), crew_on_processors(crew, 0));
    if (!find_facts(r, facts))
        return false;
    while (crew->n_ready < crew->size - 1)
        if (!wait_a_little(r, "waiting for ranks", 0, 0))
            return false;
    if (crew_check(crew, facts, r->request->mixed, &why))
        return true;
    stop_all(r, false, why.message);
    return false;
}

static bool lead(struct ranks *r, struct surprisal_merged *merged)
{
    struct surprisal_division_facts facts = { 0 };
    struct surprisal_error why = { 0 };
    bool ok = gather(r, &facts);
    if (ok) {
        r->division = surprisal_division_begin(&r->eval, &facts, (size_t)r->channel.size,
                                               r->request->mixed, &why);
        ok = r->division && crew_find_parts(&r->crew, r->division, &why);
        if (!ok)
            stop_all(r, false, why.message);
    }
    free(facts.settings);
    while (ok && r->crew.n_done < r->crew.parts) {
        size_t own = crew_next(&r->crew);
        crew_deal(&r->crew, &r->channel);
        if (own && (ok = score(r, own, r->crew.parts)))
            r->crew.n_done++;
        else if (ok)
            ok = wait_a_little(r, "parts of all ranks", (double)r->crew.n_done,
                               (double)r->crew.parts);
    }
    if (ok && !surprisal_division_join(r->division, merged, &why)) {
        stop_all(r, why.interrupted, why.message);
        ok = false;
    }
    return ok && !r->stopping;
}

/* Waits until all ranks have saved what they have; those that do not are ended. */
static void end_all(struct ranks *r, bool ok)
{
    double until = channel_seconds() + STOP_SECONDS;
    int status = ok ? 0 : r->error.interrupted ? 130 : 1;
    bool all = ok;
    while (!all && channel_seconds() < until) {
        exchange(r, channel_wait);
        all = true;
        for (int i = 1; i < r->channel.size; i++)
            all = all && r->channel.ended[i];
    }
    if (!all || r->crew.lost) {
        fprintf(stderr, "surprisal: %s\n", r->error.message);
        channel_abort(&r->channel, status);
    }
    for (int i = 1; i < r->channel.size; i++)
        channel_send(&r->channel, i, MESSAGE_END, (size_t)status, 0, NULL);
}

/* ---- both -------------------------------------------------------------------------------- */

static bool run(struct ranks *r, struct surprisal_merged *merged)
{
    if (is_first(r)) {
        bool ok = lead(r, merged);
        surprisal_division_close(r->division);
        end_all(r, ok);
        return ok;
    }
    int status = serve(r);
    if (r->crew.lost)
        channel_abort(&r->channel, 1);
    r->error = (struct surprisal_error){ .interrupted = status == 130 };
    return status == 0;
}

bool ranks_eval(const struct ranks_request *request, struct surprisal_merged *merged,
                struct surprisal_error *err)
{
    struct ranks *r = calloc(1, sizeof *r);
    *merged = (struct surprisal_merged){ 0 };
    if (!r) {
        snprintf(err->message, sizeof err->message, "out of memory: ranks");
        return false;
    }
    *r = (struct ranks){ .request = request, .eval = *request->eval, .order.kind = -1,
                         .channel = { .receive = receive, .user = r } };
    r->eval.machine.progress =
        (struct surprisal_progress){ .report = report, .warn = warn, .user = r };
    r->eval.plan = request->eval->plan ? plan : NULL;
    bool ok = channel_open(&r->channel, request->launch, &r->error)
           && crew_begin(&r->crew, r->channel.size, &r->error) && run(r, merged);
    channel_close(&r->channel);
    crew_end(&r->crew);
    *err = r->error;
    free(r);
    return ok;
}
