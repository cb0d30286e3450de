/* avx2.c - AVX2 and FMA: 12 sums of 8 lanes in registers, two loads of B and six broadcasts of A
 * for 12 fused multiply-adds. */
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/memory.h"
#include "kernels/delta_rule.h"
#include "kernels/dots.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

enum { LANES = 8, MR = 6, NR = 2 * LANES };

static void micro_kernel(float *out, size_t ldo, const float *in, size_t ldi, const void *a,
                         const void *b, size_t words, size_t m)
{
    const float *x = a, *y = b;
    __m256 sum[MR][2];
#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++)
        sum[i][0] = sum[i][1] = _mm256_setzero_ps();
#pragma GCC unroll 8
    for (size_t p = 0; p < words; p++, x += MR, y += NR) {
        __m256 y0 = _mm256_loadu_ps(y), y1 = _mm256_loadu_ps(y + LANES);
#pragma GCC unroll 6
        for (size_t i = 0; i < MR; i++) {
            __m256 xi = _mm256_broadcast_ss(x + i);
            sum[i][0] = _mm256_fmadd_ps(xi, y0, sum[i][0]);
            sum[i][1] = _mm256_fmadd_ps(xi, y1, sum[i][1]);
        }
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++) {
        if (in && i < m) {
            sum[i][0] = _mm256_add_ps(_mm256_loadu_ps(in + i * ldi), sum[i][0]);
            sum[i][1] = _mm256_add_ps(_mm256_loadu_ps(in + i * ldi + LANES), sum[i][1]);
        }
        if (i < m) {
            _mm256_storeu_ps(out + i * ldo, sum[i][0]);
            _mm256_storeu_ps(out + i * ldo + LANES, sum[i][1]);
        }
    }
}

/* What a row of a panel holds, and where: all lanes, the same past the caches, or the first MR. */
enum store { ALL, SHARED, FIRST };

static void store(float *to, __m256 row, enum store how)
{
    if (how == ALL) {
        _mm256_storeu_ps(to, row);
        return;
    }
    if (how == SHARED) {
        _mm256_stream_ps(to, row);
        return;
    }
    _mm_storeu_ps(to, _mm256_castps256_ps128(row));
    _mm_storel_pi((__m64 *)(void *)(to + 4), _mm256_extractf128_ps(row, 1));
}

/* Eight words of `count` lines, with zeros for those up to 8, as eight rows of a panel. */
static void transpose_block(float *panel, size_t width, const float *x, size_t step, size_t count,
                            enum store how)
{
    __m256 r[8], t[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++)
        r[i] = i < count ? _mm256_loadu_ps(x + i * step) : _mm256_setzero_ps();
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
        store(panel + c * width, _mm256_permute2f128_ps(r[c], r[4 + c], 0x20), how);
        store(panel + (4 + c) * width, _mm256_permute2f128_ps(r[c], r[4 + c], 0x31), how);
    }
}

/* Whole blocks of 8 words by registers, what is left by the plain loop.  A panel is MR wide, or
 * some whole vectors. */
static void transpose(void *panel, size_t width, const void *x, size_t step, size_t count,
                      size_t words, bool shared)
{
    float *out = panel;
    const float *in = x;
    size_t whole = width % LANES == 0 || width == MR ? words / 8 * 8 : 0;
    enum store how = width == MR ? FIRST : shared && (uintptr_t)panel % 32 == 0 ? SHARED : ALL;
    for (size_t p = 0; p < whole; p += 8)
        for (size_t line = 0; line < width; line += LANES) {
            float *to = out + p * width + line;
            const float *from = in + line * step + p;
            size_t lines = count - size_min(count, line);
            if (width == MR && lines == MR)
                transpose_block(to, MR, from, step, MR, FIRST);
            else
                transpose_block(to, width, from, step, lines, how);
        }
    if (how == SHARED)
        _mm_sfence();
    gemm_transpose(out + whole * width, width, in + whole, step, count, words - whole, shared);
}

static size_t peak(size_t steps)
{
    enum { SUMS = 2 * MR };
    __m256 x = _mm256_set1_ps(1 / (float)steps), sum[SUMS];
    for (int i = 0; i < SUMS; i++)
        sum[i] = _mm256_set1_ps((float)i);             /* equal sums would be computed once */
    for (size_t s = 0; s < steps; s++)
#pragma GCC unroll 28
        for (int i = 0; i < SUMS; i++)
            sum[i] = _mm256_fmadd_ps(x, x, sum[i]);
#pragma GCC unroll 28
    for (int i = 1; i < SUMS; i++)
        sum[0] = _mm256_add_ps(sum[0], sum[i]);
    return _mm256_cvtss_f32(sum[0]) > 0 ? steps * SUMS * LANES * 2 : 0;
}

static const struct gemm_tile tile = { MR, NR, 1, 256, micro_kernel, NULL, transpose, peak };

const struct kernels kernels_avx2 = {
    .isa = "avx2",
    .gemm = { GEMM_F32(&tile, &row_kernels_avx2), GEMM_BF16(&tile, &row_kernels_avx2) },
    DOTS_OF(&dots_tile_avx2, &row_kernels_avx2),
    ROWS_OF(avx2),
    .delta_rule = delta_rule_chunked,
    .mxfp4_blocks = mxfp4_blocks_avx2,
};
