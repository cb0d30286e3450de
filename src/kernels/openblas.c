/* openblas.c - the set whose products are OpenBLAS's; for CPUs without a set of their own, and as
 * a yardstick for ours. */
#include "kernels/blas.h"
#include "kernels/delta_rule.h"
#include "kernels/expand.h"
#include "kernels/rows.h"

const struct kernels kernels_openblas = {
    .isa = "openblas",
    .prepare = blas_prepare,
    .packed_floats = blas_packed_floats,
    .scratch_floats = blas_scratch_floats,
    .pack = blas_pack,
    .multiply = blas_multiply,
    .expand_row = expand_row,
    .rows = &row_kernels_baseline,
    .delta_rule = delta_rule_chunked,
};
