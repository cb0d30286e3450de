/* ggml_decode.h - blocks of GGUF types (ggml_blocks.h) as loops that the compiler vectorises:
 * rows.c includes it once for each instruction set.  Products are those of the definition, whole
 * numbers first, so that zeros have its signs too.  Rare types are decoded by the definition. */
#ifndef SURPRISAL_KERNELS_GGML_DECODE_H
#define SURPRISAL_KERNELS_GGML_DECODE_H

#include <assert.h>
#include <string.h>

#include "kernels/ggml_blocks.h"
#include "kernels/ggml_decode_iq.h"

/* IEEE binary16, little-endian, which is finite: the exponent's bias goes from 15 to 127. */
static inline float ggml_half(const uint8_t *p)
{
    uint32_t half = (uint32_t)p[0] | (uint32_t)p[1] << 8, bits = (half & 0x7FFF) << 13;
    float x;
    memcpy(&x, &bits, sizeof x);
    x *= 0x1p112f;
    return half & 0x8000 ? -x : x;
}

/* Bit i of four bytes, as 16. */
static inline int ggml_fifth_bit(const uint8_t *p, size_t i)
{
    uint32_t bits = (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16
                  | (uint32_t)p[3] << 24;
    return (int)(bits >> i & 1) << 4;
}

/* ---- blocks of 32: codes in low nibbles, then in high ones --------------------------- */

static inline void ggml_decode_q4_0(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b);
    for (size_t i = 0; i < 16; i++) {
        out[i] = d * (float)((b[2 + i] & 15) - 8);
        out[i + 16] = d * (float)((b[2 + i] >> 4) - 8);
    }
}

static inline void ggml_decode_q4_1(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b), m = ggml_half(b + 2);
    for (size_t i = 0; i < 16; i++) {
        out[i] = d * (float)(b[4 + i] & 15) + m;
        out[i + 16] = d * (float)(b[4 + i] >> 4) + m;
    }
}

static inline void ggml_decode_q5_0(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b);
    for (size_t i = 0; i < 16; i++) {
        out[i] = d * (float)((b[6 + i] & 15) + ggml_fifth_bit(b + 2, i) - 16);
        out[i + 16] = d * (float)((b[6 + i] >> 4) + ggml_fifth_bit(b + 2, i + 16) - 16);
    }
}

static inline void ggml_decode_q5_1(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b), m = ggml_half(b + 2);
    for (size_t i = 0; i < 16; i++) {
        out[i] = d * (float)((b[8 + i] & 15) + ggml_fifth_bit(b + 4, i)) + m;
        out[i + 16] = d * (float)((b[8 + i] >> 4) + ggml_fifth_bit(b + 4, i + 16)) + m;
    }
}

static inline void ggml_decode_q8_0(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b);
    for (size_t i = 0; i < 32; i++)
        out[i] = d * (float)(int8_t)b[2 + i];
}

/* 32 codes of a table of 16 values. */
static inline void ggml_decode_table(float *restrict out, const uint8_t *restrict codes,
                                     const float table[16])
{
    for (size_t i = 0; i < 16; i++) {
        out[i] = table[codes[i] & 15];
        out[i + 16] = table[codes[i] >> 4];
    }
}

/* The table of the IQ4 types, times a whole number, times d. */
static inline void ggml_scale_iq4(float table[16], int scale, float d)
{
    static const int values[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113 };
    for (size_t i = 0; i < 16; i++)
        table[i] = d * (float)(scale * values[i]);
}

static inline void ggml_decode_iq4_nl(float *restrict out, const uint8_t *restrict b)
{
    float table[16];
    ggml_scale_iq4(table, 1, ggml_half(b));
    ggml_decode_table(out, b + 2, table);
}

static inline void ggml_decode_mxfp4(float *restrict out, const uint8_t *restrict b)
{
    static const float e2m1[16] = { 0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f };
    uint32_t bits = b[0] == 255 ? 0x7FC00000 : b[0] ? (uint32_t)b[0] << 23 : 0x00400000;
    float scale, table[16];
    memcpy(&scale, &bits, sizeof scale);
    for (size_t i = 0; i < 16; i++)
        table[i] = e2m1[i] * scale;
    ggml_decode_table(out, b + 1, table);
}

/* ---- blocks of 256 -------------------------------------------------------------------- */

static inline void ggml_decode_q2_k(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b + 80), m = ggml_half(b + 82);
    for (size_t j = 0; j < 16; j++) {           /* 16 columns share a scale */
        const uint8_t *qs = b + 16 + j / 8 * 32 + j % 2 * 16;
        unsigned shift = (unsigned)(2 * (j % 8 / 2));
        float least = m * (float)(b[j] >> 4);
        for (size_t i = 0; i < 16; i++)
            out[16 * j + i] = d * (float)((b[j] & 15) * (qs[i] >> shift & 3)) - least;
    }
}

static inline void ggml_decode_q3_k(float *restrict out, const uint8_t *restrict b)
{
    const uint8_t *s = b + 96;
    float d = ggml_half(b + 108);
    for (size_t j = 0; j < 16; j++) {
        const uint8_t *qs = b + 32 + j / 8 * 32 + j % 2 * 16, *high = b + j % 2 * 16;
        unsigned shift = (unsigned)(2 * (j % 8 / 2)), bit = (unsigned)(j / 2);
        int scale = ((j < 8 ? s[j] & 15 : s[j - 8] >> 4) | (s[8 + j % 4] >> 2 * (j / 4) & 3) << 4)
                  - 32;
        for (size_t i = 0; i < 16; i++)
            out[16 * j + i] =
                d * (float)(scale * ((qs[i] >> shift & 3) + (high[i] >> bit & 1) * 4 - 4));
    }
}

