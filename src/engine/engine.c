#include "engine/engine.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/threads.h"
#include "engine/cost.h"
#include "engine/mtp_acceptance.h"
#include "engine/pass.h"
#include "model/head.h"

static struct budget budget_of(const struct engine_options *o, size_t free_bytes)
{
    size_t n = size_max(o->processes, 1);
    struct budget b = { o->memory_bytes / n, o->held_bytes, o->reached_bytes };
    if (!o->memory_bytes
        && (!free_bytes || !size_sum(&b.bytes, free_bytes / 4 * 3 / n, o->held_bytes)))
        b.bytes = SIZE_MAX;
    if (!o->memory_bytes)
        b.reached_bytes = 0;
    return b;
}

struct engine *engine_open(const struct checkpoint *ck, const struct weights *w,
                           const struct engine_options *options, struct error *err)
{
    const struct kernels *kernels = kernels_find(options->isa, err);
    if (!kernels)
        return NULL;
    /* Leading dimensions of matrix products are 32-bit in BLAS. */
    const struct config *c = &ck->config;
    const size_t widths[] = {
        c->hidden_size, c->vocab_size, 2 * c->num_attention_heads * c->head_dim,
        2 * c->linear_num_key_heads * c->linear_key_head_dim
            + c->linear_num_value_heads * c->linear_value_head_dim,
        2 * c->moe_intermediate_size, c->intermediate_size, c->shared_expert_intermediate_size,
    };
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        if (widths[i] > INT_MAX) {
            error_set(err, "%s: a layer is %zu wide, at most %d is supported", ck->path, widths[i],
                      INT_MAX);
            return NULL;
        }
    int n_threads = options->n_threads > 0 ? options->n_threads : machine_processors();
    if (!threads_start(n_threads, 1, err))      /* and the one that reads weights */
        return NULL;
    struct engine *e = mem_array(1, sizeof *e, "the engine", err);
    if (!e)
        return NULL;
    size_t free_bytes = machine_free_memory();
    const struct budget budget = budget_of(options, free_bytes);
    *e = (struct engine){
        .ck = ck, .w = w, .kernels = kernels, .progress = options->progress,
        .compute = options->compute, .budget = budget, .n_threads = n_threads,
        .mtp = options->mtp,
    };
    if (!weight_schedule_make(&e->parts, ck, w, err)
        || (e->mtp && !weight_schedule_make_draft(&e->draft_parts, ck, w, e->mtp, err))) {
        engine_close(e);
        return NULL;
    }
    /* Weights that do not fit in memory beside the budget would only evict other pages from the
     * cache. */
    size_t mine = budget_left(&budget), n = size_max(options->processes, 1);
    size_t beside = free_bytes - size_min(free_bytes / n, mine) * n;
    e->evict = free_bytes && e->parts.bytes > beside;
    return e;
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    weight_schedule_free(&e->parts);
    weight_schedule_free(&e->draft_parts);
    free(e);
}

const char *engine_isa(const struct engine *e)
{
    return e->kernels->isa;
}

int engine_threads(const struct engine *e)
{
    return e->n_threads;
}

/* ---- scoring --------------------------------------------------------------- */

/* The ids that the rows of the final stream predict, in their order. */
static void fill_targets(const struct pass *p, int32_t *targets)
{
    size_t n = 0;
    for (size_t i = 0; i < p->at.n_windows; i++) {
        const struct engine_window *w = &p->job->windows[p->at.first_window + i];
        for (size_t target = w->first; target < w->end; target++)
            targets[n++] = p->job->ids[target];
    }
}

/* Scores from row `bad` on are not finite: an error, or their windows are left out. */
static bool check_scores(struct pass *p, const struct head_score *scores, size_t bad,
                         struct error *err)
{
    for (size_t row = bad; row < p->batch.n_tokens; row++) {
        if (head_is_finite(&scores[row]))
            continue;
        struct nonfinite found = { .step = NONFINITE_HEAD };
        size_t window = batch_window(&p->batch, row, &found.token);
        if (!p->nonfinite)
            return nonfinite_error(&found, p->batch.first_window + window, err);
        if (p->nonfinite[window].step == NONFINITE_NONE)
            p->nonfinite[window] = found;
    }
    return true;
}

