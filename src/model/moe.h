/* moe.h - the sparse mixture of experts (Qwen3_5MoeSparseMoeBlock): a softmax over all experts,
 * the top k renormalised (Qwen3_5MoeTopKRouter), plus a shared expert behind a sigmoid gate.
 *
 * The whole block, of a token's normed state x, with p_k and E_k the weights and experts of its top
 * k, S the shared expert (mlp.h) and g its gate's row:
 *
 *     y = sum_k p_k E_k(x) + sigmoid(x g) S(x)
 *
 * moe_route_and_shared_expert writes sigmoid(x g) S(x) to `out`; experts_forward adds p_k E_k(x) to
 * it, by ascending index of the expert; layer.c adds y to the residual stream.  In f32 compute that
 * is all.  In BF16 compute (compute.h) it is rounded in these places:
 *     moe.c        p_k; sigmoid(x g); its product with S(x)
 *     experts.c    each product p_k E_k(x), but not their sum
 *     layer.c      the sum of the routed experts, for which it puts the shared one's part aside
 *                  before the first expert; y, after it has added that part; the stream, after it
 *                  has added y
 *
 * This module has the parts that run tile by tile: routing and the shared expert.  experts.h has
 * the routed experts. */
#ifndef SURPRISAL_MODEL_MOE_H
#define SURPRISAL_MODEL_MOE_H

#include "formats/weights.h"
#include "model/buffers.h"
#include "model/mlp.h"

/* The experts of each token; row-major [n_tokens, num_experts_per_tok], by descending weight. */
struct routing {
    int32_t *expert;
    float *weight;                  /* the weights of a token sum to 1 */
};

/* Softmax over router_logits [E] in double, its k largest (the lower index first among equals)
 * renormalised.  probability: [E] scratch. */
void moe_route(int32_t *expert, float *weight, double *probability, const float *router_logits,
               size_t num_experts, size_t top_k);

struct moe_buffers {
    float *router_logits;           /* [rows, E] */
    float *shared_gate;             /* [rows] */
    struct thread_buffers probability;      /* [E] doubles */
    /* One after the other: */
    struct linear_buffers linear;   /* of router and gate */
    struct mlp_buffers shared_expert;
};

/* For tiles of up to `rows` tokens. */
struct moe_buffers moe_buffers_take(struct arena *a, const struct compute *cm, size_t rows);

/* For the tile's normed input h [n, D]: fills rows [row, row + n) of the routing, and out [n, D]
 * with the gated shared expert. */
void moe_route_and_shared_expert(const struct compute *cm, const struct moe_buffers *b, float *out,
                                 const float *h, size_t n, const struct layer_weights *w,
                                 struct routing *routing, size_t row);

#endif
