/* neon_dots.c - NEON: 24 sums of 4 lanes in registers. */
#include <arm_neon.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VEC = 4, TILE_WEIGHTS = 2, TILE_ROWS = 3, STORED_ROWS = 3 };
typedef float32x4_t vec;

static inline vec vec_load(const float *x)
{
    return vld1q_f32(x);
}

static inline void vec_store(float *to, vec x)
{
    vst1q_f32(to, x);
}

static inline vec vec_add_product(vec sum, vec w, vec x)
{
    return vfmaq_f32(sum, w, x);
}

static inline void vec_keep(vec *x)
{
    (void)x;
}

static inline uint32x4_t words_at(const uint8_t *at)
{
    return vreinterpretq_u32_u8(vld1q_u8(at));
}

static inline vec vec_high(const uint8_t *at)
{
    return vreinterpretq_f32_u32(vandq_u32(words_at(at), vdupq_n_u32(0xFFFF0000)));
}

static inline vec vec_low(const uint8_t *at)
{
    return vreinterpretq_f32_u32(vshlq_n_u32(words_at(at), 16));
}

#include "kernels/dots_tile.h"

/* 2^(e - 127); 255 is NaN. */
static inline float scale_of(uint8_t e)
{
    uint32_t bits = e == 255 ? 0x7FC00000 : e ? (uint32_t)e << 23 : 0x00400000;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The upper and lower bytes of E2M1 values in BF16, by code. */
static const uint8_t upper_bytes[16] = { 0, 0x3F, 0x3F, 0x3F, 0x40, 0x40, 0x40, 0x40, 0x80, 0xBF,
                                         0xBF, 0xBF, 0xC0, 0xC0, 0xC0, 0xC0 };
static const uint8_t lower_bytes[16] = { 0, 0, 0x80, 0xC0, 0, 0x40, 0x80, 0xC0, 0, 0, 0x80, 0xC0,
                                         0, 0x40, 0x80, 0xC0 };

/* Sixteen codes, one a byte, times the scale. */
static inline void store_values(float *to, uint8x16_t codes, float scale)
{
    uint8x16_t upper = vqtbl1q_u8(vld1q_u8(upper_bytes), codes);
    uint8x16_t lower = vqtbl1q_u8(vld1q_u8(lower_bytes), codes);
    uint16x8_t half[2] = { vreinterpretq_u16_u8(vzip1q_u8(lower, upper)),
                           vreinterpretq_u16_u8(vzip2q_u8(lower, upper)) };
#pragma GCC unroll 2
    for (size_t i = 0; i < 2; i++) {
        uint32x4_t first = vshll_n_u16(vget_low_u16(half[i]), 16);
        uint32x4_t second = vshll_n_u16(vget_high_u16(half[i]), 16);
        vst1q_f32(to + 8 * i, vmulq_n_f32(vreinterpretq_f32_u32(first), scale));
        vst1q_f32(to + 8 * i + 4, vmulq_n_f32(vreinterpretq_f32_u32(second), scale));
    }
}

static void mxfp4(void *to, const uint8_t *codes, const uint8_t *scale, size_t blocks)
{
    float *out = to;
    for (size_t i = 0; i < blocks; i++, out += DOTS_BLOCK) {
        uint8x16_t bytes = vld1q_u8(codes + 16 * i);
        store_values(out, vshrq_n_u8(bytes, 4), scale_of(scale[i]));
        store_values(out + DOTS_LANES, vandq_u8(bytes, vdupq_n_u8(15)), scale_of(scale[i]));
    }
}

const struct dots_tile dots_tile_neon = { false, DOTS_ROWS, multiply, arrange, widen, mxfp4 };
