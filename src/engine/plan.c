#include "engine/plan.h"

#include <stdint.h>

#include "model/layer.h"

#define LARGEST_TILE ((size_t)8192)

size_t plan_window_tokens(const struct engine_window *w)
{
    return w->end - w->begin - 1;
}

size_t plan_tokens(const struct engine_window *windows, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        if (!size_sum(&total, total, plan_window_tokens(&windows[i])))
            return SIZE_MAX;
    return total;
}

struct pass_buffers plan_pass_buffers_take(struct arena *a, const struct config *c, size_t n_tokens,
                                           size_t n_windows)
{
    size_t k = c->num_experts_per_tok;
    return (struct pass_buffers){
        .start = arena_take(a, n_windows + 1, sizeof(size_t)),
        .skipped = arena_take(a, n_windows + 1, sizeof(size_t)),
        .scored = arena_take(a, n_windows + 1, sizeof(size_t)),
        .x = arena_take(a, n_tokens, c->hidden_size * sizeof(float)),
        .routing = { .expert = arena_take(a, n_tokens, k * sizeof(int32_t)),
                     .weight = arena_take(a, n_tokens, k * sizeof(float)) },
    };
}

struct score_buffers plan_score_buffers_take(struct arena *a, const struct compute *cm,
                                             const struct matrix *lm_head, size_t n)
{
    return (struct score_buffers){
        .scores = arena_take(a, n, sizeof(struct head_score)),
        .out = arena_take(a, n, sizeof(struct engine_score)),
        .targets = arena_take(a, n, sizeof(int32_t)),
        .head = head_buffers_take(a, cm, lm_head, n),
    };
}

struct draft_buffers plan_draft_buffers_take(struct arena *a, const struct config *c,
                                             const struct plan *p, size_t n_tokens,
                                             size_t n_windows)
{
    size_t n = n_tokens, D = c->hidden_size, kv = c->num_key_value_heads * c->head_dim;
    size_t chain = p->n_drafts - 1, row = kv * sizeof(float), rounding;
    if (!size_product(&rounding, n_windows, attention_state_bytes(c, 1)))
        rounding = SIZE_MAX;
    struct draft_buffers b = {
        .start = arena_take(a, n_windows + 1, sizeof *b.start),
        .hidden = arena_take(a, n, D * sizeof *b.hidden),
        .x = arena_take(a, n, D * sizeof *b.x),
        .drafted = arena_take(a, n, D * sizeof *b.drafted),
        .ids = arena_take(a, n, sizeof *b.ids),
        .scores = arena_take(a, n, sizeof *b.scores),
        .drafts = arena_take(a, n, sizeof *b.drafts),
        .head_scores = arena_take(a, n, sizeof *b.head_scores),
        .accepted = arena_take(a, n, sizeof *b.accepted),
        .states = arena_take(a, n_windows, sizeof *b.states),
        .state_list = arena_take(a, n_windows, sizeof *b.state_list),
        /* States of windows are rounded up: each by less than one token's. */
        .keys = arena_take(a, 1, size_total(attention_state_bytes(c, n), rounding)),
    };
    b.chain_k = arena_take(a, n, chain * row);
    b.chain_v = arena_take(a, n, chain * row);
    for (int side = 0; side < VOCABULARY_SIDES; side++)
        b.logsumexp[side] = arena_take(a, n, sizeof(float));
    return b;
}

/* One after the other: the layer; log-sum-exp; the distributions. */
static void draft_steps_take(struct arena *a, const struct compute *cm,
                             const struct matrix *lm_head, const struct plan *p, size_t n_tokens)
{
    const struct vocabulary_side side = { .cm = cm, .head = lm_head };
    const struct vocabulary_side sides[] = { side, side };
    struct overlay o = overlay_begin(a);
    mtp_buffers_take(a, cm, n_tokens, p->longest, p->tile_tokens);
    overlay_next(&o, a);
    head_buffers_take(a, cm, lm_head, n_tokens);
    overlay_next(&o, a);
    vocabulary_buffers_take(a, sides, VOCABULARY_SIDES);
    overlay_end(&o, a);
}

size_t plan_arena_bytes(const struct compute *cm, const struct weights *w, const struct plan *p,
                        size_t n_tokens, size_t n_windows)
{
    struct arena measure = { 0 };
    plan_pass_buffers_take(&measure, cm->config, n_tokens, n_windows);
    struct overlay o = overlay_begin(&measure);
    bool seen[2] = { false, false };            /* layers of one type are alike */
    for (size_t i = 0; i < cm->config->num_hidden_layers; i++) {
        enum layer_type type = cm->config->layer_types[i];
        if (seen[type])
            continue;
        seen[type] = true;
        const struct layer_shape shape = layer_shape_bound(type, n_tokens, p->longest,
                                                           p->tile_tokens);
        layer_buffers_take(&measure, cm, &shape);
        overlay_next(&o, &measure);
    }
    if (p->n_drafts)
        plan_draft_buffers_take(&measure, cm->config, p, n_tokens, n_windows);
    struct overlay steps = overlay_begin(&measure);
    plan_score_buffers_take(&measure, cm, &w->lm_head, n_tokens);    /* every token may be scored */
    overlay_next(&steps, &measure);
    if (p->n_drafts)
        draft_steps_take(&measure, cm, &w->lm_head, p, n_tokens);
    overlay_end(&steps, &measure);
    overlay_next(&o, &measure);
    head_logits_buffers_take(&measure, cm, &w->lm_head);        /* of a trace */
    overlay_end(&o, &measure);
    return measure.peak;
}

