#include "model/mtp.h"

#include <string.h>

#include "model/norm.h"

struct mtp_buffers mtp_buffers_take(struct arena *a, const struct compute *cm, size_t n_tokens,
                                    size_t longest, size_t tile_tokens)
{
    size_t D = cm->config->hidden_size;
    const struct linear_shape fc = { D, 2 * D };
    const struct layer_shape shape = layer_shape_bound(FULL_ATTENTION, n_tokens, longest,
                                                       tile_tokens);
    struct mtp_buffers b = {
        .embedding_norm = norm_buffer_take(a, cm->config),
        .hidden_norm = norm_buffer_take(a, cm->config),
        .norm = norm_buffer_take(a, cm->config),
    };
    struct overlay o = overlay_begin(a);
    b.pair = arena_take(a, shape.mlp_rows, 2 * D * sizeof *b.pair);
    b.fc = linear_buffers_take(a, cm, &fc, 1);
    overlay_next(&o, a);
    b.layer = layer_buffers_take(a, cm, &shape);
    overlay_end(&o, a);
    return b;
}

/* x = fc [ norm(x) ; norm(hidden) ]: vLLM concatenates the embedding first. */
static void inputs(const struct compute *cm, const struct mtp_task *task,
                   const struct mtp_buffers *b)
{
    const struct row_kernels *rows = compute_rows(cm);
    const struct mtp_weights *w = task->weights;
    size_t D = cm->config->hidden_size, n_tokens = task->batch.n_tokens;
    double eps = cm->config->rms_norm_eps;
    norm_weight(cm, b->embedding_norm, &w->pre_fc_norm_embedding);
    norm_weight(cm, b->hidden_norm, &w->pre_fc_norm_hidden);
    for (size_t row = 0; row < n_tokens; row += task->tile_tokens) {
        size_t n = size_min(n_tokens - row, task->tile_tokens);
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
        for (size_t t = 0; t < n; t++) {
            float *pair = b->pair + t * 2 * D;
            rows->rms_norm(pair, task->x + (row + t) * D, b->embedding_norm, D, eps);
            rows->rms_norm(pair + D, task->hidden + (row + t) * D, b->hidden_norm, D, eps);
        }
        linear_forward(cm, &b->fc, task->x + row * D, D, b->pair, 2 * D, n, &w->fc);
    }
}

/* x += attention(norm(x)) of the new slots of all chains. */
static bool chain_mixer(const struct compute *cm, const struct mtp_task *task,
                        const struct layer_mixer_buffers *b, struct error *err)
{
    const struct layer_weights *w = &task->weights->layer;
    size_t D = cm->config->hidden_size;
    struct tile tile = { 0 };
    norm_weight(cm, b->norm, &w->input_layernorm);
    while (tile_next(&tile, &task->batch, task->tile_tokens)) {
        float *x = task->x + tile.row * D;
        norm_rows(cm, b->h, x, tile.n, b->norm);
        attention_chain_forward(cm, &b->attention, b->y, b->h, &w->attention, &tile,
                                task->states + tile.window, &task->chain);
        norm_residual_add(cm, x, b->y, tile.n);
        double share = (double)(tile.row + tile.n) / (double)task->batch.n_tokens;
        if (task->progress.report && !task->progress.report(task->progress.user, share)) {
            err->interrupted = true;
            return error_set(err, "interrupted");
        }
    }
    return true;
}

/* m = norm(x), in place.  What a chain's attention made not finite is found here, the rest in the
 * layer. */
static bool outputs(const struct compute *cm, const struct mtp_task *task,
                    const struct mtp_buffers *b, struct error *err)
{
    size_t n = task->batch.n_tokens, token;
    norm_weight(cm, b->norm, &task->weights->norm);
    norm_rows(cm, task->x, task->x, n, b->norm);
    size_t bad = norm_first_not_finite(cm, task->x, n);
    if (bad == n)
        return true;
    size_t window = batch_window(&task->batch, bad, &token);
    return error_set(err, "norm: NaN or infinity at token %zu of window %zu", token,
                     task->batch.first_window + window);
}

bool mtp_forward(const struct compute *cm, const struct mtp_task *task, struct mtp_buffers *b,
                 struct error *err)
{
    size_t rows_done = 0;
    const struct layer_task layer = {
        .type = FULL_ATTENTION, .weights = &task->weights->layer, .batch = task->batch,
        .x = task->x, .routing = task->routing, .tile_tokens = task->tile_tokens,
        .attention_states = task->states, .feed = task->feed, .first_part = task->first_part,
        .progress = task->progress, .rows_done = &rows_done,
    };
    if (!task->feed->need(task->feed->user, task->first_part, err))
        return false;
    inputs(cm, task, b);
    bool ok = task->chain.n ? chain_mixer(cm, task, &b->layer.mixer, err)
                            : layer_mixer(cm, &layer, &b->layer, err);
    rows_done = 0;
    ok = ok && layer_mlp(cm, &layer, &b->layer, err) && outputs(cm, task, b, err);
    return ok || error_prefix(err, "MTP: ");
}