static inline int ggml_scale_k4(const uint8_t *s, size_t j)
{
    return j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
}

static inline int ggml_min_k4(const uint8_t *s, size_t j)
{
    return j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
}

static inline void ggml_decode_q4_k(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b), m = ggml_half(b + 2);
    for (size_t j = 0; j < 8; j++) {
        const uint8_t *qs = b + 16 + j / 2 * 32;
        unsigned shift = (unsigned)(4 * (j % 2));
        int scale = ggml_scale_k4(b + 4, j);
        float least = m * (float)ggml_min_k4(b + 4, j);
        for (size_t i = 0; i < 32; i++)
            out[32 * j + i] = d * (float)(scale * (qs[i] >> shift & 15)) - least;
    }
}

static inline void ggml_decode_q5_k(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b), m = ggml_half(b + 2);
    for (size_t j = 0; j < 8; j++) {
        const uint8_t *qs = b + 48 + j / 2 * 32, *high = b + 16;
        unsigned shift = (unsigned)(4 * (j % 2));
        int scale = ggml_scale_k4(b + 4, j);
        float least = m * (float)ggml_min_k4(b + 4, j);
        for (size_t i = 0; i < 32; i++)
            out[32 * j + i] =
                d * (float)(scale * ((qs[i] >> shift & 15) + (high[i] >> j & 1) * 16)) - least;
    }
}

static inline void ggml_decode_q6_k(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b + 208);
    for (size_t j = 0; j < 16; j++) {           /* 16 columns share a scale */
        const uint8_t *low = b + j / 8 * 64 + j % 4 * 16;
        const uint8_t *high = b + 128 + j / 8 * 32 + j % 2 * 16;
        unsigned low_shift = (unsigned)(4 * (j % 8 / 4)), high_shift = (unsigned)(2 * (j % 8 / 2));
        int scale = (int8_t)b[192 + j];
        for (size_t i = 0; i < 16; i++)
            out[16 * j + i] = d * (float)(scale * ((low[i] >> low_shift & 15)
                                                   + (high[i] >> high_shift & 3) * 16 - 32));
    }
}

static inline void ggml_decode_iq4_xs(float *restrict out, const uint8_t *restrict b)
{
    float d = ggml_half(b), table[16];
    unsigned high = (unsigned)b[2] | (unsigned)b[3] << 8;
    for (size_t j = 0; j < 8; j++) {
        int scale = (b[4 + j / 2] >> 4 * (j % 2) & 15) + (int)(high >> 2 * j & 3) * 16 - 32;
        ggml_scale_iq4(table, scale, d);
        ggml_decode_table(out + 32 * j, b + 8 + 16 * j, table);
    }
}

/* ---- rows --------------------------------------------------------------------------------- */

static inline void ggml_decode_block(float *restrict out, enum dtype dtype,
                                     const struct ggml_block_type *t, const uint8_t *restrict b)
{
    switch (dtype) {
    case DTYPE_Q4_0:       ggml_decode_q4_0(out, b); break;
    case DTYPE_Q4_1:       ggml_decode_q4_1(out, b); break;
    case DTYPE_Q5_0:       ggml_decode_q5_0(out, b); break;
    case DTYPE_Q5_1:       ggml_decode_q5_1(out, b); break;
    case DTYPE_Q8_0:       ggml_decode_q8_0(out, b); break;
    case DTYPE_IQ4_NL:     ggml_decode_iq4_nl(out, b); break;
    case DTYPE_GGML_MXFP4: ggml_decode_mxfp4(out, b); break;
    case DTYPE_Q2_K:       ggml_decode_q2_k(out, b); break;
    case DTYPE_Q3_K:       ggml_decode_q3_k(out, b); break;
    case DTYPE_Q4_K:       ggml_decode_q4_k(out, b); break;
    case DTYPE_Q5_K:       ggml_decode_q5_k(out, b); break;
    case DTYPE_Q6_K:       ggml_decode_q6_k(out, b); break;
    case DTYPE_IQ4_XS:     ggml_decode_iq4_xs(out, b); break;
    case DTYPE_IQ2_XXS:    ggml_decode_iq2_xxs(out, ggml_half(b), b); break;
    case DTYPE_IQ2_XS:     ggml_decode_iq2_xs(out, ggml_half(b), b); break;
    case DTYPE_IQ2_S:      ggml_decode_iq2_s(out, ggml_half(b), b); break;
    case DTYPE_IQ3_XXS:    ggml_decode_iq3_xxs(out, ggml_half(b), b); break;
    case DTYPE_IQ3_S:      ggml_decode_iq3_s(out, ggml_half(b), b); break;
    case DTYPE_IQ1_S:      ggml_decode_iq1_s(out, ggml_half(b), b); break;
    default:
        for (size_t i = 0; i < t->columns; i++)
            out[i] = t->value(b, i);
    }
}

/* Elements [at, at + n) of a matrix, counted row by row, all in one row. */
static void ggml_decode(float *out, const struct matrix *w, size_t at, size_t n)
{
    const struct ggml_block_type *t = ggml_block_type(w->dtype);
    assert(t && "a weight's dtype is checked when it is bound");
    for (size_t count; n > 0; out += count, at += count, n -= count) {
        float whole[GGML_BLOCK_MOST];
        size_t first = at % t->columns;
        const uint8_t *block = w->data + at / t->columns * t->bytes;
        count = t->columns - first < n ? t->columns - first : n;
        if (count == t->columns) {
            ggml_decode_block(out, w->dtype, t, block);
            continue;
        }
        ggml_decode_block(whole, w->dtype, t, block);
        memcpy(out, whole + first, count * sizeof *out);
    }
}

#endif
