#include "model/layer.h"

#include "model/attention.h"
#include "model/delta_net.h"
#include "model/mlp.h"
#include "model/norm.h"

/* Rough share of a layer's time that the mixer takes; only for progress. */
#define MIXER_SHARE 0.5

static bool interrupted(const struct layer_task *task, struct error *err)
{
    err->interrupted = true;
    return error_set(err, "interrupted in layer %zu", task->index);
}

static bool report(const struct layer_task *task, double share, struct error *err)
{
    return !task->report || task->report(task->user, share) || interrupted(task, err);
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
    return error_set(err, "layer %zu, %s: NaN or infinity at token %zu of window %zu", task->index,
                     step, row + bad - b->start[window], b->first_window + window);
}

static bool mixer(const struct compute *cm, const struct layer_task *task, struct error *err)
{
    const struct layer_weights *w = task->weights;
    const struct batch *b = &task->batch;
    size_t D = cm->config->hidden_size, mark = cm->arena->used;
    size_t largest = size_min(size_max(b->longest, task->tile_tokens), b->n_tokens);
    bool measuring = !cm->arena->block, full = task->type == FULL_ATTENTION, ok = true;
    float *norm = vector_take(cm, &w->input_layernorm, 1);
    struct attention_state *keys = full ? attention_state_take(cm, largest) : NULL;
    struct delta_net_state *state = full ? NULL : delta_net_state_take(cm);
    struct tile tile = { 0 };
    while (ok && tile_next(&tile, b, task->tile_tokens)) {
        size_t tile_mark = cm->arena->used;
        float *h = arena_take(cm->arena, tile.n, D * sizeof *h);
        float *y = arena_take(cm->arena, tile.n, D * sizeof *y);
        rms_norm_rows(cm, h, task->x + tile.row * D, tile.n, norm);
        if (full)
            attention_forward(cm, y, h, &w->attention, &tile, keys);
        else
            delta_net_forward(cm, y, h, &w->delta_net, &tile, state);
        cm->arena->used = tile_mark;
        if (measuring)
            break;                              /* no tile is larger than the first can be */
        ok = add_and_check(cm, task, tile.row, tile.n, y, full ? "self_attn" : "linear_attn", err)
          && report(task, MIXER_SHARE * (double)(tile.row + tile.n) / (double)b->n_tokens, err);
    }
    cm->arena->used = mark;
    return ok;
}

/* ---- after the mixer ------------------------------------------------------ */

struct expert_progress {
    const struct layer_task *task;
    size_t num_experts;
};

static bool expert_done(void *user, size_t expert)
{
    const struct expert_progress *p = user;
    const struct layer_task *task = p->task;
    double share = (double)(expert + 1) / (double)p->num_experts;
    return !task->report || task->report(task->user, MIXER_SHARE + (1 - MIXER_SHARE) * share);
}

static bool sparse_mlp(const struct compute *cm, const struct layer_task *task, struct error *err)
{
    const struct layer_weights *w = task->weights;
    size_t D = cm->config->hidden_size, n = task->batch.n_tokens, mark = cm->arena->used;
    float *norm = vector_take(cm, &w->post_attention_layernorm, 1);
    float *out = arena_take(cm->arena, n, D * sizeof *out);
    struct routing routing = task->routing;
    bool measuring = !cm->arena->block;
    for (size_t row = 0; row < n; row += task->tile_tokens) {
        size_t rows = size_min(n - row, task->tile_tokens);
        size_t tile_mark = cm->arena->used;
        float *h = arena_take(cm->arena, rows, D * sizeof *h);
        rms_norm_rows(cm, h, task->x + row * D, rows, norm);
        moe_begin(cm, measuring ? NULL : out + row * D, h, rows, w, &routing, row);
        cm->arena->used = tile_mark;
        if (measuring)
            break;
    }
    struct expert_progress progress = { task, cm->config->num_experts };
    bool ok = moe_experts(cm, out, task->x, norm, n, w, &routing, expert_done, &progress)
           || interrupted(task, err);
    if (ok && !measuring)
        ok = add_and_check(cm, task, 0, n, out, "mlp", err);
    cm->arena->used = mark;
    return ok;
}

static bool dense_mlp(const struct compute *cm, const struct layer_task *task, struct error *err)
{
    const struct layer_weights *w = task->weights;
    size_t D = cm->config->hidden_size, n = task->batch.n_tokens, mark = cm->arena->used;
    float *norm = vector_take(cm, &w->post_attention_layernorm, 1);
    bool ok = true;
    for (size_t row = 0; ok && row < n; row += task->tile_tokens) {
        size_t rows = size_min(n - row, task->tile_tokens);
        size_t tile_mark = cm->arena->used;
        float *h = arena_take(cm->arena, rows, D * sizeof *h);
        float *y = arena_take(cm->arena, rows, D * sizeof *y);
        rms_norm_rows(cm, h, task->x + row * D, rows, norm);
        mlp_forward(cm, y, h, rows, &w->mlp);
        cm->arena->used = tile_mark;
        if (!cm->arena->block)
            break;
        double share = (double)(row + rows) / (double)n;
        ok = add_and_check(cm, task, row, rows, y, "mlp", err)
          && report(task, MIXER_SHARE + (1 - MIXER_SHARE) * share, err);
    }
    cm->arena->used = mark;
    return ok;
}

bool layer_forward(const struct compute *cm, const struct layer_task *task, struct error *err)
{
    return mixer(cm, task, err)
        && (cm->config->num_experts ? sparse_mlp : dense_mlp)(cm, task, err);
}
