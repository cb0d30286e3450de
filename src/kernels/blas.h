/* blas.h - dense products by OpenBLAS; the only place that calls it.
 *
 * OpenBLAS sums each element over k in an order of its own kernel's choice, so bits depend on its
 * version and on the core type it picks. */
#ifndef SURPRISAL_KERNELS_BLAS_H
#define SURPRISAL_KERNELS_BLAS_H

#include "kernels/kernels.h"

/* Makes OpenBLAS single-threaded, since our threads are above it.  OpenBLAS keeps that setting
 * for the whole process; there is no narrower one. */
void blas_prepare(void);

void blas_gemm(const struct gemm *g, const struct kernels *kn);

#endif
