/* neon.c - NEON (Advanced SIMD, part of every 64-bit ARM): 24 sums of 4 lanes in registers, four
 * loads of B and six values of A for 24 fused multiply-adds. */
#include <arm_neon.h>

#include "kernels/delta_rule.h"
#include "kernels/dots.h"
#include "kernels/gemm.h"
#include "kernels/rows.h"

enum { LANES = 4, VECTORS = 4, MR = 6, NR = VECTORS * LANES };

static void micro_kernel(float *out, size_t ldo, const float *in, size_t ldi, const void *a,
                         const void *b, size_t words, size_t m)
{
    const float *x = a, *y = b;
    float32x4_t sum[MR][VECTORS];
#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++)
#pragma GCC unroll 4
        for (size_t j = 0; j < VECTORS; j++)
            sum[i][j] = vdupq_n_f32(0);
    for (size_t p = 0; p < words; p++, x += MR, y += NR) {
        float32x4_t row[VECTORS];
#pragma GCC unroll 4
        for (int j = 0; j < VECTORS; j++)
            row[j] = vld1q_f32(y + j * LANES);
        float32x4_t x0 = vld1q_f32(x);
        float32x2_t x4 = vld1_f32(x + LANES);
#pragma GCC unroll 6
        for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
            for (int j = 0; j < VECTORS; j++)
                sum[i][j] = vfmaq_n_f32(sum[i][j], row[j], i < LANES ? x0[i] : x4[i - LANES]);
    }
#pragma GCC unroll 6
    for (size_t i = 0; i < MR; i++)
#pragma GCC unroll 4
        for (size_t j = 0; j < VECTORS; j++) {
            if (in && i < m)
                sum[i][j] = vaddq_f32(vld1q_f32(in + i * ldi + j * LANES), sum[i][j]);
            if (i < m)
                vst1q_f32(out + i * ldo + j * LANES, sum[i][j]);
        }
}

/* 4 x 4 values: pairs of rows are interleaved, then halves put together. */
static void transpose_block(float *panel, size_t width, const float *x, size_t step)
{
    float32x4x2_t t0 = vtrnq_f32(vld1q_f32(x), vld1q_f32(x + step));
    float32x4x2_t t1 = vtrnq_f32(vld1q_f32(x + 2 * step), vld1q_f32(x + 3 * step));
#pragma GCC unroll 2
    for (size_t c = 0; c < 2; c++) {
        float32x4_t low = vcombine_f32(vget_low_f32(t0.val[c]), vget_low_f32(t1.val[c]));
        float32x4_t high = vcombine_f32(vget_high_f32(t0.val[c]), vget_high_f32(t1.val[c]));
        vst1q_f32(panel + c * width, low);
        vst1q_f32(panel + (2 + c) * width, high);
    }
}

/* Whole blocks of 4 x 4 by registers, what is left by the plain loop. */
static void transpose(void *panel, size_t width, const void *x, size_t step, size_t count,
                      size_t words, bool shared)
{
    if (width % LANES != 0 || count < width) {
        gemm_transpose(panel, width, x, step, count, words, shared);
        return;
    }
    float *out = panel;
    const float *in = x;
    size_t whole = words / LANES * LANES;
    for (size_t line = 0; line < width; line += LANES)
        for (size_t p = 0; p < whole; p += LANES)
            transpose_block(out + p * width + line, width, in + line * step + p, step);
    gemm_transpose(out + whole * width, width, in + whole, step, count, words - whole, shared);
}

static size_t peak(size_t steps)
{
    enum { SUMS = VECTORS * MR };
    float32x4_t x = vdupq_n_f32(1 / (float)steps), sum[SUMS];
    for (int i = 0; i < SUMS; i++)
        sum[i] = vdupq_n_f32((float)i);             /* equal sums would be computed once */
    for (size_t s = 0; s < steps; s++)
#pragma GCC unroll 28
        for (int i = 0; i < SUMS; i++)
            sum[i] = vfmaq_f32(sum[i], x, x);
#pragma GCC unroll 28
    for (int i = 1; i < SUMS; i++)
        sum[0] = vaddq_f32(sum[0], sum[i]);
    return vgetq_lane_f32(sum[0], 0) > 0 ? steps * SUMS * LANES * 2 : 0;
}

static const struct gemm_tile tile = { MR, NR, 1, 256, micro_kernel, NULL, transpose, peak };

const struct kernels kernels_neon = {
    .isa = "neon",
    .gemm = { GEMM_F32(&tile, &row_kernels_baseline), GEMM_BF16(&tile, &row_kernels_baseline) },
    DOTS_OF(&dots_tile_neon, &row_kernels_baseline),
    ROWS_OF(baseline),
    .delta_rule = delta_rule_chunked,
    .mxfp4_blocks = mxfp4_blocks_baseline,
};
