/* mlp.h - the gated MLP of dense models and of the shared expert:
 * down(silu(gate(x)) * up(x)) (Qwen3_5MoeMLP). */
#ifndef SURPRISAL_MODEL_MLP_H
#define SURPRISAL_MODEL_MLP_H

#include "formats/weights.h"
#include "model/compute.h"

/* out [n, D] = MLP of h [n, D].  Scratch comes from the arena. */
void mlp_forward(const struct compute *cm, float *out, const float *h, size_t n,
                 const struct mlp_weights *w);

#endif
