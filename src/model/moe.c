#include "model/moe.h"

#include <math.h>
#include "model/linear.h"

void moe_route(int32_t *expert, float *weight, double *probability, const float *router_logits,
               size_t num_experts, size_t top_k)
{
    double max = (double)router_logits[0], sum = 0, kept = 0;
    for (size_t e = 1; e < num_experts; e++)
        max = (double)router_logits[e] > max ? (double)router_logits[e] : max;
    for (size_t e = 0; e < num_experts; e++) {
        probability[e] = exp((double)router_logits[e] - max);
        sum += probability[e];
    }
    for (size_t slot = 0; slot < top_k; slot++) {
        size_t best = 0;
        for (size_t e = 1; e < num_experts; e++)
            if (probability[e] > probability[best])
                best = e;
        expert[slot] = (int32_t)best;
        /* sum carries a NaN of any expert into every weight, so that it is not lost. */
        weight[slot] = (float)(probability[best] + 0 * sum);
        kept += probability[best];
        probability[best] = -1;
    }
    for (size_t slot = 0; slot < top_k; slot++)
        weight[slot] = (float)((double)weight[slot] / kept);
}

struct moe_buffers moe_buffers_take(struct arena *a, const struct compute *cm, size_t rows)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, E = c->num_experts;
    const struct linear_shape linears[] = { { E, D }, { 1, D } };
    struct moe_buffers b = {
        .router_logits = arena_take(a, rows, E * sizeof *b.router_logits),
        .shared_gate = arena_take(a, rows, sizeof *b.shared_gate),
        .probability = thread_buffers_take(a, cm->n_threads, E, sizeof(double)),
    };
    struct overlay o = overlay_begin(a);
    b.linear = linear_buffers_take(a, cm, linears, 2);
    overlay_next(&o, a);
    b.shared_expert = mlp_buffers_take(a, cm, rows, c->shared_expert_intermediate_size);
    overlay_end(&o, a);
    return b;
}

void moe_route_and_shared_expert(const struct compute *cm, const struct moe_buffers *b, float *out,
                                 const float *h, size_t n, const struct layer_weights *w,
                                 struct routing *routing, size_t row)
{
    const struct config *c = cm->config;
    const struct row_kernels *rows = compute_rows(cm);
    size_t D = c->hidden_size, E = c->num_experts, k = c->num_experts_per_tok;
    float *gate = b->shared_gate;
    linear_forward(cm, &b->linear, b->router_logits, E, h, D, n, &w->router);
    linear_forward(cm, &b->linear, gate, 1, h, D, n, &w->shared_expert_gate);
    mlp_forward(cm, &b->shared_expert, out, h, n, &w->shared_expert);
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++) {
        size_t slot = (row + t) * k;
        moe_route(routing->expert + slot, routing->weight + slot, thread_buffer(&b->probability),
                  b->router_logits + t * E, E, k);
        rows->round(routing->weight + slot, k);
        gate[t] = (float)(1 / (1 + exp(-(double)gate[t])));
        rows->round(&gate[t], 1);
        rows->scale(out + t * D, gate[t], D);
        rows->round(out + t * D, D);
    }
}
