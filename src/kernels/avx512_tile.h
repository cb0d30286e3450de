/* avx512_tile.h - the micro-kernel of 14 x 32 sums, without the multiply-add itself. */
#ifndef SURPRISAL_KERNELS_AVX512_TILE_H
#define SURPRISAL_KERNELS_AVX512_TILE_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A panel is too large for the first-level cache, so its words are prefetched this far ahead.
 * (Without that it is 2 % slower.) */
enum { LANES = 16, MR = 14, NR = 2 * LANES, PREFETCH_WORDS = 32 };

/* sum + x y for each lane, or for both BF16 values of each. */
typedef __m512 multiply_add(__m512 sum, __m512 x, __m512 y);

/* Adds to the sums of n rows the products of one word: x[i] of row i with y0 and y1 of B. */
static inline __attribute__((always_inline)) void
add_products(multiply_add *step, size_t n, __m512 sum[MR][2], const float *x, __m512 y0, __m512 y1)
{
#pragma GCC unroll 14
    for (size_t i = 0; i < n; i++) {
        __m512 xi = _mm512_set1_ps(x[i]);
        sum[i][0] = step(sum[i][0], xi, y0);
        sum[i][1] = step(sum[i][1], xi, y1);
    }
}

/* The lower halves of words as f32, and the upper ones. */
static inline __m512 lower_halves(const float *y)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(y), 16));
}

static inline __m512 upper_halves(const float *y)
{
    return _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(0xAAAAAAAA, y));
}

/* Inlined early: GCC drops calls of a function that has no effect. */
static inline __attribute__((always_inline)) void prefetch_b(const float *y)
{
    _mm_prefetch((const char *)y, _MM_HINT_T0);
    _mm_prefetch((const char *)(y + LANES), _MM_HINT_T0);
}

/* As struct gemm_tile says, with sums of n rows in registers: n >= m is even; n, step and
 * bf16_pairs are constant. */
static inline __attribute__((always_inline)) void
micro_kernel_rows(multiply_add *step, bool bf16_pairs, size_t n, float *out, size_t ldo,
                  const float *in, size_t ldi, const float *x, const float *y, size_t words,
                  size_t m)
{
    __m512 sum[MR][2];
#pragma GCC unroll 14
    for (size_t i = 0; i < n; i++)
        sum[i][0] = sum[i][1] = _mm512_setzero_ps();
    if (bf16_pairs)
        for (; words >= 2; words -= 2, x += 2 * MR, y += NR) {
            prefetch_b(y + PREFETCH_WORDS * LANES);
            add_products(step, n, sum, x, lower_halves(y), lower_halves(y + LANES));
            add_products(step, n, sum, x + MR, upper_halves(y), upper_halves(y + LANES));
        }
    for (; words > 0; words--, x += MR, y += NR) {
        prefetch_b(y + PREFETCH_WORDS * NR);
        if (bf16_pairs)                                 /* the last of an odd number */
            add_products(step, n, sum, x, lower_halves(y), lower_halves(y + LANES));
        else
            add_products(step, n, sum, x, _mm512_loadu_ps(y), _mm512_loadu_ps(y + LANES));
    }
#pragma GCC unroll 14
    for (size_t i = 0; i < n; i++)
#pragma GCC unroll 2
        for (size_t j = 0; j < 2; j++) {
            if (in && i < m)
                sum[i][j] = _mm512_add_ps(_mm512_loadu_ps(in + i * ldi + j * LANES), sum[i][j]);
            if (i < m)
                _mm512_storeu_ps(out + i * ldo + j * LANES, sum[i][j]);
        }
}

/* The micro-kernel of the compiled number of rows that is next to m: the last rows of an
 * expert's tokens cost no more than a tile of their size. */
static inline __attribute__((always_inline))
void micro_kernel_tile(multiply_add *step, bool bf16_pairs, float *out, size_t ldo, const float *in,
                       size_t ldi, const float *x, const float *y, size_t words, size_t m)
{
    switch ((m + 1) / 2) {
    case 1: micro_kernel_rows(step, bf16_pairs, 2, out, ldo, in, ldi, x, y, words, m); break;
    case 2: micro_kernel_rows(step, bf16_pairs, 4, out, ldo, in, ldi, x, y, words, m); break;
    case 3: micro_kernel_rows(step, bf16_pairs, 6, out, ldo, in, ldi, x, y, words, m); break;
    case 4: micro_kernel_rows(step, bf16_pairs, 8, out, ldo, in, ldi, x, y, words, m); break;
    case 5: micro_kernel_rows(step, bf16_pairs, 10, out, ldo, in, ldi, x, y, words, m); break;
    case 6: micro_kernel_rows(step, bf16_pairs, 12, out, ldo, in, ldi, x, y, words, m); break;
    case 7:
        if (m == MR)
            micro_kernel_rows(step, bf16_pairs, MR, out, ldo, in, ldi, x, y, words, MR);
        else
            micro_kernel_rows(step, bf16_pairs, MR, out, ldo, in, ldi, x, y, words, m);
        break;
    default: break;
    }
}

/* The first n lanes, at most all. */
static inline __mmask16 first_lanes(size_t n)
{
    return (__mmask16)(n >= LANES ? 0xFFFF : (1u << n) - 1);
}

/* 16 x 16 values: pairs, then quadruples of rows are interleaved within 128-bit lanes, then lanes
 * are gathered. */
static inline void transpose_block(__m512 r[LANES])
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

/* As struct gemm_tile says; swap exchanges the halves of each word. */
static inline void transpose_words(void *panel, size_t width, const void *x, size_t step,
                                   size_t count, size_t words, bool swap, bool shared)
{
    const float *from = x;
    float *to = panel;
    shared = shared && width % LANES == 0 && (uintptr_t)panel % sizeof(__m512) == 0;
    for (size_t line = 0; line < width; line += LANES)
        for (size_t w = 0; w < words; w += LANES) {
            __mmask16 in = first_lanes(words - w), out = first_lanes(width - line);
            __m512 r[LANES];
#pragma GCC unroll 16
            for (size_t i = 0; i < LANES; i++) {
                r[i] = line + i < count ? _mm512_maskz_loadu_ps(in, from + (line + i) * step + w)
                                        : _mm512_setzero_ps();
                if (swap)
                    r[i] = _mm512_castsi512_ps(_mm512_rol_epi32(_mm512_castps_si512(r[i]), 16));
            }
            transpose_block(r);
            size_t rows = words - w < LANES ? words - w : LANES;
#pragma GCC unroll 16
            for (size_t i = 0; i < LANES; i++)
                if (i < rows && shared)
                    _mm512_stream_ps(to + (w + i) * width + line, r[i]);
                else if (i < rows)
                    _mm512_mask_storeu_ps(to + (w + i) * width + line, out, r[i]);
        }
    if (shared)
        _mm_sfence();
}

#endif
