#include "model/moe.h"

#include <math.h>
#include <omp.h>

#include "model/linear.h"
#include "model/mlp.h"

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

void moe_route_and_shared_expert(const struct compute *cm, float *out, const float *h, size_t n,
                                 const struct layer_weights *w, struct routing *routing, size_t row)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, E = c->num_experts, k = c->num_experts_per_tok;
    size_t mark = cm->arena->used;
    float *router_logits = arena_take(cm->arena, n, E * sizeof *router_logits);
    float *shared_gate = arena_take(cm->arena, n, sizeof *shared_gate);
    double *probability = arena_take(cm->arena, (size_t)cm->n_threads, E * sizeof *probability);
    linear(cm, router_logits, E, h, D, n, &w->router);
    linear(cm, shared_gate, 1, h, D, n, &w->shared_expert_gate);
    mlp_forward(cm, out, h, n, &w->shared_expert);
    const struct row_kernels *rows = compute_rows(cm);
    if (probability) {
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
        for (size_t t = 0; t < n; t++) {
            moe_route(routing->expert + (row + t) * k, routing->weight + (row + t) * k,
                      probability + (size_t)omp_get_thread_num() * E, router_logits + t * E, E, k);
            rows->round(routing->weight + (row + t) * k, k);
            shared_gate[t] = (float)(1 / (1 + exp(-(double)shared_gate[t])));
            rows->round(&shared_gate[t], 1);
            rows->scale(out + t * D, shared_gate[t], D);
            rows->round(out + t * D, D);
        }
    }
    cm->arena->used = mark;
}
