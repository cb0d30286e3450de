#include "kernels/ggml_blocks.h"

#include <assert.h>

#include "kernels/ggml_grids.h"
#include "kernels/small_floats.h"

static uint32_t u16_at(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32_at(const uint8_t *p)
{
    return u16_at(p) | u16_at(p + 2) << 16;
}

static float f16_at(const uint8_t *p)
{
    return f16_value((uint16_t)u16_at(p));
}

static int bit(const uint8_t *p, size_t i)
{
    return p[i / 8] >> i % 8 & 1;
}

/* The low nibbles of 16 bytes, then the high ones. */
static int halves(const uint8_t *p, size_t i)
{
    return i < 16 ? p[i] & 15 : p[i - 16] >> 4;
}

/* ---- blocks of 32 ----------------------------------------------------------------- */

static float q4_0(const uint8_t *b, size_t i)
{
    return f16_at(b) * (float)(halves(b + 2, i) - 8);
}

static float q4_1(const uint8_t *b, size_t i)
{
    return f16_at(b) * (float)halves(b + 4, i) + f16_at(b + 2);
}

static float q5_0(const uint8_t *b, size_t i)
{
    return f16_at(b) * (float)(halves(b + 6, i) + 16 * bit(b + 2, i) - 16);
}

static float q5_1(const uint8_t *b, size_t i)
{
    return f16_at(b) * (float)(halves(b + 8, i) + 16 * bit(b + 4, i)) + f16_at(b + 2);
}

static float q8_0(const uint8_t *b, size_t i)
{
    return f16_at(b) * (float)(int8_t)b[2 + i];
}

static const int8_t iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                       1,    13,   25,  38,  53,  69,  89,  113 };

static float iq4_nl(const uint8_t *b, size_t i)
{
    return f16_at(b) * (float)iq4_values[halves(b + 2, i)];
}

static float mxfp4(const uint8_t *b, size_t i)
{
    return e2m1_value((unsigned)halves(b + 1, i)) * e8m0_value(b[0]);
}

/* ---- other small blocks ----------------------------------------------------------- */

/* E4M3 without a sign. */
static float ue4m3(uint8_t code)
{
    return code == 0x7F ? 0 : e4m3_value(code & 0x7F);
}

static float nvfp4(const uint8_t *b, size_t i)
{
    size_t k = i % 16;
    uint8_t codes = b[4 + i / 16 * 8 + k % 8];
    return e2m1_value(k < 8 ? codes & 15 : codes >> 4) * ue4m3(b[i / 16]);
}

static float q1_0(const uint8_t *b, size_t i)
{
    return bit(b + 2, i) ? f16_at(b) : -f16_at(b);
}

static float q2_0(const uint8_t *b, size_t i)
{
    return f16_at(b) * (float)((b[2 + i / 4] >> 2 * (i % 4) & 3) - 1);
}

/* ---- K types ---------------------------------------------------------------------- */

/* 2 bits: 128 columns are four runs of 32 over the same bytes. */
static int two_bits(const uint8_t *qs, size_t i)
{
    return qs[i / 128 * 32 + i % 32] >> 2 * (i % 128 / 32) & 3;
}

static float tq2_0(const uint8_t *b, size_t i)
{
    return f16_at(b + 64) * (float)(two_bits(b, i) - 1);
}

static float q2_k(const uint8_t *b, size_t i)
{
    int scale = b[i / 16];
    return f16_at(b + 80) * (float)((scale & 15) * two_bits(b + 16, i))
         - f16_at(b + 82) * (float)(scale >> 4);
}

static float q3_k(const uint8_t *b, size_t i)
{
    const uint8_t *s = b + 96;
    size_t j = i / 16;
    int scale = (j < 8 ? s[j] & 15 : s[j - 8] >> 4) | (s[8 + j % 4] >> 2 * (j / 4) & 3) << 4;
    int q = two_bits(b + 32, i) - (b[i % 32] >> i / 32 & 1 ? 0 : 4);
    return f16_at(b + 108) * (float)((scale - 32) * q);
}

/* Of Q4_K and Q5_K: the scale and the minimum of 32 columns, 6 bits each in 12 bytes. */
static int scale_k4(const uint8_t *s, size_t j)
{
    return j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6) << 4;
}

static int min_k4(const uint8_t *s, size_t j)
{
    return j < 4 ? s[j + 4] & 63 : s[j + 4] >> 4 | (s[j] >> 6) << 4;
}

/* 4 bits: 64 columns are two runs of 32 over the same bytes. */
static int four_bits(const uint8_t *qs, size_t i)
{
    return qs[i / 64 * 32 + i % 32] >> 4 * (i % 64 / 32) & 15;
}

static float value_k4(const uint8_t *b, size_t j, int q)
{
    return f16_at(b) * (float)(scale_k4(b + 4, j) * q) - f16_at(b + 2) * (float)min_k4(b + 4, j);
}

