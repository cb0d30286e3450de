#include "model/moe.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "model/linear.h"
#include "model/mlp.h"

/* Tokens that meet an expert at a time: their gathered rows and intermediates are one thread's. */
#define EXPERT_BLOCK ((size_t)256)

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

void moe_begin(const struct compute *cm, float *out, const float *h, size_t n,
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
    if (probability) {
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
        for (size_t t = 0; t < n; t++) {
            moe_route(routing->expert + (row + t) * k, routing->weight + (row + t) * k,
                      probability + (size_t)omp_get_thread_num() * E, router_logits + t * E, E, k);
            float gate = (float)(1 / (1 + exp(-(double)shared_gate[t])));
            for (size_t i = 0; i < D; i++)
                out[t * D + i] *= gate;
        }
    }
    cm->arena->used = mark;
}

/* ---- routed experts ------------------------------------------------------ */

struct group {                      /* the (token, slot) pairs of all experts */
    size_t *begin;                  /* [E + 1]: expert e has pairs [begin[e], begin[e + 1]) */
    size_t *pair;                   /* [n_tokens * k]: token * k + slot, ascending by expert, token */
};

/* Counting sort by expert; tokens stay in order. */
static void group_by_expert(struct group *g, const struct routing *r, size_t n_pairs, size_t E)
{
    memset(g->begin, 0, (E + 1) * sizeof *g->begin);
    for (size_t p = 0; p < n_pairs; p++)
        g->begin[r->expert[p] + 1]++;
    for (size_t e = 0; e < E; e++)
        g->begin[e + 1] += g->begin[e];
    for (size_t p = 0; p < n_pairs; p++)
        g->pair[g->begin[r->expert[p]]++] = p;
    for (size_t e = E; e > 0; e--)              /* each begin moved to its end: move them back */
        g->begin[e] = g->begin[e - 1];
    g->begin[0] = 0;
}

struct expanded {                   /* one expert's weights in f32 */
    float *gate_up;                 /* [2 I, D] */
    float *down;                    /* [D, I]   */
};

/* One block of an expert's tokens; buffers are the thread's own. */
struct expert_block {
    float *x;                       /* [EXPERT_BLOCK, D]   */
    float *gate_up;                 /* [EXPERT_BLOCK, 2 I] */
};

static void expert_on_block(const struct compute *cm, float *out, const float *x,
                            const float *norm, const struct expanded *w,
                            const struct routing *routing, const size_t *pair, size_t n,
                            const struct expert_block *b)
{
    const struct config *c = cm->config;
    const struct kernels *kn = cm->kernels;
    size_t D = c->hidden_size, I = c->moe_intermediate_size, k = c->num_experts_per_tok;
    for (size_t i = 0; i < n; i++)
        kn->rms_norm(b->x + i * D, x + pair[i] / k * D, norm, D, c->rms_norm_eps);
    kn->gemm(&(struct gemm){ GEMM_NT, false, n, 2 * I, D, b->gate_up, 2 * I, b->x, D,
                             w->gate_up, D }, kn);
    for (size_t i = 0; i < n; i++)
        kn->mul_silu(b->gate_up + i * 2 * I + I, b->gate_up + i * 2 * I, I);
    kn->gemm(&(struct gemm){ GEMM_NT, false, n, D, I, b->x, D, b->gate_up + I, 2 * I,
                             w->down, I }, kn);
    for (size_t i = 0; i < n; i++)
        kn->add_scaled(out + pair[i] / k * D, b->x + i * D, routing->weight[pair[i]], D);
}

bool moe_experts(const struct compute *cm, float *out, const float *x, const float *norm,
                 size_t n_tokens, const struct layer_weights *w, const struct routing *routing,
                 bool (*done)(void *user, size_t expert), void *user)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, I = c->moe_intermediate_size, E = c->num_experts;
    size_t n_pairs = n_tokens * c->num_experts_per_tok, mark = cm->arena->used;
    struct group g = { arena_take(cm->arena, E + 1, sizeof *g.begin),
                       arena_take(cm->arena, n_pairs, sizeof *g.pair) };
    struct expanded full = { arena_take(cm->arena, 2 * I, D * sizeof(float)),
                             arena_take(cm->arena, D, I * sizeof(float)) };
    size_t threads = (size_t)cm->n_threads;
    float *rows = arena_take(cm->arena, threads * EXPERT_BLOCK, D * sizeof *rows);
    float *gate_up = arena_take(cm->arena, threads * EXPERT_BLOCK, 2 * I * sizeof *gate_up);
    bool going = true;
    if (rows)
        group_by_expert(&g, routing, n_pairs, E);
    for (size_t e = 0; rows && going && e < E; e++) {
        size_t begin = g.begin[e], end = g.begin[e + 1];
        if (begin < end) {
            expand_matrix(cm, full.gate_up, &w->experts[e].gate);
            expand_matrix(cm, full.gate_up + I * D, &w->experts[e].up);
            expand_matrix(cm, full.down, &w->experts[e].down);
        }
#pragma omp parallel for num_threads(cm->n_threads) schedule(dynamic)
        for (size_t p = begin; p < end; p += EXPERT_BLOCK) {
            size_t me = (size_t)omp_get_thread_num();
            size_t n = end - p < EXPERT_BLOCK ? end - p : EXPERT_BLOCK;
            struct expert_block b = { rows + me * EXPERT_BLOCK * D,
                                      gate_up + me * EXPERT_BLOCK * 2 * I };
            expert_on_block(cm, out, x, norm, &full, routing, g.pair + p, n, &b);
        }
        going = done(user, e);
    }
    cm->arena->used = mark;
    return going;
}
