/* avx512bf16.c - AVX-512 with BF16 dot products (vdpbf16ps) for BF16 values; f32 as in avx512.c.
 *
 * An instruction adds two products to each sum: the product of the upper halves, then that of the
 * lower ones, each as a fused multiply-add rounded to nearest even (Intel, Software Developer's
 * Manual, VDPBF16PS).  The upper half is the first in k, so the order is the one in gemm.h, and the
 * bits are those of the scalar twin, with one exception: denormal values and sums count as zero. */
#include <immintrin.h>

#include "kernels/avx512_tile.h"
#include "kernels/delta_rule.h"
#include "kernels/dots.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

static inline __m512 step(__m512 sum, __m512 x, __m512 y)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)y);
}

static void micro_kernel(float *out, size_t ldo, const float *in, size_t ldi, const void *a,
                         const void *b, size_t words, size_t m)
{
    micro_kernel_tile(step, false, out, ldo, in, ldi, a, b, words, m);
}

static void transpose(void *panel, size_t width, const void *x, size_t step, size_t count,
                      size_t words, bool shared)
{
    transpose_words(panel, width, x, step, count, words, true, shared);
}

static size_t peak(size_t steps)
{
    enum { SUMS = 2 * MR };
    __m512bh x = (__m512bh)_mm512_set1_epi32(0x3F803F80);      /* pairs of 1 */
    __m512 sum[SUMS];
    for (int i = 0; i < SUMS; i++)
        sum[i] = _mm512_set1_ps((float)i);             /* equal sums would be computed once */
    for (size_t s = 0; s < steps; s++)
#pragma GCC unroll 28
        for (int i = 0; i < SUMS; i++)
            sum[i] = _mm512_dpbf16_ps(sum[i], x, x);
#pragma GCC unroll 28
    for (int i = 1; i < SUMS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    return _mm512_cvtss_f32(sum[0]) > 0 ? steps * SUMS * LANES * 4 : 0;
}

static const struct gemm_tile tile = { MR, NR, 2, 512, micro_kernel, NULL, transpose, peak };

const struct kernels kernels_avx512bf16 = {
    .isa = "avx512bf16",
    .gemm = { GEMM_F32(&gemm_tile_avx512, &row_kernels_avx512),
              GEMM_BF16(&tile, &row_kernels_avx512) },
    .dots = { DOTS_OPS(&dots_tile_avx512, &row_kernels_avx512, false),
              DOTS_OPS(&dots_tile_avx512bf16, &row_kernels_avx512, true) },
    ROWS_OF(avx512),
    .delta_rule = delta_rule_chunked,
    .mxfp4_blocks = mxfp4_blocks_avx512,
};
