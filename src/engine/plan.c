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

/* a * b + c, SIZE_MAX when it does not fit. */
static size_t multiply_add(size_t a, size_t b, size_t c)
{
    size_t product, sum;
    return size_product(&product, a, b) && size_sum(&sum, product, c) ? sum : SIZE_MAX;
}

struct score_buffers score_buffers_take(struct arena *a, size_t n)
{
    return (struct score_buffers){
        .scores = arena_take(a, n, sizeof(struct head_score)),
        .out = arena_take(a, n, sizeof(struct engine_score)),
        .targets = arena_take(a, n, sizeof(int32_t)),
    };
}

size_t plan_scratch(const struct compute *cm, const struct weights *w, const struct plan *p,
                    size_t n_tokens)
{
    struct arena measure = { 0 };
    struct compute dry = *cm;
    dry.arena = &measure;
    /* One window stands for all: a tile of it is as large as any tile can be. */
    const size_t start[] = { 0, n_tokens };
    bool seen[2] = { false, false };            /* layers of one type are alike */
    for (size_t i = 0; i < cm->config->num_hidden_layers; i++) {
        enum layer_type type = cm->config->layer_types[i];
        if (seen[type])
            continue;
        seen[type] = true;
        struct layer_task task = {
            .type = type, .weights = &w->layers[i], .tile_tokens = p->tile_tokens,
            .batch = { .n_windows = 1, .n_tokens = n_tokens, .start = start,
                       .longest = p->longest },
        };
        layer_mixer(&dry, &task, NULL);
        layer_mlp(&dry, &task, NULL);
    }
    struct arena head = { 0 };                  /* every token may be scored */
    dry.arena = &head;
    score_buffers_take(&head, n_tokens);
    head_forward(&dry, &(struct head_task){ .n = n_tokens, .lm_head = &w->lm_head }, NULL, NULL);
    head.used = 0;
    head_logits(&dry, NULL, NULL, NULL, 0, &w->norm, &w->lm_head);      /* of a trace */
    return size_max(measure.peak, head.peak);
}

/* All that a pass of n_tokens takes, the weights in flight apart. */
static size_t pass_bytes(const struct compute *cm, const struct weights *w, const struct plan *p,
                         size_t n_tokens)
{
    const struct config *c = cm->config;
    size_t per_token = c->hidden_size * sizeof(float)
                     + c->num_experts_per_tok * (sizeof(int32_t) + sizeof(float));
    return multiply_add(n_tokens, per_token, plan_scratch(cm, w, p, n_tokens));
}

/* The most tokens, up to `total`, that a pass can have within the budget. */
static size_t tokens_that_fit(const struct compute *cm, const struct weights *w,
                              const struct plan *p, size_t total, size_t memory_bytes)
{
    size_t fit = 0, step = total;
    while (step > 0) {
        if (fit + step <= total && pass_bytes(cm, w, p, fit + step) <= memory_bytes)
            fit += step;
        else
            step /= 2;
    }
    return fit;
}

/* At most a layer ahead, at least the part in use and the one that comes in. */
static size_t bytes_ahead(const struct parts *parts, size_t memory_bytes)
{
    size_t least = 2 * parts->largest, most = parts->largest_layer + parts->largest;
    return size_min(size_max(size_min(most, memory_bytes / 4), least), parts->bytes);
}

bool plan_make(struct plan *p, const struct compute *cm, const struct weights *w,
               const struct parts *parts, const struct engine_window *windows, size_t n_windows,
               size_t memory_bytes, struct error *err)
{
    size_t total = plan_tokens(windows, n_windows);
    *p = (struct plan){ .tile_tokens = LARGEST_TILE,
                        .ahead_bytes = bytes_ahead(parts, memory_bytes) };
    for (size_t i = 0; i < n_windows; i++)
        p->longest = size_max(plan_window_tokens(&windows[i]), p->longest);
    if (total == SIZE_MAX)
        return error_set(err, "%zu windows have too many tokens in all", n_windows);
    while (p->tile_tokens / 2 >= total && p->tile_tokens > DELTA_CHUNK)
        p->tile_tokens /= 2;
    size_t left = memory_bytes - size_min(memory_bytes, p->ahead_bytes);
    /* Tiles may take a quarter of the budget: what they take, the residual stream cannot. */
    while (p->tile_tokens > DELTA_CHUNK && pass_bytes(cm, w, p, p->longest) > left / 4)
        p->tile_tokens /= 2;
    p->pass_tokens = tokens_that_fit(cm, w, p, total, left);
    if (p->pass_tokens < p->longest)
        return error_set(err, "memory budget of %zu MB is too small: a window of %zu tokens needs "
                         "%zu MB", memory_bytes >> 20, p->longest,
                         ((pass_bytes(cm, w, p, p->longest) + p->ahead_bytes) >> 20) + 1);
    p->memory_bytes = pass_bytes(cm, w, p, p->pass_tokens) + p->ahead_bytes;
    return true;
}

size_t plan_pass_end(const struct plan *p, const struct engine_window *windows, size_t n_windows,
                     size_t first)
{
    size_t tokens = 0, end = first;
    while (end < n_windows && tokens + plan_window_tokens(&windows[end]) <= p->pass_tokens)
        tokens += plan_window_tokens(&windows[end++]);
    return end;
}
