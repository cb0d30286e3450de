#include "engine/mtp_acceptance.h"

#include <string.h>

#include "engine/cost.h"
#include "model/embedding.h"

/* One draft of all rows. */
struct draft {
    struct pass *p;
    const struct draft_buffers *b;
    size_t number;                      /* from 0 */
    struct batch batch;                 /* of all rows */
    struct stream *stream;              /* owned */
    struct weight_feed feed;
    size_t n_rows;                      /* scored targets */
};

/* ---- weights ------------------------------------------------------------------ */

/* Scales that are NaN are refused before the first draft; those of embedding and head were when the
 * pass read them. */
static bool need(void *user, size_t part, struct error *err)
{
    struct draft *d = user;
    const struct engine *e = d->p->e;
    return stream_need(d->stream, part, err)
        && (d->number || part != e->draft_parts.layer[0]
            || weights_check_mtp(e->ck, e->mtp, err));
}

static void done(void *user, size_t part)
{
    struct draft *d = user;
    stream_done(d->stream, part);
}

/* ---- rows ---------------------------------------------------------------------- */

static const struct engine_window *window_of(const struct draft *d, size_t w)
{
    return &d->p->job->windows[d->p->at.first_window + w];
}

/* All rows of all windows, and a state for each window. */
static void lay_out(const struct pass *p, const struct draft_buffers *b, struct batch *batch)
{
    const struct config *c = &p->e->ck->config;
    char *memory = b->keys;
    *batch = (struct batch){ .n_windows = p->at.n_windows, .start = b->start,
                             .first_window = p->at.first_window };
    b->start[0] = 0;
    for (size_t w = 0; w < batch->n_windows; w++) {
        size_t n = plan_window_tokens(&p->job->windows[p->at.first_window + w]);
        b->start[w + 1] = b->start[w] + n;
        b->state_list[w] = &b->states[w];
        attention_state_init(&b->states[w], c, n, memory);
        memory += attention_state_bytes(c, n);
        batch->longest = size_max(batch->longest, n);
    }
    batch->n_tokens = b->start[batch->n_windows];
}

/* Slot i + d of the chain after slot i sees token i + d + 1; beyond the window its last one. */
static void slot_tokens(const struct draft *d)
{
    for (size_t w = 0; w < d->batch.n_windows; w++) {
        const struct engine_window *window = window_of(d, w);
        int32_t *ids = d->b->ids + d->b->start[w];
        for (size_t i = 0; i < d->b->start[w + 1] - d->b->start[w]; i++) {
            size_t at = window->begin + i + d->number + 1;
            ids[i] = d->p->job->ids[size_min(at, window->end - 1)];
        }
    }
}

/* The first target of a window that this draft has: it needs a row, d slots and their tokens before
 * it. */
static size_t first_drafted(const struct draft *d, const struct engine_window *window)
{
    return size_min(window->end, size_max(window->first, window->begin + d->number + 2));
}

/* Brings the states that drafted the scored targets together, and their ids.  Targets without a
 * draft get zeros, which the head computes and nobody uses. */
static void gather(const struct draft *d)
{
    size_t D = d->p->e->ck->config.hidden_size, row = 0;
    for (size_t w = 0; w < d->batch.n_windows; w++) {
        const struct engine_window *window = window_of(d, w);
        size_t first = first_drafted(d, window);
        for (size_t target = window->first; target < window->end; target++, row++) {
            float *to = d->b->drafted + row * D;
            d->b->ids[row] = d->p->job->ids[target];
            if (target < first)
                memset(to, 0, D * sizeof *to);
            else
                memcpy(to, d->b->x + (d->b->start[w] + target - window->begin - d->number - 2) * D,
                       D * sizeof *to);
        }
    }
}

/* ---- the steps ------------------------------------------------------------------- */

static bool embed(struct draft *d, struct error *err)
{
    struct pass *p = d->p;
    size_t V = p->e->w->embed_tokens.rows, part = 0;
    for (size_t first = 0; first < V; first += VOCABULARY_TILE, part++) {
        if (!need(d, part, err))
            return false;
#pragma omp parallel num_threads(p->cm.n_threads)
        embedding_tile(&p->cm, d->b->x, &p->e->w->embed_tokens, d->b->ids, d->batch.n_tokens,
                       first, size_min(VOCABULARY_TILE, V - first));
        done(d, part);
    }
    return true;
}

/* What the next step costs, for progress. */
static void begin_step(struct pass *p, double flop)
{
    p->flop_done += p->step_flop;
    p->step_flop = flop;
}