/* Scores and hidden states of windows that are left out. */
static void blank_left_out(struct pass *p, struct engine_score *scores)
{
    size_t D = p->e->ck->config.hidden_size;
    for (size_t w = 0; p->nonfinite && w < p->batch.n_windows; w++) {
        if (p->nonfinite[w].step == NONFINITE_NONE)
            continue;
        for (size_t row = p->batch.start[w]; row < p->batch.start[w + 1]; row++) {
            scores[row] = (struct engine_score){ (double)NAN, NAN, -1 };
            for (size_t i = 0; i < D; i++)
                p->x[row * D + i] = NAN;
        }
    }
}

#define SINK_ROWS ((size_t)4096)

/* The head on the final stream. */
static bool run_head(struct pass *p, const struct score_buffers *b, struct error *err)
{
    size_t n = p->batch.n_tokens, bad = n;
    fill_targets(p, b->targets);
    p->step_flop = cost_head_flop(&p->e->ck->config) * (double)n;
    const struct head_task task = {
        .hidden = p->x, .targets = b->targets, .scores = b->scores, .n = n,
        .lm_head = &p->e->w->lm_head, .feed = &p->feed,
        .first_part = p->e->parts.layer[p->at.layer], .progress = { pass_report, p },
    };
    if (!head_forward(&p->cm, &b->head, &task, &bad, err)
        && (bad == n || !check_scores(p, b->scores, bad, err)))
        return false;
    for (size_t i = 0; i < n; i++) {
        const struct head_score *s = &b->scores[i];
        b->out[i] = (struct engine_score){ s->nll, s->logsumexp, s->top1 };
    }
    return true;
}

/* The scores of the final stream to the sink, and to `kept` unless that is NULL.  A pass without a
 * window left needs no head. */
static bool score_pass(struct pass *p, struct engine_score *kept, struct error *err)
{
    bool is_empty = pass_is_empty(p);
    if (is_empty)
        pass_drop_layers(p);
    size_t mark = p->arena->used;
    size_t D = p->e->ck->config.hidden_size, n = p->batch.n_tokens;
    const struct score_buffers b = plan_score_buffers_take(p->arena, &p->cm, &p->e->w->lm_head, n);
    if (!is_empty && !run_head(p, &b, err))
        return false;
    blank_left_out(p, b.out);
    const struct engine_sink *sink = &p->job->sink;
    for (size_t i = 0; i < n; i += SINK_ROWS)
        if (!sink->consume(sink->user, p->at.row + i, size_min(SINK_ROWS, n - i), b.out + i,
                           p->x + i * D, err))
            return false;
    if (kept)
        memcpy(kept, b.out, n * sizeof *kept);
    p->at.row += n;
    p->flop_done += p->step_flop;
    p->step_flop = 0;
    p->arena->used = mark;
    return true;
}

/* The same, and then the drafts. */
static bool score_and_draft(struct pass *p, const struct plan *plan, struct error *err)
{
    const struct draft_buffers b = plan_draft_buffers_take(p->arena, &p->e->ck->config, plan,
                                                           p->batch.n_tokens, p->at.n_windows);
    pass_finish_all(p, b.hidden);
    return score_pass(p, b.scores, err) && mtp_acceptance_run(p, &b, err);
}

bool engine_check_input(const struct engine *e, const int32_t *ids, size_t n_ids,
                        const struct engine_window *windows, size_t n_windows, struct error *err)
{
    size_t V = e->ck->config.vocab_size;
    for (size_t i = 0; i < n_ids; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= V)
            return error_set(err, "%s: token %zu has id %d, the vocabulary has %zu", e->ck->path, i,
                             (int)ids[i], V);
    for (size_t i = 0; i < n_windows; i++) {
        const struct engine_window *w = &windows[i];
        if (!(w->begin < w->first && w->first <= w->end && w->end <= n_ids))
            return error_set(err, "window %zu is [%zu, %zu) with targets from %zu, of %zu tokens",
                             i, w->begin, w->end, w->first, n_ids);
    }
    return true;
}

