/* avx512_mxfp4.h - a block of MXFP4 codes by a table of 16 values, which is scaled once a block. */
#ifndef SURPRISAL_KERNELS_AVX512_MXFP4_H
#define SURPRISAL_KERNELS_AVX512_MXFP4_H

#include <immintrin.h>
#include <stdint.h>

struct mxfp4_halves {
    __m512 odd, even;               /* columns of a block of 32 */
};

/* 16 bytes of codes; a lookup takes the lowest four bits of each word. */
static inline struct mxfp4_halves mxfp4_decode(const uint8_t *codes, uint8_t scale)
{
    const __m512 e2m1 = _mm512_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2,
                                       -3, -4, -6);
    uint32_t bits = scale ? (uint32_t)scale << 23 : 0x00400000;     /* 2^(scale - 127) */
    __m512 factor = _mm512_castsi512_ps(_mm512_set1_epi32(scale == 255 ? 0x7FC00000 : (int)bits));
    __m512 table = _mm512_mul_ps(e2m1, factor);
    __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)codes));
    return (struct mxfp4_halves){
        .odd = _mm512_permutexvar_ps(_mm512_srli_epi32(bytes, 4), table),
        .even = _mm512_permutexvar_ps(bytes, table),
    };
}

#endif
