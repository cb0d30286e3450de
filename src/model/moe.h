/* moe.h - the sparse mixture of experts (Qwen3_5MoeSparseMoeBlock): a softmax over all experts,
 * the top k renormalised, plus a shared expert behind a sigmoid gate.
 *
 * Tokens are grouped by expert over the whole pass, so that each expert's weights are read and
 * expanded once a pass and meet all their tokens at once.  A token's output is summed in a fixed
 * order: the shared expert, then its routed experts by ascending index.  (In BF16 compute the routed
 * experts' sum is rounded before the shared expert joins it: see layer.c.) */
#ifndef SURPRISAL_MODEL_MOE_H
#define SURPRISAL_MODEL_MOE_H

#include "formats/weights.h"
#include "model/compute.h"

/* Where each token goes; row-major [n_tokens, num_experts_per_tok], by falling weight. */
struct routing {
    int32_t *expert;
    float *weight;                  /* of a token, they sum to 1 */
};

/* Softmax over router_logits [E] in double, its k largest (the lower index first among equals)
 * renormalised.  probability: [E] scratch. */
void moe_route(int32_t *expert, float *weight, double *probability, const float *router_logits,
               size_t num_experts, size_t top_k);

/* For the tile's normed input h [n, D]: fills rows [row, row + n) of the routing, and out [n, D]
 * with the gated shared expert. */
void moe_begin(const struct compute *cm, float *out, const float *h, size_t n,
               const struct layer_weights *w, struct routing *routing, size_t row);

/* Called before and after each expert, whether it has tokens or not; false stops. */
struct expert_watch {
    bool (*begin)(void *user, size_t expert, struct error *err);
    bool (*end)(void *user, size_t expert, size_t num_experts, struct error *err);
    void *user;
};

/* Adds the routed experts of all n_tokens to out [n_tokens, D].  x is the residual stream
 * [n_tokens, D], normed again with `norm` [D] while rows are gathered. */
bool moe_experts(const struct compute *cm, float *out, const float *x, const float *norm,
                 size_t n_tokens, const struct layer_weights *w, const struct routing *routing,
                 const struct expert_watch *watch, struct error *err);

#endif
