/* ggml_decode_iq.h - the part of ggml_decode.h for types with codebooks: eight values at a time
 * share an entry, or two entries of four, and a byte of signs. */
#ifndef SURPRISAL_KERNELS_GGML_DECODE_IQ_H
#define SURPRISAL_KERNELS_GGML_DECODE_IQ_H

#include "kernels/ggml_blocks.h"
#include "kernels/ggml_grids.h"

static inline uint32_t ggml_word(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Seven signs and the one that makes their number even. */
static inline unsigned ggml_eight_signs(uint32_t seven)
{
    return (seven & 127) | (unsigned)__builtin_parity(seven & 127) << 7;
}

/* entry: eight indices of 2 bits. */
static inline void ggml_eight_of_iq2(float *out, float d, unsigned entry, unsigned signs)
{
    static const float values[4] = { 8, 25, 43, 0 };
    for (size_t i = 0; i < 8; i++) {
        float x = d * values[entry >> 2 * i & 3];
        out[i] = signs >> i & 1 ? -x : x;
    }
}

/* first, second: four indices of 3 bits each. */
static inline void ggml_eight_of_iq3(float *out, float d, const float values[8], unsigned first,
                                     unsigned second, unsigned signs)
{
    unsigned entry = first | second << 12;
    for (size_t i = 0; i < 8; i++) {
        float x = d * values[entry >> 3 * i & 7];
        out[i] = signs >> i & 1 ? -x : x;
    }
}

static inline void ggml_eight_of_iq1(float *out, float d, unsigned entry, bool is_below)
{
    unsigned indices = ggml_grid_iq1[entry];
    float shift = is_below ? -0.125f : 0.125f;
    for (size_t i = 0; i < 8; i++)
        out[i] = d * ((float)((int)(indices >> 2 * i & 3) - 1) + shift);
}

static inline void ggml_decode_iq2_xxs(float *out, float d, const uint8_t *b)
{
    for (size_t e = 0; e < 32; e++) {
        const uint8_t *pair = b + 2 + e / 4 * 8;
        uint32_t w = ggml_word(pair + 4);
        ggml_eight_of_iq2(out + 8 * e, d * (0.5f + (float)(w >> 28)) * 0.25f,
                          ggml_grid_iq2_xxs[pair[e % 4]], ggml_eight_signs(w >> 7 * (e % 4)));
    }
}

static inline void ggml_decode_iq2_xs(float *out, float d, const uint8_t *b)
{
    for (size_t e = 0; e < 32; e++) {
        uint32_t code = (uint32_t)b[2 + 2 * e] | (uint32_t)b[3 + 2 * e] << 8;
        float scale = (float)(b[66 + e / 4] >> 4 * (e / 2 % 2) & 15);
        ggml_eight_of_iq2(out + 8 * e, d * (0.5f + scale) * 0.25f, ggml_grid_iq2_xs[code & 511],
                          ggml_eight_signs(code >> 9));
    }
}

static inline void ggml_decode_iq2_s(float *out, float d, const uint8_t *b)
{
    for (size_t e = 0; e < 32; e++) {
        unsigned entry = b[2 + e] + 256u * (b[66 + e / 4] >> 2 * (e % 4) & 3);
        float scale = (float)(b[74 + e / 4] >> 4 * (e / 2 % 2) & 15);
        ggml_eight_of_iq2(out + 8 * e, d * (0.5f + scale) * 0.25f, ggml_grid_iq2_s[entry],
                          b[34 + e]);
    }
}

static inline void ggml_decode_iq3_xxs(float *out, float d, const uint8_t *b)
{
    static const float values[8] = { 4, 12, 20, 28, 36, 44, 52, 62 };
    for (size_t e = 0; e < 32; e++) {
        uint32_t w = ggml_word(b + 66 + e / 4 * 4);
        ggml_eight_of_iq3(out + 8 * e, d * (0.5f + (float)(w >> 28)) * 0.5f, values,
                          ggml_grid_iq3_xxs[b[2 + 2 * e]], ggml_grid_iq3_xxs[b[3 + 2 * e]],
                          ggml_eight_signs(w >> 7 * (e % 4)));
    }
}

static inline void ggml_decode_iq3_s(float *out, float d, const uint8_t *b)
{
    static const float values[8] = { 1, 3, 5, 7, 9, 11, 13, 15 };
    for (size_t e = 0; e < 32; e++) {
        unsigned high = (unsigned)b[66 + e / 4] >> 2 * (e % 4);
        int scale = b[106 + e / 8] >> 4 * (e / 4 % 2) & 15;
        ggml_eight_of_iq3(out + 8 * e, d * (float)(1 + 2 * scale), values,
                          ggml_grid_iq3_s[b[2 + 2 * e] + 256u * (high & 1)],
                          ggml_grid_iq3_s[b[3 + 2 * e] + 256u * (high >> 1 & 1)], b[74 + e]);
    }
}

static inline void ggml_decode_iq1_s(float *out, float d, const uint8_t *b)
{
    for (size_t e = 0; e < 32; e++) {
        uint32_t h = (uint32_t)b[34 + e / 4 * 2] | (uint32_t)b[35 + e / 4 * 2] << 8;
        ggml_eight_of_iq1(out + 8 * e, d * (float)(2 * (h >> 12 & 7) + 1),
                          b[2 + e] + 256u * (h >> 3 * (e % 4) & 7), h & 0x8000);
    }
}

#endif