/* One pass from the state `at`; on success `at` is the beginning of the next one. */
static bool run_pass(const struct engine *e, const struct plan *plan, struct arena *arena,
                     const struct engine_job *job, struct engine_state *at, struct error *err)
{
    struct pass p;
    if (!pass_open(&p, e, plan, arena, job, at, err))
        return false;
    size_t L = e->ck->config.num_hidden_layers;
    bool ok = true;
    while (ok && p.at.layer < L && !pass_is_empty(&p))
        ok = pass_layer(&p, err);
    ok = ok && (plan->n_drafts ? score_and_draft(&p, plan, err) : score_pass(&p, NULL, err));
    if (!ok && err && err->interrupted) {
        struct error why = *err;                /* a failure to save is the worse news */
        if (pass_offer(&p, true, err))
            *err = why;
    }
    const struct engine_state next = {
        .first_window = p.at.first_window + p.at.n_windows, .row = p.at.row,
        .statistics = { .passes = at->statistics.passes + 1,
                        .bytes_read = p.bytes_before + stream_bytes(p.stream) + p.draft_bytes,
                        .model_tokens = at->statistics.model_tokens
                                      + plan_tokens(job->windows + p.at.first_window,
                                                    p.at.n_windows) },
    };
    pass_close(&p);
    ok = ok && (!job->guard.check || job->guard.check(job->guard.user, err));
    if (ok)
        *at = next;
    return ok;
}

void engine_nonfinite_text(char out[NONFINITE_TEXT_BYTES], const struct nonfinite *n)
{
    nonfinite_text(out, n);
}

/* ---- going on from a state --------------------------------------------------- */

static size_t scored_tokens(const struct engine_window *windows, size_t n)
{
    size_t scored = 0;
    for (size_t i = 0; i < n; i++)
        scored += windows[i].end - windows[i].first;
    return scored;
}

/* Rows of x that the state has of n of its windows from `first` on. */
static size_t state_rows(const struct engine *e, const struct engine_job *job,
                         const struct engine_state *s, size_t first, size_t n)
{
    size_t L = e->ck->config.num_hidden_layers;
    bool scored_only = s->layer == L || (s->layer + 1 == L && s->mixer_done);
    return scored_only ? scored_tokens(job->windows + first, n)
                       : plan_tokens(job->windows + first, n);
}

/* Tiles of a mixer end with a window: it cannot have stopped elsewhere. */
static bool ends_window(const struct engine *e, const struct engine_job *job,
                        const struct engine_state *s)
{
    size_t rows = 0, i = 0;
    while (i < s->n_windows && rows < s->rows_done)
        rows += state_rows(e, job, s, s->first_window + i++, 1);
    return rows == s->rows_done;
}

/* A state is refused that no run of this job can have left. */
static bool check_state(const struct engine *e, const struct engine_job *job, struct error *err)
{
    const struct engine_state *s = job->resume;
    size_t L = e->ck->config.num_hidden_layers;
    bool ok = s->first_window <= job->n_windows && s->n_windows <= job->n_windows - s->first_window
           && s->n_windows > 0 && s->row == scored_tokens(job->windows, s->first_window)
           && s->layer <= L && !(s->layer == L && s->mixer_done) && s->rows_done <= s->n_rows;
    if (!ok)
        return error_set(err, "the state to resume from does not belong to these windows");
    size_t rows = state_rows(e, job, s, s->first_window, s->n_windows);
    if (s->x && s->n_rows != rows)
        return error_set(err, "a state of %zu rows, where the windows have %zu", s->n_rows, rows);
    return s->mixer_done || ends_window(e, job, s)
        || error_set(err, "a state at row %zu, inside a window", s->rows_done);
}

/* The part of a state that belongs to n of its windows, from `first` on.  The windows before them
 * have been scored. */
static struct engine_state state_of_windows(const struct engine *e, const struct engine_job *job,
                                            const struct engine_state *s, size_t first, size_t n)
{
    struct engine_state part = *s;
    size_t before = state_rows(e, job, s, s->first_window, first - s->first_window);
    part.first_window = first;
    part.n_windows = n;
    part.row = scored_tokens(job->windows, first);
    part.n_rows = state_rows(e, job, s, first, n);
    part.rows_done = size_min(part.n_rows, s->rows_done - size_min(s->rows_done, before));
    if (s->x)
        part.x = s->x + before * e->ck->config.hidden_size;
    return part;
}

