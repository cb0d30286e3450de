/* scalar_rows.c - the definition of the row kernels: plain loops, sums in the order of the source,
 * libm's exponential.  Compiled twice, as rows.c is. */
#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "kernels/ggml_blocks.h"
#include "kernels/integers.h"
#include "kernels/rows.h"
#include "kernels/small_floats.h"

/* ---- weights and BF16 ------------------------------------------------------- */

/* E2M3 and E3M2 (OCP Microscaling 1.0): the sign is bit 5; all codes are numbers. */
static float six_bits(unsigned code, int fraction_bits, int bias)
{
    int one = 1 << fraction_bits, exponent = (int)(code & 31) >> fraction_bits;
    int fraction = (int)code & (one - 1);
    float x = exponent ? ldexpf((float)(fraction + one), exponent - bias - fraction_bits)
                       : ldexpf((float)fraction, 1 - bias - fraction_bits);
    return code & 32 ? -x : x;
}

static void expand_in_order(float *out, const struct matrix *w, size_t row, size_t first, size_t n)
{
    size_t at = row * w->cols + first;
    for (size_t i = 0; i < n; i++, at++) {
        uint16_t half = 0;
        if (w->dtype == DTYPE_BF16 || w->dtype == DTYPE_F16)
            memcpy(&half, w->data + 2 * at, sizeof half);
        switch (w->dtype) {
        case DTYPE_F32:  memcpy(out + i, w->data + 4 * at, sizeof *out); break;
        case DTYPE_BF16: out[i] = bf16_value(half); break;
        case DTYPE_F16:  out[i] = f16_value(half); break;
        case DTYPE_MXFP4:
            out[i] = e2m1_value((unsigned)w->data[at / 2] >> 4 * (at % 2))
                   * e8m0_value(w->scale[at / MXFP4_BLOCK]);
            break;
        case DTYPE_FP8:
        case DTYPE_MXFP8:
            out[i] = e4m3_value(w->data[at]) * stored_scale(w, row, first + i);
            break;
        case DTYPE_MXFP6_E2M3:
            out[i] = six_bits(stored_code6(w, at), 3, 1) * stored_scale(w, row, first + i);
            break;
        case DTYPE_MXFP6_E3M2:
            out[i] = six_bits(stored_code6(w, at), 2, 3) * stored_scale(w, row, first + i);
            break;
        case DTYPE_NVFP4:
            out[i] = e2m1_value((unsigned)w->data[at / 2] >> 4 * (at % 2))
                   * stored_scale(w, row, first + i);
            break;
        case DTYPE_INT2:
        case DTYPE_INT4:
        case DTYPE_INT8:
        case DTYPE_GPTQ2:
        case DTYPE_GPTQ4:
        case DTYPE_GPTQ8:
        case DTYPE_AWQ4:
            out[i] = (float)(integers_code(w, row, first + i) - integers_zero(w, row, first + i))
                   * stored_scale(w, row, first + i);
            break;
        case DTYPE_MLX2:
        case DTYPE_MLX3:
        case DTYPE_MLX4:
        case DTYPE_MLX5:
        case DTYPE_MLX6:
        case DTYPE_MLX8:
            out[i] = (float)integers_code(w, row, first + i) * stored_scale(w, row, first + i)
                   + stored_bias(w, row, first + i);
            break;
        default: out[i] = ggml_block_value(w->dtype, w->data, at); break;
        }
    }
}

static void expand(float *out, const struct matrix *w, size_t row, size_t first, size_t n)
{
    if (w->row_order || w->col_order)
        stored_expand_ordered(expand_in_order, out, w, row, first, n);
    else
        expand_in_order(out, w, row, first, n);
}

static void add_weighted(float *out, size_t ldo, const float *p, size_t ldp, size_t n,
                         const struct matrix *w, size_t first, size_t count)
{
    for (size_t j = 0; j < count; j++)
        for (size_t c = 0; c < w->cols; c += MXFP4_BLOCK) {
            float value[MXFP4_BLOCK];
            size_t columns = w->cols - c < MXFP4_BLOCK ? w->cols - c : MXFP4_BLOCK;
            expand(value, w, first + j, c, columns);
            for (size_t t = 0; t < n; t++)
                for (size_t i = 0; i < columns; i++) {
                    float product = p[t * ldp + j] * value[i];
                    out[t * ldo + c + i] += product;
                }
        }
}

static void round_bf16(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = bf16_value(bf16_of(x[i]));
}

static void round_row(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ROUNDED(x[i]);
}

static void to_bf16(uint16_t *out, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_of(x[i]);
}

/* ---- rows -------------------------------------------------------------------- */

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
        out[i] = ROUNDED(x[i] * scale * weight[i]);
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

static void gated_rms_norm(float *x, const float *gate, const float *weight, size_t n, double eps)
{
    round_row(x, n);
    float scale = (float)(1 / sqrt(sum_of_squares(x, n) / (double)n + eps));
    for (size_t i = 0; i < n; i++) {
        float y = ROUNDED(ROUNDED(x[i] * scale) * weight[i]);
        x[i] = ROUNDED(y * (gate[i] * sigmoid(gate[i])));
    }
}

static void scale_row(float *x, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

static void mul_silu(float *x, const float *gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ROUNDED(x[i] * ROUNDED(gate[i] * sigmoid(gate[i])));
}

static void mul_sigmoid(float *x, const float *gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ROUNDED(x[i] * ROUNDED(sigmoid(gate[i])));
}

static void add(float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ROUNDED(x[i] + y[i]);
}

static void add_scaled(float *x, const float *y, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += ROUNDED(scale * y[i]);
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
        float e = expf(x[i] - shift);
        sum += (double)e;
        x[i] = ROUNDED(e);
    }
    return sum;
}

static void add_exp_sums(struct exp_sums *s, const float *a, const float *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double ea = exp((double)a[i] - (double)s->max[0]),
               eb = exp((double)b[i] - (double)s->max[1]);
        double difference = (double)a[i] - (double)b[i];
        s->sum[0] += ea;
        s->sum[1] += eb;
        s->difference[0] += ea * difference;
        s->difference[1] -= eb * difference;
    }
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
        sum = ROUNDED(sum);
        out[c] = ROUNDED(sum * sigmoid(sum));
    }
}

const struct row_kernels ROW_KERNELS = {
    .expand = expand,
    .add_weighted = add_weighted,
    .round_bf16 = round_bf16,
    .to_bf16 = to_bf16,
    .round = round_row,
    .rms_norm = rms_norm,
    .l2_norm = l2_norm,
    .gated_rms_norm = gated_rms_norm,
    .scale = scale_row,
    .mul_silu = mul_silu,
    .mul_sigmoid = mul_sigmoid,
    .add = add,
    .add_scaled = add_scaled,
    .max = max,
    .exp_sum = exp_sum,
    .add_exp_sums = add_exp_sums,
    .all_finite = all_finite,
    .conv_silu = conv_silu,
};
