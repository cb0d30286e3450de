/* avx2_dots.c - AVX2 and FMA: twelve sums of 8 lanes in registers. */
#include <immintrin.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VEC = 8, TILE_WEIGHTS = 2, TILE_ROWS = 3, STORED_ROWS = 2 };
typedef __m256 vec;

static inline vec vec_load(const float *x)
{
    return _mm256_loadu_ps(x);
}

static inline void vec_store(float *to, vec x)
{
    _mm256_storeu_ps(to, x);
}

static inline vec vec_add_product(vec sum, vec w, vec x)
{
    return _mm256_fmadd_ps(w, x, sum);
}

static inline void vec_keep(vec *x)
{
#ifdef __AVX2__                         /* not where it is emulated */
    __asm__("" : "+x"(*x));
#else
    (void)x;
#endif
}

static inline vec vec_high(const uint8_t *words)
{
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)words);
    return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xFFFF0000)));
}

static inline vec vec_low(const uint8_t *words)
{
    __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)words);
    return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
}

#include "kernels/dots_tile.h"

/* 2^(e - 127) of eight scale bytes; 255 is NaN. */
static inline void store_scales(float *to, const uint8_t *scale)
{
    __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)scale));
    __m256i denormal = _mm256_cmpeq_epi32(e, _mm256_setzero_si256());
    __m256i nan = _mm256_cmpeq_epi32(e, _mm256_set1_epi32(255));
    __m256i bits = _mm256_or_si256(_mm256_slli_epi32(e, 23),
                                   _mm256_and_si256(denormal, _mm256_set1_epi32(0x00400000)));
    bits = _mm256_or_si256(bits, _mm256_and_si256(nan, _mm256_set1_epi32(0x00400000)));
    _mm256_storeu_ps(to, _mm256_castsi256_ps(bits));
}

/* The upper and lower bytes of E2M1 values in BF16, by code. */
static inline __m256i upper_bytes(void)
{
    return _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 0x3F, 0x3F, 0x3F, 0x40, 0x40, 0x40, 0x40, (char)0x80, (char)0xBF, (char)0xBF, (char)0xBF,
        (char)0xC0, (char)0xC0, (char)0xC0, (char)0xC0));
}

static inline __m256i lower_bytes(void)
{
    return _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 0, (char)0x80, (char)0xC0, 0, 0x40, (char)0x80, (char)0xC0, 0, 0, (char)0x80, (char)0xC0,
        0, 0x40, (char)0x80, (char)0xC0));
}

/* 32 codes of either parity: of two blocks, each with its scale. */
static inline void store_values(float *to, __m256i codes, __m256 scale0, __m256 scale1)
{
    const __m256i zero = _mm256_setzero_si256();
    __m256i upper = _mm256_shuffle_epi8(upper_bytes(), codes);
    __m256i lower = _mm256_shuffle_epi8(lower_bytes(), codes);
    __m256i block0 = _mm256_unpacklo_epi8(lower, upper);
    __m256i block1 = _mm256_unpackhi_epi8(lower, upper);
    __m256 x0 = _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, block0));
    __m256 x1 = _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, block0));
    __m256 x2 = _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, block1));
    __m256 x3 = _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, block1));
    _mm256_storeu_ps(to, _mm256_mul_ps(x0, scale0));
    _mm256_storeu_ps(to + VEC, _mm256_mul_ps(x1, scale0));
    _mm256_storeu_ps(to + DOTS_BLOCK, _mm256_mul_ps(x2, scale1));
    _mm256_storeu_ps(to + DOTS_BLOCK + VEC, _mm256_mul_ps(x3, scale1));
}

/* Two blocks.  The instructions interleave within 128 bits, so codes change places first: the lower
 * half gets those of words 0-3 and 8-11 of each block, the upper one the others. */
static inline void decode_two(float *to, __m256i codes, const float *scales)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256 scale0 = _mm256_broadcast_ss(scales), scale1 = _mm256_broadcast_ss(scales + 1);
    codes = _mm256_permutevar8x32_epi32(codes, _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7));
    __m256i odd = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
    store_values(to, odd, scale0, scale1);
    store_values(to + DOTS_LANES, _mm256_and_si256(codes, nibble), scale0, scale1);
}

static inline __m256i codes_at(const uint8_t *codes)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)codes);
}

static void mxfp4(void *to, const uint8_t *codes, const uint8_t *scale, size_t blocks)
{
    enum { TURN = 8 };
    float *out = to, scales[TURN];
    size_t i = 0;
    for (; i + TURN <= blocks; i += TURN) {
        store_scales(scales, scale + i);
        for (size_t j = 0; j < TURN; j += 2)
            decode_two(out + (i + j) * DOTS_BLOCK, codes_at(codes + 16 * (i + j)), scales + j);
    }
    for (; i < blocks; i++) {
        uint8_t bytes[32] = { 0 }, e[TURN] = { scale[i] };
        float two[2 * DOTS_BLOCK];
        memcpy(bytes, codes + 16 * i, 16);
        store_scales(scales, e);
        decode_two(two, codes_at(bytes), scales);
        memcpy(out + i * DOTS_BLOCK, two, sizeof two / 2);
    }
}

const struct dots_tile dots_tile_avx2 = { false, 8, multiply, arrange, widen, mxfp4 };
