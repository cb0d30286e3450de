/* avx512bf16_dots.c - few rows by BF16 dots (vdpbf16ps): both products of a word in one
 * instruction, the upper halves first, as in avx512bf16.c and with its exception: denormal values
 * and sums count as zero. */
#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "kernels/avx512_mxfp4.h"
#include "kernels/dots.h"

enum { TILE_WEIGHTS = 4, TILE_ROWS = 4, BLOCK_BYTES = 64 };

/* Rows [i, i + m) of the weights with rows [j, j + n) of x; m and n are constant. */
static inline __attribute__((always_inline)) void
add_tile(const struct dots_piece *p, size_t i, size_t m, size_t j, size_t n)
{
    __m512 sum[TILE_WEIGHTS][TILE_ROWS];
    const uint8_t *w = p->weights + i * p->ld_weights;
    const char *x = p->x + j * p->ldx;
    float *sums = p->sums + (i * p->n + j) * DOTS_LANES;
#pragma GCC unroll 4
    for (size_t a = 0; a < m; a++)
#pragma GCC unroll 4
        for (size_t b = 0; b < n; b++)
            sum[a][b] = _mm512_loadu_ps(sums + (a * p->n + b) * DOTS_LANES);
    for (size_t block = 0; block < p->blocks; block++, w += BLOCK_BYTES, x += BLOCK_BYTES) {
        __m512i weight[TILE_WEIGHTS];
#pragma GCC unroll 4
        for (size_t a = 0; a < m; a++)
            weight[a] = _mm512_loadu_si512(w + a * p->ld_weights);
#pragma GCC unroll 4
        for (size_t b = 0; b < n; b++) {
            __m512i at = _mm512_loadu_si512(x + b * p->ldx);
#pragma GCC unroll 4
            for (size_t a = 0; a < m; a++)
                sum[a][b] = _mm512_dpbf16_ps(sum[a][b], (__m512bh)weight[a], (__m512bh)at);
        }
    }
#pragma GCC unroll 4
    for (size_t a = 0; a < m; a++)
#pragma GCC unroll 4
        for (size_t b = 0; b < n; b++)
            _mm512_storeu_ps(sums + (a * p->n + b) * DOTS_LANES, sum[a][b]);
}

static inline __attribute__((always_inline)) void
add_rows(const struct dots_piece *p, size_t j, size_t n)
{
    size_t i = 0;
    for (; i + TILE_WEIGHTS <= p->n_weights; i += TILE_WEIGHTS)
        add_tile(p, i, TILE_WEIGHTS, j, n);
    for (; i < p->n_weights; i++)
        add_tile(p, i, 1, j, n);
}

static void multiply(const struct dots_piece *p)
{
    size_t j = 0;
    for (; j + TILE_ROWS <= p->n; j += TILE_ROWS)
        add_rows(p, j, TILE_ROWS);
    switch (p->n - j) {
    case 3: add_rows(p, j, 3); break;
    case 2: add_rows(p, j, 2); break;
    case 1: add_rows(p, j, 1); break;
    default: break;
    }
}

static void arrange(void *to, const float *x, size_t n)
{
    uint16_t *out = to;
    size_t whole = (n + DOTS_BLOCK - 1) / DOTS_BLOCK * DOTS_BLOCK;
    for (size_t c = 0; c < n; c++)
        out[c] = bf16_of(x[c]);
    for (size_t c = n; c < whole; c++)
        out[c] = 0;
}

static void mxfp4(void *to, const uint8_t *codes, const uint8_t *scale, size_t blocks)
{
    const __m512i upper = _mm512_set1_epi32((int)0xFFFF0000);
    uint8_t *out = to;
    for (size_t i = 0; i < blocks; i++, out += BLOCK_BYTES) {
        const struct mxfp4_halves x = mxfp4_decode(codes + 16 * i, scale[i]);
        __m512i odd = _mm512_and_si512(_mm512_castps_si512(x.odd), upper);
        __m512i even = _mm512_srli_epi32(_mm512_castps_si512(x.even), 16);
        _mm512_storeu_si512(out, _mm512_or_si512(odd, even));
    }
}

const struct dots_tile dots_tile_avx512bf16 = { true, DOTS_ROWS, multiply, arrange, NULL, mxfp4 };
