/* avx512.c - AVX-512 (F, DQ, BW): 28 sums of 16 lanes in registers, two loads of B and fourteen
 * broadcasts of A for 28 fused multiply-adds. */
#include <immintrin.h>

#include "kernels/avx512_tile.h"
#include "kernels/delta_rule.h"
#include "kernels/dots.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

static inline __m512 step(__m512 sum, __m512 x, __m512 y)
{
    return _mm512_fmadd_ps(x, y, sum);
}

static void micro_kernel(float *out, size_t ldo, const float *in, size_t ldi, const void *a,
                         const void *b, size_t words, size_t m)
{
    micro_kernel_tile(step, false, out, ldo, in, ldi, a, b, words, m);
}

static void micro_kernel_bf16_pairs(float *out, size_t ldo, const float *in, size_t ldi,
                                    const void *a, const void *b, size_t words, size_t m)
{
    micro_kernel_tile(step, true, out, ldo, in, ldi, a, b, words, m);
}

static void transpose(void *panel, size_t width, const void *x, size_t step, size_t count,
                      size_t words, bool shared)
{
    transpose_words(panel, width, x, step, count, words, false, shared);
}

static size_t peak(size_t steps)
{
    enum { SUMS = 2 * MR };
    __m512 x = _mm512_set1_ps(1 / (float)steps), sum[SUMS];
    for (int i = 0; i < SUMS; i++)
        sum[i] = _mm512_set1_ps((float)i);             /* equal sums would be computed once */
    for (size_t s = 0; s < steps; s++)
#pragma GCC unroll 28
        for (int i = 0; i < SUMS; i++)
            sum[i] = _mm512_fmadd_ps(x, x, sum[i]);
#pragma GCC unroll 28
    for (int i = 1; i < SUMS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    return _mm512_cvtss_f32(sum[0]) > 0 ? steps * SUMS * LANES * 2 : 0;
}

const struct gemm_tile gemm_tile_avx512 = {
    MR, NR, 1, 512, micro_kernel, micro_kernel_bf16_pairs, transpose, peak,
};

const struct kernels kernels_avx512 = {
    .isa = "avx512",
    .gemm = { GEMM_F32(&gemm_tile_avx512, &row_kernels_avx512),
              GEMM_BF16(&gemm_tile_avx512, &row_kernels_avx512) },
    DOTS_OF(&dots_tile_avx512, &row_kernels_avx512),
    ROWS_OF(avx512),
    .delta_rule = delta_rule_chunked,
    .mxfp4_blocks = mxfp4_blocks_avx512,
};
