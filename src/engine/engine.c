#include "engine/engine.h"

#include <limits.h>
#include <stdlib.h>

#include "base/machine.h"
#include "engine/pass.h"
#include "model/head.h"
#include "model/linear.h"
#include "model/norm.h"

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
    struct engine *e = mem_array(1, sizeof *e, "the engine", err);
    if (!e)
        return NULL;
    size_t budget = options->memory_bytes;
    if (!budget) {
        size_t free_bytes = machine_free_memory();
        budget = free_bytes ? free_bytes / 4 * 3 : SIZE_MAX;
    }
    *e = (struct engine){
        .ck = ck, .w = w, .kernels = kernels, .progress = options->progress,
        .n_threads = options->n_threads > 0 ? options->n_threads : machine_processors(),
        .memory_bytes = budget,
    };
    return e;
}

void engine_close(struct engine *e)
{
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

/* Final norm, head and sink for up to head_rows targets; a cursor walks the windows. */
struct cursor {
    size_t window, target;          /* the next target: its window and index in ids */
    size_t row;                     /* number of that target in the whole job */
};

struct head_block {                 /* in the arena; [rows] each */
    float *norm, *hidden;
    struct head_score *head;
    struct engine_score *scores;
    int32_t *targets;
};

/* Gathers the hidden states that predict the next targets; returns how many. */
static size_t gather(struct pass *p, struct head_block *b, struct cursor *at, size_t max_rows)
{
    size_t D = p->e->ck->config.hidden_size, n = 0;
    size_t last = p->batch.first_window + p->batch.n_windows;
    while (n < max_rows && at->window < last) {
        const struct engine_window *w = &p->input->windows[at->window];
        if (at->target < w->first)
            at->target = w->first;
        for (; n < max_rows && at->target < w->end; at->target++, n++) {
            size_t row = p->batch.start[at->window - p->batch.first_window]
                       + (at->target - 1 - w->begin);
            p->e->kernels->rows->rms_norm(b->hidden + n * D, p->x + row * D, b->norm, D,
                                          p->e->ck->config.rms_norm_eps);
            b->targets[n] = p->input->ids[at->target];
        }
        if (at->target == w->end) {
            at->window++;
            at->target = 0;
        }
    }
    return n;
}

/* Names the target that comes `ahead` targets after the cursor. */
static bool head_error(const struct cursor *at, size_t ahead, const struct engine_window *windows,
                       struct error *err)
{
    size_t window = at->window;
    const struct engine_window *w = &windows[window];
    size_t target = (at->target < w->first ? w->first : at->target) + ahead;
    while (target >= w->end) {
        size_t past = target - w->end;
        w = &windows[++window];
        target = w->first + past;
    }
    return error_set(err, "head: NaN or infinity at token %zu of window %zu", target - 1 - w->begin,
                     window);
}

/* at: the cursor before the block was gathered. */
static bool score_block(struct pass *p, struct head_block *b, size_t n, const struct cursor *at,
                        const struct engine_sink *sink, struct error *err)
{
    size_t bad;
    if (!head_score_rows(&p->cm, b->head, b->hidden, b->targets, n, &p->e->w->lm_head, &bad))
        return head_error(at, bad, p->input->windows, err);
    for (size_t i = 0; i < n; i++)
        b->scores[i] = (struct engine_score){ b->head[i].nll, b->head[i].logsumexp,
                                              b->head[i].top1 };
    return sink->take(sink->user, at->row, n, b->scores, b->hidden, err);
}

/* Scores the targets of the pass, max_rows at a time; *row: number of the first one, moved on. */
static bool score_pass(struct pass *p, size_t max_rows, size_t *row,
                       const struct engine_sink *sink, struct error *err)
{
    size_t D = p->e->ck->config.hidden_size, scored = 0, n;
    p->layer = p->e->ck->config.num_hidden_layers;
    for (size_t w = 0; w < p->batch.n_windows; w++) {
        const struct engine_window *window = &p->input->windows[p->batch.first_window + w];
        scored += window->end - window->first;
    }
    struct head_block b = { .norm = vector_take(&p->cm, &p->e->w->norm, 1) };
    b.hidden = arena_take(&p->arena, max_rows, D * sizeof *b.hidden);
    b.head = arena_take(&p->arena, max_rows, sizeof *b.head);
    b.scores = arena_take(&p->arena, max_rows, sizeof *b.scores);
    b.targets = arena_take(&p->arena, max_rows, sizeof *b.targets);
    struct cursor at = { .window = p->batch.first_window, .row = *row }, before = at;
    for (; (n = gather(p, &b, &at, max_rows)) > 0; before = at) {
        if (!score_block(p, &b, n, &before, sink, err))
            return false;
        at.row += n;
        if (!pass_report(p, (double)(at.row - *row) / (double)scored)) {
            err->interrupted = true;
            return error_set(err, "interrupted in the head");
        }
    }
    *row = at.row;
    return true;
}

static bool check_input(const struct engine *e, const int32_t *ids, size_t n_ids,
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
            return error_set(err, "window %zu is [%zu, %zu) with targets from %zu, of %zu tokens", i,
                             w->begin, w->end, w->first, n_ids);
    }
    return true;
}

