/* avx512_dots.c - AVX-512 (F, DQ, BW): sixteen sums of 16 lanes in registers. */
#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VEC = 16, TILE_WEIGHTS = 4, TILE_ROWS = 4, STORED_ROWS = 4 };
typedef __m512 vec;

static inline vec vec_load(const float *x)
{
    return _mm512_loadu_ps(x);
}

static inline void vec_store(float *to, vec x)
{
    _mm512_storeu_ps(to, x);
}

static inline vec vec_add_product(vec sum, vec w, vec x)
{
    return _mm512_fmadd_ps(w, x, sum);
}

static inline void vec_keep(vec *x)
{
    (void)x;                        /* registers for all: it stays in one */
}

static inline vec vec_high(const uint8_t *words)
{
    __m512i x = _mm512_loadu_si512(words);
    return _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xFFFF0000)));
}

static inline vec vec_low(const uint8_t *words)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(words), 16));
}

#include "kernels/avx512_mxfp4.h"
#include "kernels/dots_tile.h"

static void mxfp4(void *to, const uint8_t *codes, const uint8_t *scale, size_t blocks)
{
    float *out = to;
    for (size_t i = 0; i < blocks; i++, out += DOTS_BLOCK) {
        const struct mxfp4_halves x = mxfp4_decode(codes + 16 * i, scale[i]);
        _mm512_storeu_ps(out, x.odd);
        _mm512_storeu_ps(out + DOTS_LANES, x.even);
    }
}

const struct dots_tile dots_tile_avx512 = { false, DOTS_ROWS, multiply, arrange, widen, mxfp4 };
