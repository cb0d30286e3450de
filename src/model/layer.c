#include "model/layer.h"

#include <string.h>

#include "base/bf16.h"
#include "model/attention.h"
#include "model/delta_net.h"
#include "model/experts.h"
#include "model/mlp.h"
#include "model/norm.h"

static bool interrupted(const struct layer_task *task, struct error *err)
{
    err->interrupted = true;
    return error_set(err, "interrupted in layer %zu", task->index);
}

static bool report(const struct layer_task *task, double share, struct error *err)
{
    return !task->progress.report || task->progress.report(task->progress.user, share)
        || interrupted(task, err);
}

static bool need(const struct layer_task *task, size_t part, struct error *err)
{
    return task->feed->need(task->feed->user, task->first_part + part, err);
}

static void done(const struct layer_task *task, size_t part)
{
    task->feed->done(task->feed->user, task->first_part + part);
}

/* x [row, row + n) += y, and the check that nothing went wrong in `step`. */
static bool add_and_check(const struct compute *cm, const struct layer_task *task, size_t row,
                          size_t n, const float *y, const char *step, struct error *err)
{
    float *x = task->x + row * cm->config->hidden_size;
    residual_add(cm, x, y, n);
    size_t bad = first_not_finite(cm, x, n);
    if (bad == n)
        return true;
    const struct batch *b = &task->batch;
    size_t window = 0;
    while (b->start[window + 1] <= row + bad)
        window++;
    size_t token = row + bad - b->start[window] + (b->skipped ? b->skipped[window] : 0);
    return error_set(err, "layer %zu, %s: NaN or infinity at token %zu of window %zu", task->index,
                     step, token, b->first_window + window);
}

/* The output rows of the tile += y [n_output_rows, D]. */
static bool add_tile(const struct compute *cm, const struct layer_task *task,
                     const struct tile *tile, const float *y, const char *step, struct error *err)
{
    if (tile->n_output_rows == tile->n)
        return add_and_check(cm, task, tile->row, tile->n, y, step, err);
    bool ok = true;
    for (size_t w = 0; ok && w < tile->n_windows; w++) {
        const struct tile_window rows = tile_window(tile, w);
        ok = add_and_check(cm, task, tile->row + rows.first_output, rows.end - rows.first_output,
                           y + rows.out * cm->config->hidden_size, step, err);
    }
    return ok;
}

bool layer_mixer(const struct compute *cm, const struct layer_task *task, struct error *err)
{
    const struct layer_weights *w = task->weights;
    const struct batch *b = &task->batch;
    size_t D = cm->config->hidden_size, mark = cm->arena->used;
    size_t largest = size_min(size_max(b->longest, task->tile_tokens), b->n_tokens);
    bool measuring = !cm->arena->block, full = task->type == FULL_ATTENTION;
    bool ok = measuring || need(task, 0, err);
    float *norm = norm_weight(cm, &w->input_layernorm);
    struct attention_state *keys = full ? attention_state_take(cm, largest) : NULL;
    struct delta_net_state *state = full ? NULL : delta_net_state_take(cm);
    struct tile tile = { .n = measuring ? 0 : *task->rows_done };    /* resumes after these */
    while (ok && tile_next(&tile, b, task->tile_tokens)) {
        size_t tile_mark = cm->arena->used;
        float *h = arena_take(cm->arena, tile.n, D * sizeof *h);
        float *y = arena_take(cm->arena, tile.n_output_rows, D * sizeof *y);
        rms_norm_rows(cm, h, task->x + tile.row * D, tile.n, norm);
        if (full)
            attention_forward(cm, y, h, &w->attention, &tile, keys);
        else
            delta_net_forward(cm, y, h, &w->delta_net, &tile, state);
        cm->arena->used = tile_mark;
        if (measuring)
            break;                              /* no tile is larger than the first can be */
        size_t end = tile.row + tile.n;
        *task->rows_done = tile.is_piece && end < tile.start[1] ? LAYER_STOPPED_INSIDE_WINDOW : end;
        ok = add_tile(cm, task, &tile, y, full ? "self_attn" : "linear_attn", err)
          && report(task, (double)end / (double)b->n_tokens, err);
    }
    cm->arena->used = mark;
    return ok;
}

/* ---- after the mixer ------------------------------------------------------ */

static bool expert_begin(void *user, size_t expert, struct error *err)
{
    return need(user, 1 + expert, err);
}

