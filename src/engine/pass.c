#include "engine/pass.h"

#include <stdio.h>
#include <stdlib.h>

#include "model/layer.h"

struct compute engine_compute(const struct engine *e, struct arena *arena)
{
    return (struct compute){ .config = &e->ck->config, .kernels = e->kernels,
                             .n_threads = e->n_threads, .arena = arena };
}

void pass_close(struct pass *p)
{
    arena_free(&p->arena);
    free(p->start);
    free(p->x);
    free(p->routing.expert);
    free(p->routing.weight);
}

bool pass_open(struct pass *p, const struct engine *e, const struct plan *plan,
               const struct engine_input *input, size_t first, size_t n, struct error *err)
{
    const struct config *c = &e->ck->config;
    *p = (struct pass){ .e = e, .input = input, .tile_tokens = plan->tile_tokens };
    p->cm = engine_compute(e, &p->arena);
    p->start = mem_array(n + 1, sizeof *p->start, "the windows of a pass", err);
    if (!p->start)
        return false;
    struct batch *b = &p->batch;
    *b = (struct batch){ .n_windows = n, .start = p->start, .first_window = first };
    for (size_t i = 0; i < n; i++) {
        size_t tokens = plan_window_tokens(&input->windows[first + i]);
        p->start[i + 1] = p->start[i] + tokens;
        b->longest = size_max(tokens, b->longest);
    }
    b->n_tokens = p->start[n];
    p->arena.peak = plan_scratch(&p->cm, e->w, plan, b->n_tokens);
    size_t k = c->num_experts_per_tok;
    p->x = mem_array(b->n_tokens, c->hidden_size * sizeof *p->x, "the residual stream", err);
    p->routing.expert = mem_array(b->n_tokens, k * sizeof(int32_t), "routing", err);
    p->routing.weight = mem_array(b->n_tokens, k * sizeof(float), "routing", err);
    if (p->x && p->routing.expert && p->routing.weight && arena_allocate(&p->arena, err))
        return true;
    pass_close(p);
    return false;
}

/* The head counts as one layer more; only for progress. */
bool pass_report(void *pass, double share)
{
    const struct pass *p = pass;
    const struct progress *progress = &p->e->progress;
    size_t L = p->e->ck->config.num_hidden_layers;
    char stage[64] = "head";
    if (p->layer < L)
        snprintf(stage, sizeof stage, "layer %zu of %zu", p->layer + 1, L);
    double of_pass = ((double)p->layer + share) / (double)(L + 1);
    double done = p->done_before + of_pass * (double)p->batch.n_tokens;
    return !progress->report
        || progress->report(progress->user, stage, done, p->input->model_tokens,
                            "tokens");
}

void pass_embed(struct pass *p)
{
    size_t D = p->e->ck->config.hidden_size;
    for (size_t w = 0; w < p->batch.n_windows; w++) {
        const struct engine_window *window = &p->input->windows[p->batch.first_window + w];
        const int32_t *ids = p->input->ids + window->begin;
        size_t begin = p->batch.start[w], end = p->batch.start[w + 1];
#pragma omp parallel for num_threads(p->e->n_threads) schedule(static)
        for (size_t row = begin; row < end; row++)
            p->e->kernels->rows->expand(p->x + row * D, &p->e->w->embed_tokens,
                                        (size_t)ids[row - begin], 0, D);
    }
}

bool pass_layer(struct pass *p, size_t layer, struct error *err)
{
    const struct engine *e = p->e;
    p->layer = layer;
    struct layer_task task = {
        .index = layer, .type = e->ck->config.layer_types[layer], .weights = &e->w->layers[layer],
        .batch = p->batch, .x = p->x, .routing = p->routing, .tile_tokens = p->tile_tokens,
        .report = pass_report, .user = p,
    };
    return weights_check_scales(e->ck, e->w, layer, err) && layer_forward(&p->cm, &task, err);
}