static bool run_layer(struct draft *d, struct error *err)
{
    struct pass *p = d->p;
    size_t mark = p->arena->used;
    struct mtp_buffers buffers = mtp_buffers_take(p->arena, &p->cm, d->batch.n_tokens,
                                                  d->batch.longest, p->tile_tokens);
    const struct mtp_task task = {
        .weights = p->e->mtp, .batch = d->batch, .x = d->b->x, .hidden = d->b->hidden,
        .routing = p->routing, .tile_tokens = p->tile_tokens, .states = d->b->state_list,
        .chain = { d->b->chain_k, d->b->chain_v, d->batch.n_tokens, d->number },
        .feed = &d->feed, .first_part = p->e->draft_parts.layer[0], .progress = { pass_report, p },
    };
    begin_step(p, cost_draft_flop(p->cm.config, (double)d->batch.n_tokens, 0));
    bool ok = mtp_forward(&p->cm, &task, &buffers, err);
    p->arena->used = mark;
    return ok;
}

/* Log-sum-exp, NLL and best token of the drafts. */
static bool run_head(struct draft *d, struct error *err)
{
    struct pass *p = d->p;
    const struct matrix *lm_head = &p->e->w->lm_head;
    size_t mark = p->arena->used, bad;
    const struct head_buffers buffers = head_buffers_take(p->arena, &p->cm, lm_head, d->n_rows);
    const struct head_task task = {
        .hidden = d->b->drafted, .targets = d->b->ids, .scores = d->b->head_scores,
        .n = d->n_rows, .lm_head = lm_head, .feed = &d->feed,
        .first_part = p->e->draft_parts.layer[1], .progress = { pass_report, p },
    };
    begin_step(p, (double)d->n_rows * cost_head_flop(p->cm.config));
    bool ok = head_forward(&p->cm, &buffers, &task, &bad, err);
    p->arena->used = mark;
    return ok || bad == d->n_rows
        || error_set(err, "MTP: head: NaN or infinity at draft %zu of scored target %zu",
                     d->number + 1, bad);
}

static bool run_acceptance(struct draft *d, struct error *err)
{
    struct pass *p = d->p;
    const struct draft_buffers *b = d->b;
    const struct matrix *lm_head = &p->e->w->lm_head;
    size_t mark = p->arena->used;
    const struct acceptance_task task = {
        .sides = { { &p->cm, p->x, lm_head, &d->feed, p->e->draft_parts.layer[2] },
                   { &p->cm, b->drafted, lm_head, NULL, 0 } },
        .logsumexp = { b->logsumexp[0], b->logsumexp[1] }, .accepted = b->accepted,
        .n = d->n_rows, .progress = { pass_report, p },
    };
    const struct vocabulary_buffers buffers =
        vocabulary_buffers_take(p->arena, task.sides, VOCABULARY_SIDES);
    for (size_t row = 0; row < d->n_rows; row++) {
        b->logsumexp[0][row] = b->scores[row].logsumexp;
        b->logsumexp[1][row] = b->head_scores[row].logsumexp;
    }
    begin_step(p, 2 * (double)d->n_rows * cost_head_flop(p->cm.config));
    bool ok = acceptance_forward(&task, &buffers, err);
    p->arena->used = mark;
    return ok;
}

/* Window by window, to the sink. */
static bool deliver(const struct draft *d, struct error *err)
{
    const struct engine_draft_sink *sink = &d->p->job->drafts;
    const struct draft_buffers *b = d->b;
    size_t D = d->p->e->ck->config.hidden_size, row = 0;
    for (size_t i = 0; i < d->n_rows; i++) {
        const struct head_score *s = &b->head_scores[i];
        b->drafts[i] = (struct engine_draft){ s->nll, b->accepted[i], s->logsumexp, s->top1,
                                              s->top1 == b->scores[i].top1 };
    }
    for (size_t w = 0; w < d->batch.n_windows; w++) {
        const struct engine_window *window = window_of(d, w);
        size_t first = first_drafted(d, window), at = row + first - window->first;
        row += window->end - window->first;
        if (!sink->consume(sink->user, d->batch.first_window + w, d->number, row - at,
                           b->drafts + at, b->drafted + at * D, err))
            return false;
    }
    return true;
}

static bool run_draft(struct draft *d, struct error *err)
{
    d->p->draft = d->number + 1;
    slot_tokens(d);
    if (!embed(d, err) || !run_layer(d, err))
        return false;
    gather(d);
    return run_head(d, err) && run_acceptance(d, err) && deliver(d, err);
}

bool mtp_acceptance_run(struct pass *p, const struct draft_buffers *b, struct error *err)
{
    struct draft_buffers turns = *b;            /* hidden and x take turns */
    struct draft d = { .p = p, .b = &turns, .n_rows = p->scored[p->at.n_windows] };
    const struct stream_options options = { .ahead_bytes = p->ahead_bytes, .evict = p->e->evict };
    bool ok = true;
    d.feed = (struct weight_feed){ need, done, &d };
    lay_out(p, b, &d.batch);
    for (; ok && d.number < p->job->drafts.n_drafts; d.number++) {
        d.stream = stream_open(&p->e->draft_parts.list, 0, &options, err);
        ok = d.stream && run_draft(&d, err);
        p->draft_bytes += d.stream ? stream_bytes(d.stream) : 0;
        stream_close(d.stream);
        float *swap = turns.hidden;
        turns.hidden = turns.x;
        turns.x = swap;
    }
    return ok;
}
