/* avx2.c - AVX2 and FMA: 12 sums of 8 lanes in registers, two loads of B and six broadcasts of A
 * for 12 fused multiply-adds. */
#include <immintrin.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/delta_rule.h"
#include "kernels/expand.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

enum { ROWS = 6, LANES = 8 };

/* Where sums rest between chains: in the first-level cache, not in C. */
struct rest {
    float row[ROWS][2 * LANES];
};

/* One chain of k, started from zero, added to what rests (unless it is the first). */
static inline void chain(struct rest *rest, const float *a, const float *b, size_t k, bool first)
{
    __m256 sum[ROWS][2];
    for (int i = 0; i < ROWS; i++)
        sum[i][0] = sum[i][1] = _mm256_setzero_ps();
    for (size_t p = 0; p < k; p++) {
        __m256 b0 = _mm256_loadu_ps(b + p * 2 * LANES);
        __m256 b1 = _mm256_loadu_ps(b + p * 2 * LANES + LANES);
#pragma GCC unroll 6
        for (int i = 0; i < ROWS; i++) {
            __m256 x = _mm256_broadcast_ss(a + p * ROWS + (size_t)i);
            sum[i][0] = _mm256_fmadd_ps(x, b0, sum[i][0]);
            sum[i][1] = _mm256_fmadd_ps(x, b1, sum[i][1]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < 2; j++) {
            float *at = rest->row[i] + j * LANES;
            _mm256_storeu_ps(at, first ? sum[i][j] : _mm256_add_ps(_mm256_loadu_ps(at), sum[i][j]));
        }
}

static void tile(float *c, size_t ldc, const float *a, const float *b, size_t k, size_t m,
                 size_t n, bool accumulate)
{
    struct rest rest;
    for (size_t i = 0; accumulate && i < m; i++)
        memcpy(rest.row[i], c + i * ldc, n * sizeof *c);
    for (size_t p = 0; p < k; p += GEMM_CHAIN)
        chain(&rest, a + p * ROWS, b + p * 2 * LANES, size_min(k - p, GEMM_CHAIN),
              p == 0 && !accumulate);
    for (size_t i = 0; i < m; i++)
        memcpy(c + i * ldc, rest.row[i], n * sizeof *c);
}

/* Eight values of up to eight lines as eight rows of up to eight columns. */
static void transpose_block(float *panel, size_t width, const float *x, size_t step)
{
    __m256 r[8], t[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(x + i * step);
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
#pragma GCC unroll 4
    for (size_t c = 0; c < 4; c++) {
        _mm256_storeu_ps(panel + c * width, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20));
        _mm256_storeu_ps(panel + (4 + c) * width, _mm256_permute2f128_ps(r[c], r[4 + c], 0x31));
    }
}

/* Whole blocks of 8 x 8 by registers, what is left by the plain loop. */
static void transpose(float *panel, size_t width, const float *x, size_t step, size_t count,
                      size_t k)
{
    if (width % 8 != 0 || count < width) {
        gemm_transpose(panel, width, x, step, count, k);
        return;
    }
    size_t whole = k / 8 * 8;
    for (size_t line = 0; line < width; line += 8)
        for (size_t p = 0; p < whole; p += 8)
            transpose_block(panel + p * width + line, width, x + line * step + p, step);
    gemm_transpose(panel + whole * width, width, x + whole, step, count, k - whole);
}

const struct kernels kernels_avx2 = {
    .isa = "avx2",
    .tile = &(const struct gemm_tile){ ROWS, 2 * LANES, tile, transpose },
    .packed_floats = gemm_packed_floats,
    .scratch_floats = gemm_scratch_floats,
    .pack = gemm_pack,
    .multiply = gemm_multiply,
    .expand_row = expand_row,
    .rows = &row_kernels_avx2,
    .delta_rule = delta_rule_chunked,
};
