/* openblas.c - the set whose products are OpenBLAS's; for CPUs without a set of their own, and as
 * a yardstick for ours.  Its BF16 products are those of f32 on rounded values. */
#include "kernels/blas.h"
#include "kernels/delta_rule.h"
#include "kernels/dots.h"
#include "kernels/rows.h"

#define BLAS_OPS(rounds_)                                                                    \
    &(const struct gemm_ops){ .rounds = (rounds_), .rows = &row_kernels_baseline,                 \
                              .mr = blas_mr, .nr = blas_nr,               \
                              .packed_bytes = blas_packed_bytes,                                  \
                              .takes_bf16_pairs = blas_takes_bf16_pairs, \
                              .scratch_bytes = blas_scratch_bytes, .pack = blas_pack,             \
                              .pack_weight = blas_pack_weight, .multiply = blas_multiply }

const struct kernels kernels_openblas = {
    .isa = "openblas",
    .prepare = blas_prepare,
    .gemm = { BLAS_OPS(false), BLAS_OPS(true) },
    DOTS_OF(&dots_tile_baseline, &row_kernels_baseline),
    ROWS_OF(baseline),
    .delta_rule = delta_rule_chunked,
    .mxfp4_blocks = mxfp4_blocks_baseline,
};
