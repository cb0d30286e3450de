/* blas.h - dense products by OpenBLAS; the only place that calls it.
 *
 * OpenBLAS sums each element over k in an order of its own kernel's choice: bits depend on its
 * version, on the core type it picks, and on the shape of the product.  So results of this set
 * are equal for equal batches only. */
#ifndef SURPRISAL_KERNELS_BLAS_H
#define SURPRISAL_KERNELS_BLAS_H

#include "kernels/kernels.h"

/* Makes OpenBLAS single-threaded, since our threads are above it.  OpenBLAS keeps that setting
 * for the whole process; there is no narrower one. */
void blas_prepare(void);

/* The four functions of struct kernels; packed is B transposed, [n, k]. */
size_t blas_packed_floats(const struct kernels *kn, size_t n, size_t k);
size_t blas_scratch_floats(const struct kernels *kn);
void blas_pack(const struct kernels *kn, float *packed, const struct operand *b, size_t first,
               size_t count);
void blas_multiply(const struct kernels *kn, const struct product *p);

#endif