static bool offer_state(const struct engine_job *job, const struct engine_state *s, bool now,
                        struct error *err)
{
    return !job->saver.offer || job->saver.offer(job->saver.user, s, now, err);
}

/* The rest of the pass that a state is from, in as many passes as this budget asks for, each from
 * its own rows of the state.  The state that is saved has the rows of all windows that are left, so
 * only the last of these passes replaces it with its own. */
static bool resume_pass(const struct engine *e, const struct plan *plan, struct arena *arena,
                        const struct engine_job *job, struct engine_state *at, struct error *err)
{
    const struct engine_state *from = job->resume;
    size_t end = from->first_window + from->n_windows;
    struct engine_job unsaved = *job;
    unsaved.saver.offer = NULL;
    *at = *from;
    while (at->first_window < end) {
        size_t first = at->first_window;
        size_t next = size_min(end, plan_pass_end(plan, job->windows, job->n_windows, first));
        struct engine_state left = state_of_windows(e, job, from, first, end - first);
        left.statistics = at->statistics;
        *at = state_of_windows(e, job, from, first, next - first);
        at->statistics = left.statistics;
        bool last = next == end;
        if (first > from->first_window && !offer_state(job, &left, false, err))
            return false;
        if (run_pass(e, plan, arena, last ? job : &unsaved, at, err))
            continue;
        struct error why = { 0 };
        if (!last && err && err->interrupted && first > from->first_window
            && !offer_state(job, &left, true, &why))
            *err = why;
        return false;
    }
    return true;
}

/* ---- the whole ----------------------------------------------------------------- */

/* What a job has still to do. */
static size_t first_window(const struct engine_job *job)
{
    return job->resume ? job->resume->first_window : 0;
}

bool engine_score_windows(struct engine *e, const struct engine_job *job,
                          struct engine_statistics *statistics, struct error *err)
{
    assert(!job->drafts.n_drafts || (e->mtp && !job->resume && !job->saver.offer));
    struct arena arena = { 0 };
    struct plan plan;
    struct engine_state at = { 0 };
    *statistics = at.statistics;
    if (!engine_check_input(e, job->ids, job->n_ids, job->windows, job->n_windows, err)
        || (job->resume && !check_state(e, job, err))
        || !engine_plan(&plan, NULL, e, job->windows + first_window(job),
                        job->n_windows - first_window(job), job->drafts.n_drafts, err))
        return false;
    struct engine_job first = *job, later = *job;
    later.hash = NULL;                          /* it has seen all weights in the first pass */
    bool ok = !job->resume || resume_pass(e, &plan, &arena, job, &at, err);
    while (ok && at.first_window < job->n_windows) {
        at.n_windows = plan_pass_end(&plan, job->windows, job->n_windows, at.first_window)
                     - at.first_window;
        ok = run_pass(e, &plan, &arena, at.statistics.passes ? &later : &first, &at, err);
    }
    arena_free(&arena);
    if (ok)
        *statistics = at.statistics;
    return ok;
}

/* FLOP of a state's windows that are done already. */
static double flop_done(const struct engine *e, const struct engine_job *job)
{
    const struct engine_state *s = job->resume;
    const struct engine_window *windows = job->windows + s->first_window;
    double tokens = (double)plan_tokens(windows, s->n_windows), done = 0;
    for (size_t i = 0; i <= s->layer && i < e->ck->config.num_hidden_layers; i++) {
        const struct layer_cost layer = cost_layer(&e->ck->config, i, tokens,
                                                   (double)scored_tokens(windows, s->n_windows));
        done += i < s->layer ? layer.mixer + layer.mlp : s->mixer_done ? layer.mixer : 0;
    }
    return done;
}

/* Passes from window *first to `end`, and what they read that begin with `part`. */
static void add_passes(struct engine_cost *cost, const struct engine *e, const struct plan *plan,
                       const struct engine_job *job, size_t *first, size_t end, size_t part)
{
    size_t bytes = e->parts.bytes + job->drafts.n_drafts * e->draft_parts.bytes, next;
    for (size_t i = 0; i < part; i++)
        bytes -= stream_part_bytes(&e->parts.list, i);
    for (; *first < end; *first = next, cost->passes++, cost->bytes_read += bytes) {
        next = size_min(end, plan_pass_end(plan, job->windows, job->n_windows, *first));
        size_t tokens = plan_tokens(job->windows + *first, next - *first);
        cost->state_bytes = size_max(cost->state_bytes,
                                     tokens * e->ck->config.hidden_size * sizeof(float));
    }
}

