/* scalar.c - the definition of every kernel: plain loops, sums in the order of the source.  Slow on
 * purpose and kept for good.  Row kernels are in scalar_rows.c. */
#include <math.h>

#include "kernels/delta_rule.h"
#include "kernels/dots.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

enum { MR = 4, NR = 8 };

static void micro_kernel(float *out, size_t ldo, const float *in, size_t ldi, const void *a,
                         const void *b, size_t words, size_t m)
{
    const float *x = a, *y = b;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < NR; j++) {
            float sum = 0;
            for (size_t p = 0; p < words; p++)
                sum = fmaf(x[p * MR + i], y[p * NR + j], sum);
            out[i * ldo + j] = in ? in[i * ldi + j] + sum : sum;
        }
}

static size_t peak(size_t steps)
{
    enum { SUMS = 10 };
    float x = 1 / (float)steps, sum[SUMS], total = 0;
    for (size_t i = 0; i < SUMS; i++)
        sum[i] = (float)i;
    for (size_t s = 0; s < steps; s++)
        for (size_t i = 0; i < SUMS; i++)
            sum[i] = fmaf(x, x, sum[i]);
    for (size_t i = 0; i < SUMS; i++)
        total += sum[i];
    return total > 0 ? steps * SUMS * 2 : 0;      /* used, or the compiler drops the sums */
}

static const struct gemm_tile tile = { MR, NR, 1, 256, micro_kernel, NULL, gemm_transpose, peak };

const struct kernels kernels_scalar = {
    .isa = "scalar",
    .gemm = { GEMM_F32(&tile, &row_kernels_scalar),
              GEMM_BF16(&tile, &row_kernels_scalar) },
    .dots = { &dots_scalar, &dots_scalar_bf16 },
    ROWS_OF(scalar),
    .delta_rule = delta_rule_sequential,
};
