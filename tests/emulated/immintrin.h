/* immintrin.h - AVX2, FMA, AVX-512 and its BF16 dots in plain C, for `make EMULATE=1`: SIMDe
 * (https://github.com/simd-everywhere/simde) under the compiler's names, and here what SIMDe 0.7.4
 * lacks or does not round as the instruction does.  By Intel's Intrinsics Guide. */
#ifndef SURPRISAL_TESTS_EMULATED_IMMINTRIN_H
#define SURPRISAL_TESTS_EMULATED_IMMINTRIN_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include <float.h>
#include <math.h>
#include <string.h>

typedef simde__mmask16 __mmask16;

/* SIMDe rounds the product as well. */
#undef _mm256_fmadd_ps
#define _mm256_fmadd_ps emulated_fmadd_256
static inline __m256 emulated_fmadd_256(__m256 a, __m256 b, __m256 c)
{
    for (int i = 0; i < 8; i++)
        c[i] = fmaf(a[i], b[i], c[i]);
    return c;
}

#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps emulated_fmadd_512
static inline __m512 emulated_fmadd_512(__m512 a, __m512 b, __m512 c)
{
    for (int i = 0; i < 16; i++)
        c[i] = fmaf(a[i], b[i], c[i]);
    return c;
}

/* Two products into each sum, the upper halves first, each as a fused multiply-add rounded to
 * nearest even; denormal values in, between and out are zeros. */
static inline float emulated_flush(float x)
{
    return fabsf(x) < FLT_MIN ? copysignf(0, x) : x;
}

static inline float emulated_half(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return emulated_flush(x);
}

#undef _mm512_dpbf16_ps
#define _mm512_dpbf16_ps emulated_dpbf16
static inline __m512 emulated_dpbf16(__m512 sum, __m512bh a, __m512bh b)
{
    uint32_t x[16], y[16];
    memcpy(x, &a, sizeof x);
    memcpy(y, &b, sizeof y);
    for (int i = 0; i < 16; i++) {
        float s = emulated_flush(sum[i]);
        s = emulated_flush(fmaf(emulated_half(x[i] & 0xFFFF0000), emulated_half(y[i] & 0xFFFF0000),
                                s));
        s = emulated_flush(fmaf(emulated_half(x[i] << 16), emulated_half(y[i] << 16), s));
        sum[i] = s;
    }
    return sum;
}

/* 128-bit lanes: two of a, then two of b. */
#undef _mm512_shuffle_f32x4
#define _mm512_shuffle_f32x4 emulated_shuffle_f32x4
static inline __m512 emulated_shuffle_f32x4(__m512 a, __m512 b, int choice)
{
    __m512 r;
    for (int i = 0; i < 16; i++) {
        int lane = choice >> (i / 4 * 2) & 3;
        r[i] = (i < 8 ? a : b)[lane * 4 + i % 4];
    }
    return r;
}

#define _mm512_cvtepu8_epi32 emulated_cvtepu8_epi32
static inline __m512i emulated_cvtepu8_epi32(__m128i a)
{
    uint8_t bytes[16];
    uint32_t words[16];
    memcpy(bytes, &a, sizeof bytes);
    for (int i = 0; i < 16; i++)
        words[i] = bytes[i];
    return _mm512_loadu_si512(words);
}

#undef _mm512_stream_ps
#define _mm512_stream_ps(to, x) _mm512_store_ps(to, x)

#undef _mm512_cvtss_f32
#define _mm512_cvtss_f32(x) ((x)[0])

/* Masked-out lanes are not touched in memory. */
static inline __m512i emulated_load(uint32_t mask, const void *from, size_t lane)
{
    char x[64] = { 0 };
    for (size_t i = 0; i < sizeof x / lane; i++)
        if (mask >> i & 1)
            memcpy(x + lane * i, (const char *)from + lane * i, lane);
    return _mm512_loadu_si512(x);
}

#undef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps(mask, from) _mm512_castsi512_ps(emulated_load(mask, from, 4))

#undef _mm512_maskz_loadu_epi16
#define _mm512_maskz_loadu_epi16(mask, from) emulated_load(mask, from, 2)

#undef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps emulated_mask_storeu
static inline void emulated_mask_storeu(void *to, __mmask16 mask, __m512 x)
{
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) {
            float value = x[i];
            memcpy((char *)to + 4 * i, &value, 4);
        }
}

#endif
