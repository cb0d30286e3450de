/* scalar.c - the definition of every kernel: plain loops, sums in the order of the source,
 * libm's exponential.  Slow on purpose and kept for good. */
#include <math.h>

#include "kernels/delta_rule.h"
#include "kernels/expand.h"
#include "kernels/gemm.h"

enum { TILE_ROWS = 4, TILE_COLS = 8 };

static void tile(float *c, size_t ldc, const float *a, const float *b, size_t k, size_t m,
                 size_t n, bool accumulate)
{
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++)
            for (size_t p0 = 0; p0 < k; p0 += GEMM_CHAIN) {
                float chain = 0, *sum = &c[i * ldc + j];
                for (size_t p = p0; p < k && p < p0 + GEMM_CHAIN; p++)
                    chain = fmaf(a[p * TILE_ROWS + i], b[p * TILE_COLS + j], chain);
                *sum = accumulate || p0 > 0 ? *sum + chain : chain;
            }
}

static double sum_of_squares(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static void rms_norm(float *out, const float *x, const float *weight, size_t n, double eps)
{
    float scale = (float)(1 / sqrt(sum_of_squares(x, n) / (double)n + eps));
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * scale * weight[i];
}

static void l2_norm(float *x, size_t n, double scale)
{
    float factor = (float)(scale / sqrt(sum_of_squares(x, n) + 1e-6));
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

static float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

static void silu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= sigmoid(x[i]);
}

static void mul_silu(float *x, const float *gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= gate[i] * sigmoid(gate[i]);
}

static void mul_sigmoid(float *x, const float *gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= sigmoid(gate[i]);
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += y[i];
}

static void add_scaled(float *x, const float *y, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += scale * y[i];
}

static float max(const float *x, size_t n)
{
    float m = x[0];
    for (size_t i = 1; i < n; i++)
        m = x[i] > m ? x[i] : m;
    return m;
}

static double exp_sum(float *x, float shift, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - shift);
        sum += (double)x[i];
    }
    return sum;
}

static bool all_finite(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

static void conv_silu(float *out, const float *const *rows, const float *weight, size_t width,
                      size_t channels)
{
    for (size_t c = 0; c < channels; c++) {
        float sum = 0;
        for (size_t j = 0; j < width; j++)
            if (rows[j])
                sum += weight[j * channels + c] * rows[j][c];
        out[c] = sum * sigmoid(sum);
    }
}

static const struct row_kernels rows = {
    .rms_norm = rms_norm,
    .l2_norm = l2_norm,
    .silu = silu,
    .mul_silu = mul_silu,
    .mul_sigmoid = mul_sigmoid,
    .add = add,
    .add_scaled = add_scaled,
    .max = max,
    .exp_sum = exp_sum,
    .all_finite = all_finite,
    .conv_silu = conv_silu,
};

const struct kernels kernels_scalar = {
    .isa = "scalar",
    .tile = &(const struct gemm_tile){ TILE_ROWS, TILE_COLS, tile, gemm_transpose },
    .packed_floats = gemm_packed_floats,
    .scratch_floats = gemm_scratch_floats,
    .pack = gemm_pack,
    .multiply = gemm_multiply,
    .expand_row = expand_row,
    .rows = &rows,
    .delta_rule = delta_rule_sequential,
};