/* The same of as many windows as n_tokens can be. */
static size_t pass_bytes(const struct plan_task *t, const struct plan *p, size_t n_tokens)
{
    size_t n_windows = p->shortest ? size_min(p->n_windows, n_tokens / p->shortest) : p->n_windows;
    return plan_arena_bytes(t->cm, t->w, p, n_tokens, n_windows);
}

/* The most tokens, up to `total`, that a pass can have within the budget. */
static size_t tokens_that_fit(const struct plan_task *t, const struct plan *p, size_t total,
                              size_t memory_bytes)
{
    size_t fit = 0, step = total;
    while (step > 0) {
        if (fit + step <= total && pass_bytes(t, p, fit + step) <= memory_bytes)
            fit += step;
        else
            step /= 2;
    }
    return fit;
}

static size_t least_ahead_of(const struct weight_schedule *parts)
{
    return size_min(2 * parts->largest, parts->bytes);
}

/* At least the part in use and the one that comes in. */
static size_t least_ahead(const struct plan_task *t)
{
    size_t least = least_ahead_of(t->parts);
    return t->draft_parts ? size_max(least, least_ahead_of(t->draft_parts)) : least;
}

/* At most one layer of weights, and at most the memory that the smallest pass leaves. */
static size_t bytes_ahead(const struct plan_task *t, size_t memory_bytes, size_t least_pass_bytes)
{
    const struct weight_schedule *parts = t->parts;
    size_t most = size_min(parts->largest_layer + parts->largest, parts->bytes);
    size_t room = memory_bytes - size_min(memory_bytes, least_pass_bytes);
    return size_max(size_min(most, size_min(memory_bytes / 4, room)), least_ahead(t));
}

static void measure_windows(struct plan *p, const struct plan_task *t)
{
    *p = (struct plan){ .tile_tokens = DELTA_CHUNK, .n_windows = t->n_windows,
                        .shortest = SIZE_MAX, .keep_all = t->n_drafts > 0,
                        .n_drafts = t->n_drafts };
    for (size_t i = 0; i < t->n_windows; i++) {
        size_t tokens = plan_window_tokens(&t->windows[i]);
        p->longest = size_max(tokens, p->longest);
        p->shortest = size_min(tokens, p->shortest);
    }
}

/* Bytes of the smallest pass, the weights in flight apart. */
static size_t least_pass(const struct plan_task *t, const struct plan *p)
{
    struct plan smallest = *p;
    size_t tokens;
    smallest.tile_tokens = DELTA_CHUNK;
    return size_product(&tokens, p->longest, t->copies) ? pass_bytes(t, &smallest, tokens)
                                                        : SIZE_MAX;
}

size_t plan_least_bytes(const struct plan_task *t)
{
    struct plan p;
    size_t bytes;
    measure_windows(&p, t);
    return plan_tokens(t->windows, t->n_windows) < SIZE_MAX
        && size_sum(&bytes, least_pass(t, &p), least_ahead(t)) ? bytes : SIZE_MAX;
}

void plan_make(struct plan *p, const struct plan_task *t, size_t memory_bytes)
{
    size_t total = plan_tokens(t->windows, t->n_windows);
    measure_windows(p, t);
    p->ahead_bytes = bytes_ahead(t, memory_bytes, least_pass(t, p));
    size_t left = memory_bytes - size_min(memory_bytes, p->ahead_bytes);
    p->tile_tokens = LARGEST_TILE;
    while (p->tile_tokens / 2 >= total && p->tile_tokens > DELTA_CHUNK)
        p->tile_tokens /= 2;
    /* Tiles may take a quarter of the budget; the residual stream needs the rest. */
    while (p->tile_tokens > DELTA_CHUNK && pass_bytes(t, p, p->longest) > left / 4)
        p->tile_tokens /= 2;
    p->pass_tokens = tokens_that_fit(t, p, total, left);
    p->memory_bytes = pass_bytes(t, p, p->pass_tokens) + p->ahead_bytes;
}

size_t plan_pass_end(const struct plan *p, const struct engine_window *windows, size_t n_windows,
                     size_t first)
{
    size_t tokens = 0, end = first;
    while (end < n_windows && tokens + plan_window_tokens(&windows[end]) <= p->pass_tokens)
        tokens += plan_window_tokens(&windows[end++]);
    return end;
}
