/* norm.h - RMS norms over the hidden size, and small vectors of weights as f32.
 *
 * Ordinary norms store an offset from one: x * rsqrt(mean(x^2) + eps) * (1 + w)
 * (Qwen3_5MoeRMSNorm in modeling_qwen3_5_moe.py; Zhang and Sennrich, arXiv 1910.07467).  The gated
 * norm in the delta net stores the factor itself (Qwen3_5MoeRMSNormGated). */
#ifndef SURPRISAL_MODEL_NORM_H
#define SURPRISAL_MODEL_NORM_H

#include "base/memory.h"
#include "model/compute.h"

/* Each fills out [w->cols], made of the first row of w.
 * The factors of an ordinary norm: 1 + w. */
void norm_weight(const struct compute *cm, float *out, const struct matrix *w);
/* The factors of the gated norm: w. */
void norm_weight_plain(const struct compute *cm, float *out, const struct matrix *w);
/* Any other vector: w. */
void norm_vector(const struct compute *cm, float *out, const struct matrix *w);

/* [D]: the factors of a norm over the hidden size. */
float *norm_buffer_take(struct arena *a, const struct config *c);

/* out [n, D] = norm of x [n, D] with the factors `weight` [D], by all threads. */
void norm_rows(const struct compute *cm, float *out, const float *x, size_t n,
               const float *weight);

/* x [n, D] += y [n, D], by all threads. */
void norm_residual_add(const struct compute *cm, float *x, const float *y, size_t n);

/* The first row of x [n, D] that holds a NaN or infinity; n when there is none. */
size_t norm_first_not_finite(const struct compute *cm, const float *x, size_t n);

#endif