/* Windows [first, first + n) through all layers and the head. */
static bool run_pass(const struct engine *e, const struct plan *plan,
                     const struct engine_input *input, size_t first, size_t n, size_t *row,
                     const struct engine_sink *sink, struct engine_statistics *statistics,
                     struct error *err)
{
    struct pass p;
    if (!pass_open(&p, e, plan, input, first, n, err))
        return false;
    size_t L = e->ck->config.num_hidden_layers;
    bool ok = true;
    p.done_before = (double)statistics->model_tokens;
    pass_embed(&p);
    for (size_t layer = 0; ok && layer < L; layer++)
        ok = pass_layer(&p, layer, err);
    ok = ok && weights_check_scales(e->ck, e->w, L, err)
      && score_pass(&p, plan->head_rows, row, sink, err);
    statistics->passes++;
    statistics->bytes_read += e->w->bytes;
    statistics->model_tokens += p.batch.n_tokens;
    pass_close(&p);
    return ok;
}

bool engine_score_windows(struct engine *e, const int32_t *ids, size_t n_ids,
                          const struct engine_window *windows, size_t n_windows,
                          const struct engine_sink *sink, struct engine_statistics *statistics,
                          struct error *err)
{
    struct arena none = { 0 };
    struct compute cm = engine_compute(e, &none);
    struct plan plan;
    struct engine_input input = { .ids = ids, .windows = windows };
    size_t row = 0, end;
    *statistics = (struct engine_statistics){ 0 };
    if (!check_input(e, ids, n_ids, windows, n_windows, err)
        || !plan_make(&plan, &cm, e->w, windows, n_windows, e->memory_bytes, err))
        return false;
    for (size_t i = 0; i < n_windows; i++)
        input.model_tokens += (double)plan_window_tokens(&windows[i]);
    for (size_t first = 0; first < n_windows; first = end) {
        end = plan_pass_end(&plan, windows, n_windows, first);
        if (!run_pass(e, &plan, &input, first, end - first, &row, sink, statistics, err))
            return false;
    }
    return true;
}

size_t engine_passes(const struct engine *e, const struct engine_window *windows,
                     size_t n_windows)
{
    struct arena none = { 0 };
    struct compute cm = engine_compute(e, &none);
    struct plan plan;
    size_t passes = 0;
    if (!plan_make(&plan, &cm, e->w, windows, n_windows, e->memory_bytes, NULL))
        return 0;
    for (size_t first = 0; first < n_windows; passes++)
        first = plan_pass_end(&plan, windows, n_windows, first);
    return passes;
}

/* ---- tracing ----------------------------------------------------------------- */

/* Logits of all rows, a block at a time; only traces keep them. */
static bool trace_logits(struct pass *p, const struct engine_tracer *tracer, struct error *err)
{
    const struct config *c = &p->e->ck->config;
    enum { ROWS = 64 };
    size_t D = c->hidden_size, T = p->batch.n_tokens;
    float *logits = mem_array(ROWS, c->vocab_size * sizeof *logits, "logits", err);
    float *hidden = mem_array(ROWS, D * sizeof *hidden, "hidden states", err);
    float *norm = vector_take(&p->cm, &p->e->w->norm, 1);
    bool ok = logits && hidden;
    for (size_t row = 0; ok && row < T; row += ROWS) {
        size_t n = size_min(ROWS, T - row);
        rms_norm_rows(&p->cm, hidden, p->x + row * D, n, norm);
        linear(&p->cm, logits, c->vocab_size, hidden, D, n, &p->e->w->lm_head);
        ok = tracer->logits(tracer->user, row, n, logits, err);
    }
    free(logits);
    free(hidden);
    return ok;
}

bool engine_trace(struct engine *e, const int32_t *ids, size_t n_ids,
                  const struct engine_tracer *tracer, struct error *err)
{
    /* A window's last token is a target only, so one more than there are ids. */
    const struct engine_window window = { .begin = 0, .end = n_ids + 1, .first = n_ids + 1 };
    struct arena none = { 0 };
    struct compute cm = engine_compute(e, &none);
    struct plan plan;
    if (!check_input(e, ids, n_ids, NULL, 0, err)
        || !plan_make(&plan, &cm, e->w, &window, 1, e->memory_bytes, err))
        return false;
    const struct engine_input input = { ids, &window, (double)n_ids };
    struct pass p;
    if (!pass_open(&p, e, &plan, &input, 0, 1, err))
        return false;
    bool ok = true;
    pass_embed(&p);
    for (size_t layer = 0; ok && layer < e->ck->config.num_hidden_layers; layer++)
        ok = pass_layer(&p, layer, err)
          && tracer->layer(tracer->user, layer, p.x,
                           e->ck->config.num_experts ? p.routing.expert : NULL, err);
    ok = ok && trace_logits(&p, tracer, err);
    pass_close(&p);
    return ok;
}