static bool expert_end(void *user, size_t expert, size_t num_experts, struct error *err)
{
    const struct layer_task *task = user;
    double share = (double)(expert + 1) / (double)num_experts;
    done(task, 1 + expert);
    return report(task, share, err);
}

/* BF16 compute rounds the sum of the routed experts by itself: the shared expert's output waits as
 * halves, and out is zero for the experts. */
static void stash_shared(const struct compute *cm, uint16_t *stash, float *out, size_t n)
{
    size_t D = cm->config->hidden_size;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++) {
        compute_rows(cm)->to_bf16(stash + t * D, out + t * D, D);
        memset(out + t * D, 0, D * sizeof *out);
    }
}

static void add_shared(const struct compute *cm, float *out, const uint16_t *stash, size_t n)
{
    size_t D = cm->config->hidden_size;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++) {
        compute_rows(cm)->round(out + t * D, D);
        for (size_t i = 0; i < D; i++)
            out[t * D + i] += bf16_value(stash[t * D + i]);
        compute_rows(cm)->round(out + t * D, D);
    }
}

static bool sparse_mlp(const struct compute *cm, const struct layer_task *task, struct error *err)
{
    const struct layer_weights *w = task->weights;
    size_t D = cm->config->hidden_size, n = task->batch.n_tokens, mark = cm->arena->used;
    float *norm = norm_weight(cm, &w->post_attention_layernorm);
    float *out = arena_take(cm->arena, n, D * sizeof *out);
    bool bf16 = cm->type == COMPUTE_BF16;
    uint16_t *stash = bf16 ? arena_take(cm->arena, n, D * sizeof *stash) : NULL;
    struct routing routing = task->routing;
    bool measuring = !cm->arena->block;
    for (size_t row = 0; row < n; row += task->tile_tokens) {
        size_t rows = size_min(n - row, task->tile_tokens);
        size_t tile_mark = cm->arena->used;
        float *h = arena_take(cm->arena, rows, D * sizeof *h);
        rms_norm_rows(cm, h, task->x + row * D, rows, norm);
        moe_route_and_shared_expert(cm, measuring ? NULL : out + row * D, h, rows, w, &routing, row);
        cm->arena->used = tile_mark;
        if (measuring)
            break;
    }
    if (!measuring)
        done(task, 0);
    if (stash)
        stash_shared(cm, stash, out, n);
    const struct expert_callbacks callbacks = { expert_begin, expert_end, (void *)(uintptr_t)task };
    bool ok = experts_forward(cm, out, task->x, norm, n, w, &routing, &callbacks, err);
    if (ok && stash)
        add_shared(cm, out, stash, n);
    if (ok && !measuring)
        ok = add_and_check(cm, task, 0, n, out, "mlp", err);
    cm->arena->used = mark;
    return ok;
}

static bool dense_mlp(const struct compute *cm, const struct layer_task *task, struct error *err)
{
    const struct layer_weights *w = task->weights;
    size_t D = cm->config->hidden_size, n = task->batch.n_tokens, mark = cm->arena->used;
    float *norm = norm_weight(cm, &w->post_attention_layernorm);
    bool measuring = !cm->arena->block, ok = true;
    if (!measuring) {
        done(task, 0);
        ok = need(task, 1, err);
    }
    for (size_t row = measuring ? 0 : *task->rows_done; ok && row < n; row += task->tile_tokens) {
        size_t rows = size_min(n - row, task->tile_tokens);
        size_t tile_mark = cm->arena->used;
        float *h = arena_take(cm->arena, rows, D * sizeof *h);
        float *y = arena_take(cm->arena, rows, D * sizeof *y);
        rms_norm_rows(cm, h, task->x + row * D, rows, norm);
        mlp_forward(cm, y, h, rows, &w->mlp);
        cm->arena->used = tile_mark;
        if (measuring)
            break;
        *task->rows_done = row + rows;
        ok = add_and_check(cm, task, row, rows, y, "mlp", err)
          && report(task, (double)(row + rows) / (double)n, err);
    }
    if (ok && !measuring)
        done(task, 1);
    cm->arena->used = mark;
    return ok;
}

bool layer_mlp(const struct compute *cm, const struct layer_task *task, struct error *err)
{
    return (cm->config->num_experts ? sparse_mlp : dense_mlp)(cm, task, err);
}
