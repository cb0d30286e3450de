/* scalar.c - the definition of every kernel: plain loops, sums in the order of the source,
 * libm's exponential.  Slow on purpose and kept for good. */
#include <math.h>

#include "kernels/delta_rule.h"
#include "kernels/expand.h"
#include "kernels/kernels.h"

static float at(const float *x, size_t ld, bool transposed, size_t row, size_t col)
{
    return transposed ? x[col * ld + row] : x[row * ld + col];
}

static void gemm(const struct gemm *g, const struct kernels *kn)
{
    (void)kn;
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            float sum = 0;
            for (size_t l = 0; l < g->k; l++)
                sum += at(g->a, g->lda, g->form == GEMM_TN, i, l)
                     * at(g->b, g->ldb, g->form == GEMM_NT, l, j);
            float *c = &g->c[i * g->ldc + j];
            *c = g->accumulate ? *c + sum : sum;
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

const struct kernels kernels_scalar = {
    .isa = "scalar",
    .gemm = gemm,
    .expand_row = expand_row,
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
    .delta_rule = delta_rule_sequential,
};
