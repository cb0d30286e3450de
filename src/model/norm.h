/* norm.h - RMS norms over the hidden size, and small vectors of weights as f32.
 *
 * Ordinary norms store an offset from one: x * rsqrt(mean(x^2) + eps) * (1 + w)
 * (Qwen3_5MoeRMSNorm in modeling_qwen3_5_moe.py).  The gated norm in the delta net stores the
 * factor itself. */
#ifndef SURPRISAL_MODEL_NORM_H
#define SURPRISAL_MODEL_NORM_H

#include "model/compute.h"

/* Takes w->cols floats from the arena: the first row of w plus `offset`; NULL while measuring. */
float *vector_take(const struct compute *cm, const struct matrix *w, float offset);

/* out [n, D] = norm of x [n, D] with the factors `weight` [D], by all threads; nothing while
 * measuring (out NULL). */
void rms_norm_rows(const struct compute *cm, float *out, const float *x, size_t n,
                   const float *weight);

/* x [n, D] += y [n, D], by all threads. */
void residual_add(const struct compute *cm, float *x, const float *y, size_t n);

/* The first row of x [n, D] that holds a NaN or infinity; n when there is none. */
size_t first_not_finite(const struct compute *cm, const float *x, size_t n);

#endif