static float q4_k(const uint8_t *b, size_t i)
{
    return value_k4(b, i / 32, four_bits(b + 16, i));
}

static float q5_k(const uint8_t *b, size_t i)
{
    return value_k4(b, i / 32, four_bits(b + 48, i) + 16 * (b[16 + i % 32] >> i / 32 & 1));
}

static float q6_k(const uint8_t *b, size_t i)
{
    size_t half = i / 128, r = i % 128;
    int low = b[64 * half + r % 64] >> 4 * (r / 64) & 15;
    int high = b[128 + 32 * half + r % 32] >> 2 * (r / 32) & 3;
    return f16_at(b + 208) * (float)((int8_t)b[192 + i / 16] * (low + 16 * high - 32));
}

static float iq4_xs(const uint8_t *b, size_t i)
{
    size_t j = i / 32;
    int low = b[4 + j / 2] >> 4 * (j % 2) & 15, high = (int)(u16_at(b + 2) >> 2 * j & 3);
    int code = halves(b + 8 + 16 * j, i % 32);
    return f16_at(b) * (float)((low + 16 * high - 32) * iq4_values[code]);
}

/* ---- IQ types with codebooks ------------------------------------------------------ */

static const int8_t iq2_values[4] = { 8, 25, 43, 0 };
static const int8_t iq3_xxs_values[8] = { 4, 12, 20, 28, 36, 44, 52, 62 };

/* The sign of value i of eight, by a byte; */
static int sign(unsigned signs, size_t i)
{
    return signs >> i % 8 & 1 ? -1 : 1;
}

/* seven signs are stored, and an eighth makes the number of negative ones even. */
static unsigned eight_signs(uint32_t seven)
{
    seven &= 127;
    return seven | (unsigned)__builtin_parity(seven) << 7;
}

static int iq2_value(uint16_t entry, size_t i)
{
    return iq2_values[entry >> 2 * (i % 8) & 3];
}

static float iq2_xxs(const uint8_t *b, size_t i)
{
    const uint8_t *pair = b + 2 + i / 32 * 8;
    size_t l = i % 32 / 8;
    uint32_t w = u32_at(pair + 4);
    int q = iq2_value(ggml_grid_iq2_xxs[pair[l]], i) * sign(eight_signs(w >> 7 * l), i);
    return f16_at(b) * (0.5f + (float)(w >> 28)) * 0.25f * (float)q;
}

static float iq2_xs(const uint8_t *b, size_t i)
{
    uint32_t code = u16_at(b + 2 + i / 8 * 2);
    int scale = b[66 + i / 32] >> 4 * (i / 16 % 2) & 15;
    int q = iq2_value(ggml_grid_iq2_xs[code & 511], i) * sign(eight_signs(code >> 9), i);
    return f16_at(b) * (0.5f + (float)scale) * 0.25f * (float)q;
}

static float iq2_s(const uint8_t *b, size_t i)
{
    size_t entry = b[2 + i / 8] + 256u * (b[66 + i / 32] >> 2 * (i / 8 % 4) & 3);
    int scale = b[74 + i / 32] >> 4 * (i / 16 % 2) & 15;
    int q = iq2_value(ggml_grid_iq2_s[entry], i) * sign(b[34 + i / 8], i);
    return f16_at(b) * (0.5f + (float)scale) * 0.25f * (float)q;
}

static float iq3_xxs(const uint8_t *b, size_t i)
{
    uint32_t w = u32_at(b + 66 + i / 32 * 4);
    int q = iq3_xxs_values[ggml_grid_iq3_xxs[b[2 + i / 4]] >> 3 * (i % 4) & 7];
    q *= sign(eight_signs(w >> 7 * (i / 8 % 4)), i);
    return f16_at(b) * (0.5f + (float)(w >> 28)) * 0.5f * (float)q;
}

static float iq3_s(const uint8_t *b, size_t i)
{
    size_t entry = b[2 + i / 4] + 256u * (b[66 + i / 32] >> i / 4 % 8 & 1);
    int scale = b[106 + i / 64] >> 4 * (i / 32 % 2) & 15;
    int q = (2 * (ggml_grid_iq3_s[entry] >> 3 * (i % 4) & 7) + 1) * sign(b[74 + i / 8], i);
    return f16_at(b) * (float)((1 + 2 * scale) * q);
}

static float iq1_value(size_t entry, size_t i, bool is_below)
{
    return (float)((ggml_grid_iq1[entry] >> 2 * (i % 8) & 3) - 1) + (is_below ? -0.125f : 0.125f);
}

static float iq1_s(const uint8_t *b, size_t i)
{
    uint32_t h = u16_at(b + 34 + i / 32 * 2);
    size_t entry = b[2 + i / 8] + 256u * (h >> 3 * (i / 8 % 4) & 7);
    return f16_at(b) * (float)(2 * (h >> 12 & 7) + 1) * iq1_value(entry, i, h & 0x8000);
}

