/* avx512.c - AVX-512 (F): 28 sums of 16 lanes in registers, two loads of B and fourteen
 * broadcasts of A for 28 fused multiply-adds. */
#include <immintrin.h>

#include "base/memory.h"
#include "kernels/delta_rule.h"
#include "kernels/expand.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

enum { ROWS = 14, LANES = 16 };

/* Columns [0, n) of a vector that starts at column `from`. */
static __mmask16 lanes_below(size_t n, size_t from)
{
    return n >= from + LANES ? (__mmask16)0xFFFF
         : n <= from ? (__mmask16)0 : (__mmask16)(0xFFFFu >> (LANES - (n - from)));
}

/* Where sums rest between chains: in the first-level cache, not in C. */
struct rest {
    float row[ROWS][2 * LANES];
};

/* One chain of k, started from zero, added to what rests (unless it is the first). */
static inline void chain(struct rest *rest, const float *a, const float *b, size_t k, bool first)
{
    __m512 sum[ROWS][2];
    for (int i = 0; i < ROWS; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < k; p++) {
        __m512 b0 = _mm512_loadu_ps(b + p * 2 * LANES);
        __m512 b1 = _mm512_loadu_ps(b + p * 2 * LANES + LANES);
#pragma GCC unroll 14
        for (int i = 0; i < ROWS; i++) {
            __m512 x = _mm512_set1_ps(a[p * ROWS + (size_t)i]);
            sum[i][0] = _mm512_fmadd_ps(x, b0, sum[i][0]);
            sum[i][1] = _mm512_fmadd_ps(x, b1, sum[i][1]);
        }
    }
#pragma GCC unroll 14
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < 2; j++) {
            float *at = rest->row[i] + j * LANES;
            _mm512_storeu_ps(at, first ? sum[i][j] : _mm512_add_ps(_mm512_loadu_ps(at), sum[i][j]));
        }
}

static void tile(float *c, size_t ldc, const float *a, const float *b, size_t k, size_t m,
                 size_t n, bool accumulate)
{
    struct rest rest;
    __mmask16 m0 = lanes_below(n, 0), m1 = lanes_below(n, LANES);
    for (size_t i = 0; accumulate && i < m; i++) {
        _mm512_storeu_ps(rest.row[i], _mm512_maskz_loadu_ps(m0, c + i * ldc));
        _mm512_storeu_ps(rest.row[i] + LANES, _mm512_maskz_loadu_ps(m1, c + i * ldc + LANES));
    }
    for (size_t p = 0; p < k; p += GEMM_CHAIN)
        chain(&rest, a + p * ROWS, b + p * 2 * LANES, size_min(k - p, GEMM_CHAIN),
              p == 0 && !accumulate);
    for (size_t i = 0; i < m; i++) {
        _mm512_mask_storeu_ps(c + i * ldc, m0, _mm512_loadu_ps(rest.row[i]));
        _mm512_mask_storeu_ps(c + i * ldc + LANES, m1, _mm512_loadu_ps(rest.row[i] + LANES));
    }
}

/* 16 x 16 values: pairs, then quadruples of rows are interleaved within 128-bit lanes, then lanes
 * are gathered. */
static void transpose_block(__m512 r[LANES])
{
    __m512 t[LANES];
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < LANES; i += 4) {
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    /* r[4 g + c] holds, in lane l, column 4 l + c of rows 4 g .. 4 g + 3. */
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        __m512 low = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);
        __m512 high = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
        __m512 low_odd = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xDD);
        __m512 high_odd = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xDD);
        t[c] = _mm512_shuffle_f32x4(low, high, 0x88);
        t[8 + c] = _mm512_shuffle_f32x4(low, high, 0xDD);
        t[4 + c] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
        t[12 + c] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xDD);
    }
#pragma GCC unroll 16
    for (int i = 0; i < LANES; i++)
        r[i] = t[i];
}

static void transpose(float *panel, size_t width, const float *x, size_t step, size_t count,
                      size_t k)
{
    for (size_t line = 0; line < width; line += LANES)
        for (size_t p = 0; p < k; p += LANES) {
            __mmask16 in = lanes_below(k - p, 0), out = lanes_below(width - line, 0);
            __m512 r[LANES];
#pragma GCC unroll 16
            for (size_t i = 0; i < LANES; i++)
                r[i] = line + i < count ? _mm512_maskz_loadu_ps(in, x + (line + i) * step + p)
                                        : _mm512_setzero_ps();
            transpose_block(r);
            size_t rows = k - p < LANES ? k - p : LANES;
#pragma GCC unroll 16
            for (size_t i = 0; i < LANES; i++)
                if (i < rows)
                    _mm512_mask_storeu_ps(panel + (p + i) * width + line, out, r[i]);
        }
}

const struct kernels kernels_avx512 = {
    .isa = "avx512",
    .tile = &(const struct gemm_tile){ ROWS, 2 * LANES, tile, transpose },
    .packed_floats = gemm_packed_floats,
    .scratch_floats = gemm_scratch_floats,
    .pack = gemm_pack,
    .multiply = gemm_multiply,
    .expand_row = expand_row,
    .rows = &row_kernels_avx512,
    .delta_rule = delta_rule_chunked,
};
