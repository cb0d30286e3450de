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

/* The functions of struct products; packed is B transposed, [n, k]. */
size_t blas_row_step(const struct products *pr);
size_t blas_col_step(const struct products *pr);
size_t blas_packed_bytes(const struct products *pr, size_t n, size_t k);
size_t blas_scratch_bytes(const struct products *pr);
void blas_pack(const struct products *pr, void *packed, const struct operand *b, size_t first,
               size_t count, void *scratch);
bool blas_takes_halves(const struct products *pr, const struct matrix *w);
void blas_pack_weight(const struct products *pr, const struct packed_weight *to,
                      const struct weight_operand *b, size_t first, size_t count, void *scratch);
void blas_multiply(const struct products *pr, const struct product *p);

#endif
