/* mlp.h - the gated MLP of dense models and of the shared expert:
 * down(silu(gate(x)) * up(x)) (Qwen3_5MoeMLP). */
#ifndef SURPRISAL_MODEL_MLP_H
#define SURPRISAL_MODEL_MLP_H

#include "formats/weights.h"
#include "model/linear.h"

struct mlp_buffers {
    float *gate, *up;               /* [rows, I] */
    struct linear_buffers linear;
};

/* For up to `rows` tokens and weights of intermediate size I. */
struct mlp_buffers mlp_buffers_take(struct arena *a, const struct compute *cm, size_t rows,
                                    size_t I);

/* out [n, D] = MLP of h [n, D]. */
void mlp_forward(const struct compute *cm, const struct mlp_buffers *b, float *out, const float *h,
                 size_t n, const struct mlp_weights *w);

#endif