bool engine_cost(const struct engine *e, const struct engine_job *job, struct engine_cost *cost,
                 struct error *err)
{
    const struct engine_state *s = job->resume;
    size_t first = first_window(job), n = job->n_windows - size_min(first, job->n_windows);
    const struct engine_window *windows = job->windows + first;
    struct plan plan;
    *cost = (struct engine_cost){ 0 };
    if ((s && !check_state(e, job, err))
        || !engine_plan(&plan, &cost->least_bytes, e, windows, n, job->drafts.n_drafts, err))
        return false;
    double tokens = (double)plan_tokens(windows, n), scored = (double)scored_tokens(windows, n);
    double all = job->drafts.n_drafts ? tokens : scored;        /* rows of the last layer */
    cost->flop = cost_layers_flop(&e->ck->config, tokens, all)
               + scored * cost_head_flop(&e->ck->config)
               + (double)job->drafts.n_drafts * cost_draft_flop(&e->ck->config, tokens, scored);
    if (s) {
        cost->flop -= flop_done(e, job);
        add_passes(cost, e, &plan, job, &first, first + s->n_windows,
                   s->x ? e->parts.layer[s->layer] : 0);
    }
    add_passes(cost, e, &plan, job, &first, job->n_windows, 0);
    cost->memory_bytes = plan.memory_bytes;
    cost->tile_tokens = plan.tile_tokens;
    cost->scored = scored_tokens(windows, n);
    return true;
}

/* ---- tracing ----------------------------------------------------------------- */

/* Norm and logits of all rows, a block at a time; only traces keep them. */
static bool trace_head(struct pass *p, const struct engine_tracer *tracer, struct error *err)
{
    const struct config *c = &p->e->ck->config;
    const struct weights *w = p->e->w;
    enum { ROWS = 64 };
    size_t D = c->hidden_size, T = p->batch.n_tokens, mark = p->arena->used;
    const struct head_logits_buffers b = head_logits_buffers_take(p->arena, &p->cm, &w->lm_head);
    float *logits = mem_array(ROWS, c->vocab_size * sizeof *logits, "logits", err);
    float *hidden = mem_array(ROWS, D * sizeof *hidden, "hidden states", err);
    bool ok = logits && hidden;
    for (size_t row = 0; ok && row < T; row += ROWS) {
        size_t n = size_min(ROWS, T - row);
        head_norm(&p->cm, &b, hidden, p->x + row * D, n, &w->norm);
        ok = tracer->hidden(tracer->user, row, n, hidden, err);
        if (ok) {
            head_logits(&p->cm, &b, logits, hidden, n, &w->lm_head);
            ok = tracer->logits(tracer->user, row, n, logits, err);
        }
    }
    free(logits);
    free(hidden);
    p->arena->used = mark;
    return ok;
}

bool engine_trace(struct engine *e, const int32_t *ids, size_t n_ids,
                  const struct engine_tracer *tracer, struct error *err)
{
    /* A window's last token is a target only, so one more than there are ids. */
    const struct engine_window window = { .begin = 0, .end = n_ids + 1, .first = n_ids + 1 };
    struct arena arena = { 0 };
    struct plan plan;
    if (!engine_check_input(e, ids, n_ids, NULL, 0, err)
        || !engine_plan(&plan, NULL, e, &window, 1, 0, err))
        return false;
    plan.keep_all = true;
    const struct engine_job job = { .ids = ids, .n_ids = n_ids, .windows = &window,
                                    .n_windows = 1 };
    const struct engine_state begin = { .n_windows = 1 };
    struct pass p;
    bool ok = pass_open(&p, e, &plan, &arena, &job, &begin, err), opened = ok;
    for (size_t layer = 0; ok && layer < e->ck->config.num_hidden_layers; layer++)
        ok = pass_layer(&p, err)
          && tracer->layer(tracer->user, layer, p.x,
                           e->ck->config.num_experts ? p.routing.expert : NULL, err);
    ok = ok && trace_head(&p, tracer, err);
    if (opened)
        pass_close(&p);
    arena_free(&arena);
    return ok;
}