/* The top nibbles of four words make one scale. */
static float scale_iq1_m(const uint8_t *b)
{
    uint32_t half = 0;
    for (size_t i = 0; i < 4; i++)
        half |= u16_at(b + 48 + 2 * i) >> 12 << 4 * i;
    return f16_value((uint16_t)half);
}

static float iq1_m(const uint8_t *b, size_t i)
{
    size_t u = i / 16;
    unsigned h = b[32 + u] >> 4 * (i / 8 % 2) & 15;
    uint32_t scale = u16_at(b + 48 + u / 4 * 2) >> 3 * (u % 4) & 7;
    return scale_iq1_m(b) * (float)(2 * scale + 1)
         * iq1_value(b[i / 8] + 256u * (h & 7), i, h & 8);
}

/* ---- the table -------------------------------------------------------------------- */

static const struct ggml_block_type types[DTYPE_COUNT] = {
    [DTYPE_Q4_0] = { 2, 32, 18, q4_0 },
    [DTYPE_Q4_1] = { 3, 32, 20, q4_1 },
    [DTYPE_Q5_0] = { 6, 32, 22, q5_0 },
    [DTYPE_Q5_1] = { 7, 32, 24, q5_1 },
    [DTYPE_Q8_0] = { 8, 32, 34, q8_0 },
    [DTYPE_Q2_K] = { 10, 256, 84, q2_k },
    [DTYPE_Q3_K] = { 11, 256, 110, q3_k },
    [DTYPE_Q4_K] = { 12, 256, 144, q4_k },
    [DTYPE_Q5_K] = { 13, 256, 176, q5_k },
    [DTYPE_Q6_K] = { 14, 256, 210, q6_k },
    [DTYPE_IQ2_XXS] = { 16, 256, 66, iq2_xxs },
    [DTYPE_IQ2_XS] = { 17, 256, 74, iq2_xs },
    [DTYPE_IQ3_XXS] = { 18, 256, 98, iq3_xxs },
    [DTYPE_IQ1_S] = { 19, 256, 50, iq1_s },
    [DTYPE_IQ4_NL] = { 20, 32, 18, iq4_nl },
    [DTYPE_IQ3_S] = { 21, 256, 110, iq3_s },
    [DTYPE_IQ2_S] = { 22, 256, 82, iq2_s },
    [DTYPE_IQ4_XS] = { 23, 256, 136, iq4_xs },
    [DTYPE_IQ1_M] = { 29, 256, 56, iq1_m },
    [DTYPE_TQ2_0] = { 35, 256, 66, tq2_0 },
    [DTYPE_GGML_MXFP4] = { 39, 32, 17, mxfp4 },
    [DTYPE_GGML_NVFP4] = { 40, 64, 36, nvfp4 },
    [DTYPE_Q1_0] = { 41, 128, 18, q1_0 },
    [DTYPE_Q2_0] = { 42, 64, 18, q2_0 },
};

const struct ggml_block_type *ggml_block_type(enum dtype dtype)
{
    return types[dtype].value ? &types[dtype] : NULL;
}

float ggml_block_value(enum dtype dtype, const uint8_t *data, size_t at)
{
    const struct ggml_block_type *t = ggml_block_type(dtype);
    assert(t && "a weight's dtype is checked when it is bound");
    return t->value(data + at / t->columns * t->bytes, at % t->columns);
}

static bool is_finite(uint32_t half)
{
    return (half & 0x7C00) != 0x7C00;
}

const char *ggml_block_fault(enum dtype dtype, const uint8_t *b)
{
    bool ok = true;
    switch (dtype) {
    case DTYPE_GGML_MXFP4:
        return b[0] == 255 ? "scale byte 255, which is NaN" : NULL;
    case DTYPE_GGML_NVFP4:
        return (b[0] | b[1] | b[2] | b[3]) & 0x80 ? "a scale with a sign, which has none" : NULL;
    case DTYPE_Q4_1: case DTYPE_Q5_1: case DTYPE_Q4_K: case DTYPE_Q5_K:
        ok = is_finite(u16_at(b)) && is_finite(u16_at(b + 2));
        break;
    case DTYPE_Q2_K:
        ok = is_finite(u16_at(b + 80)) && is_finite(u16_at(b + 82));
        break;
    case DTYPE_Q3_K:  ok = is_finite(u16_at(b + 108)); break;
    case DTYPE_Q6_K:  ok = is_finite(u16_at(b + 208)); break;
    case DTYPE_TQ2_0: ok = is_finite(u16_at(b + 64)); break;
    case DTYPE_IQ1_M: ok = isfinite(scale_iq1_m(b)); break;
    default:          ok = is_finite(u16_at(b)); break;
    }
    return ok ? NULL : "a scale that is NaN or infinite";
}
