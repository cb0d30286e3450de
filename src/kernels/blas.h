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

/* The functions of struct gemm_ops; packed is B transposed, [n, k]. */
size_t blas_mr(const struct gemm_ops *ops);
size_t blas_nr(const struct gemm_ops *ops);
size_t blas_packed_bytes(const struct gemm_ops *ops, size_t n, size_t k);
size_t blas_scratch_bytes(const struct gemm_ops *ops);
void blas_pack(const struct gemm_ops *ops, void *packed, const struct gemm_b *b, size_t first,
               size_t count, void *scratch);
bool blas_takes_bf16_pairs(const struct gemm_ops *ops, const struct matrix *w);
void blas_pack_weight(const struct gemm_ops *ops, const struct packed_b *to,
                      const struct weight_slice *b, size_t first, size_t count, void *scratch);
void blas_multiply(const struct gemm_ops *ops, const struct gemm *g);

#endif
