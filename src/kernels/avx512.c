/* avx512.c - AVX-512 (F): 28 sums of 16 lanes in registers, two loads of B and fourteen
 * broadcasts of A for 28 fused multiply-adds. */
#include <immintrin.h>

#include "kernels/avx512_tile.h"
#include "kernels/delta_rule.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

static void chain(float *out, size_t ldo, const float *in, size_t ldi, const void *a, const void *b,
                  size_t words)
{
    const float *x = a, *y = b;
    __m512 sum[ROWS][2];
    for (int i = 0; i < ROWS; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < words; p++, x += ROWS, y += 2 * LANES) {
        __m512 y0 = _mm512_loadu_ps(y), y1 = _mm512_loadu_ps(y + LANES);
#pragma GCC unroll 14
        for (int i = 0; i < ROWS; i++) {
            __m512 xi = _mm512_set1_ps(x[i]);
            sum[i][0] = _mm512_fmadd_ps(xi, y0, sum[i][0]);
            sum[i][1] = _mm512_fmadd_ps(xi, y1, sum[i][1]);
        }
    }
    put_sums(out, ldo, in, ldi, sum);
}

static void transpose(void *panel, size_t width, const void *x, size_t step, size_t count,
                      size_t words)
{
    transpose_words(panel, width, x, step, count, words, false);
}

static size_t peak(size_t steps)
{
    enum { CHAINS = 2 * ROWS };
    __m512 x = _mm512_set1_ps(1 / (float)steps), sum[CHAINS];
    for (int i = 0; i < CHAINS; i++)
        sum[i] = _mm512_set1_ps((float)i);             /* equal sums would be computed once */
    for (size_t s = 0; s < steps; s++)
#pragma GCC unroll 28
        for (int i = 0; i < CHAINS; i++)
            sum[i] = _mm512_fmadd_ps(x, x, sum[i]);
#pragma GCC unroll 28
    for (int i = 1; i < CHAINS; i++)
        sum[0] = _mm512_add_ps(sum[0], sum[i]);
    return _mm512_cvtss_f32(sum[0]) > 0 ? steps * CHAINS * LANES * 2 : 0;
}

const struct gemm_tile gemm_tile_avx512 = { ROWS, 2 * LANES, 1, chain, transpose, peak };

const struct kernels kernels_avx512 = {
    .isa = "avx512",
    .products = { GEMM_F32(&gemm_tile_avx512, &row_kernels_avx512),
                  GEMM_BF16(&gemm_tile_avx512, &row_kernels_avx512) },
    ROWS_OF(avx512),
    .delta_rule = delta_rule_chunked,
};
