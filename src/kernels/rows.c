/* rows.c - row kernels as loops that the compiler vectorises without changing a result:
 * independent lanes for sums, a polynomial for the exponential, no contraction.
 *
 * The Makefile compiles this file twice for each instruction set, with its flags and with
 * ROW_KERNELS as the name of the table at the end; the second time with ROUND_BF16.  Since the
 * order of every operation is written out, all of them give the same bits. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "kernels/expand_integers.h"
#include "kernels/ggml_decode.h"
#include "kernels/rows.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

/* ---- weights and BF16 -------------------------------------------------------- */

static inline float float_of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void expand_bf16(float *restrict out, const uint8_t *restrict data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, data + 2 * i, sizeof half);
        out[i] = bf16_value(half);
    }
}

/* IEEE binary16.  Scaling by 2^112 moves the exponent's bias from 15 to 127 and is exact for
 * subnormals too; exponent 31 (infinity, NaN) is put right by hand. */
static void expand_f16(float *restrict out, const uint8_t *restrict data, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint16_t half;
        memcpy(&half, data + 2 * i, sizeof half);
        uint32_t magnitude = (uint32_t)(half & 0x7FFF) << 13;
        uint32_t sign = (uint32_t)(half & 0x8000) << 16;
        float x = float_of_bits(magnitude) * 0x1p112f;
        if ((half & 0x7C00) == 0x7C00)
            x = float_of_bits(magnitude | 0x7F800000);
        out[i] = sign ? -x : x;
    }
}

/* Eight E2M1 codes, the first in the lowest bits, times scale. */
static inline void expand_codes(float *out, uint32_t codes, float scale)
{
#ifdef __AVX2__
    /* The compiler finds no table lookup by itself; this one looks at the lowest three bits. */
    const __m256 magnitude = _mm256_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6);
    const __m256i shift = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    __m256i code = _mm256_srlv_epi32(_mm256_set1_epi32((int)codes), shift);
    __m256 sign = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_srli_epi32(code, 3), 31));
    __m256 x = _mm256_mul_ps(_mm256_permutevar8x32_ps(magnitude, code), _mm256_set1_ps(scale));
    _mm256_storeu_ps(out, _mm256_xor_ps(x, sign));
#else
    static const float magnitude[8] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6 };
    for (size_t i = 0; i < 8; i++, codes >>= 4)
        out[i] = (codes & 8 ? -magnitude[codes & 7] : magnitude[codes & 7]) * scale;
#endif
}

static void expand_mxfp4(float *restrict out, const uint8_t *restrict packed,
                         const uint8_t *restrict scale, size_t n)
{
    for (size_t block = 0; block < n / MXFP4_BLOCK; block++) {
        uint8_t e = scale[block];
        float factor = e == 255 ? NAN : e ? float_of_bits((uint32_t)e << 23) : 0x1p-127f;
        for (size_t i = 0; i < MXFP4_BLOCK; i += 8) {
            uint32_t codes;
            memcpy(&codes, packed + (block * MXFP4_BLOCK + i) / 2, sizeof codes);
            expand_codes(out + block * MXFP4_BLOCK + i, codes, factor);
        }
    }
}

/* Codes that share a scale.  Scaling by 2^120 moves the exponent's bias from 7 to 127 and is exact
 * for subnormals too; 0x7F, NaN, is put right by hand. */
static void expand_e4m3(float *restrict out, const uint8_t *restrict codes, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t magnitude = codes[i] & 0x7Fu, sign = (uint32_t)(codes[i] & 0x80) << 24, bits;
        float x = float_of_bits(magnitude << 20) * 0x1p120f * scale;
        memcpy(&bits, &x, sizeof bits);
        out[i] = float_of_bits(magnitude == 0x7F ? 0x7FC00000 : bits ^ sign);
    }
}

static void expand_fp8(float *out, const struct matrix *w, size_t row, size_t first, size_t n)
{
    const uint8_t *codes = w->data + row * w->cols;
    for (size_t at = first, end; at < first + n; at = end) {
        end = (at / w->block_cols + 1) * w->block_cols;
        end = end < first + n ? end : first + n;
        expand_e4m3(out + (at - first), codes + at, stored_scale(w, row, at), end - at);
    }
}

/* E2M1 codes, 16 of them with a scale, whose own values come first. */
static void expand_nvfp4(float *out, const struct matrix *w, size_t row, size_t first, size_t n)
{
    enum { BLOCKS = 32 };
    const uint8_t *codes = w->data + row * (w->cols / 2) + first / 2;
    const uint8_t *scales = w->scale + row * (w->cols / NVFP4_BLOCK) + first / NVFP4_BLOCK;
    float scale[BLOCKS], factor = 1;
    if (w->factor)
        memcpy(&factor, w->factor, sizeof factor);
    for (size_t left = n / NVFP4_BLOCK, now; left > 0; left -= now, scales += now) {
        now = left < BLOCKS ? left : BLOCKS;
        expand_e4m3(scale, scales, 1, now);
        for (size_t b = 0; b < now; b++)
            scale[b] = w->factor_divides ? scale[b] / factor : scale[b] * factor;
        for (size_t i = 0; i < 2 * now; i++, codes += 4, out += 8) {
            uint32_t eight;
            memcpy(&eight, codes, sizeof eight);
            expand_codes(out, eight, scale[i / 2]);
        }
    }
}

/* Six-bit codes, four in three bytes, 32 with a scale.  As of E4M3, the bias becomes 127. */
static void expand_mxfp6(float *out, const struct matrix *w, size_t row, size_t first, size_t n)
{
    const unsigned shift = w->dtype == DTYPE_MXFP6_E2M3 ? 20 : 21;
    const float bias = w->dtype == DTYPE_MXFP6_E2M3 ? 0x1p126f : 0x1p124f;
    const uint8_t *four = w->data + (row * w->cols + first) / 4 * 3;
    for (size_t at = first; at < first + n; at += MXFP4_BLOCK) {
        float scale = stored_scale(w, row, at);
        for (size_t i = 0; i < MXFP4_BLOCK; i += 4, four += 3, out += 4) {
            uint32_t word = four[0] | (uint32_t)four[1] << 8 | (uint32_t)four[2] << 16;
            for (unsigned j = 0; j < 4; j++, word >>= 6) {
                float x = float_of_bits((word & 31) << shift) * bias * scale;
                out[j] = word & 32 ? -x : x;
            }
        }
    }
}

static void expand_in_order(float *out, const struct matrix *w, size_t row, size_t first, size_t n)
{
    size_t at = row * w->cols + first;
    switch (w->dtype) {
    case DTYPE_F32:
        memcpy(out, w->data + at * 4, n * sizeof *out);
        break;
    case DTYPE_F16:
        expand_f16(out, w->data + at * 2, n);
        break;
    case DTYPE_BF16:
        expand_bf16(out, w->data + at * 2, n);
        break;
    case DTYPE_MXFP4:
        expand_mxfp4(out, w->data + at / 2, w->scale + at / MXFP4_BLOCK, n);
        break;
    case DTYPE_FP8:
    case DTYPE_MXFP8:
        expand_fp8(out, w, row, first, n);
        break;
    case DTYPE_MXFP6_E2M3:
    case DTYPE_MXFP6_E3M2:
        expand_mxfp6(out, w, row, first, n);
        break;
    case DTYPE_NVFP4:
        expand_nvfp4(out, w, row, first, n);
        break;
    case DTYPE_INT2:
    case DTYPE_INT4:
    case DTYPE_INT8:
    case DTYPE_GPTQ2:
    case DTYPE_GPTQ4:
    case DTYPE_GPTQ8:
    case DTYPE_AWQ4:
    case DTYPE_MLX2:
    case DTYPE_MLX3:
    case DTYPE_MLX4:
    case DTYPE_MLX5:
    case DTYPE_MLX6:
    case DTYPE_MLX8:
        expand_integers(out, w, row, first, n);
        break;
    default:
        ggml_decode(out, w, at, n);
    }
}

static void expand(float *out, const struct matrix *w, size_t row, size_t first, size_t n)
{
    if (w->row_order || w->col_order)
        stored_expand_ordered(expand_in_order, out, w, row, first, n);
    else
        expand_in_order(out, w, row, first, n);
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

static void to_bf16(uint16_t *restrict out, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_of(x[i]);
}

/* ---- weighted sums of rows ------------------------------------------------------ */

/* Rows and columns of w that are decoded at a time; they stay in the first-level cache. */
#define WEIGHTED_ROWS ((size_t)32)
/* Columns whose sums are in registers. */
#define WEIGHTED_LANES ((size_t)64)
#define WEIGHTED_COLUMNS (2 * WEIGHTED_LANES)

/* GCC multiplies wider vectors by a scalar through memory where the set has no such registers. */
typedef float eight __attribute__((vector_size(32), aligned(4)));
#define EIGHT ((size_t)8)

/* out [WEIGHTED_LANES] += p [count] times value [count, WEIGHTED_COLUMNS]. */
static inline void add_weighted_lanes(float *out, const float *p, const float *value, size_t count)
{
    eight sum[WEIGHTED_LANES / EIGHT];
    memcpy(sum, out, sizeof sum);
    for (size_t j = 0; j < count; j++) {
        const eight *v = (const eight *)(value + j * WEIGHTED_COLUMNS);
#pragma GCC unroll 8
        for (size_t i = 0; i < WEIGHTED_LANES / EIGHT; i++)
            sum[i] += p[j] * v[i];
    }
    memcpy(out, sum, sizeof sum);
}

/* The same of fewer columns, at the end of a row. */
static void add_weighted_tail(float *out, const float *p, const float *value, size_t count,
                              size_t n)
{
    for (size_t j = 0; j < count; j++)
        for (size_t c = 0; c < n; c++)
            out[c] += p[j] * value[j * WEIGHTED_COLUMNS + c];
}

static void add_weighted(float *out, size_t ldo, const float *p, size_t ldp, size_t n,
                         const struct matrix *w, size_t first, size_t count)
{
    float value[WEIGHTED_ROWS * WEIGHTED_COLUMNS];
    for (size_t j = 0; j < count; j += WEIGHTED_ROWS) {
        size_t rows = count - j < WEIGHTED_ROWS ? count - j : WEIGHTED_ROWS;
        for (size_t c = 0; c < w->cols; c += WEIGHTED_COLUMNS) {
            size_t left = w->cols - c, columns = left < WEIGHTED_COLUMNS ? left : WEIGHTED_COLUMNS;
            for (size_t i = 0; i < rows; i++)
                expand(value + i * WEIGHTED_COLUMNS, w, first + j + i, c, columns);
            size_t whole = columns / WEIGHTED_LANES * WEIGHTED_LANES;
            for (size_t t = 0; t < n; t++) {
                float *row = out + t * ldo + c;
                for (size_t at = 0; at < whole; at += WEIGHTED_LANES)
                    add_weighted_lanes(row + at, p + t * ldp + j, value + at, rows);
                add_weighted_tail(row + whole, p + t * ldp + j, value + whole, rows,
                                  columns - whole);
            }
        }
    }
}

/* ---- the exponential --------------------------------------------------------- */

/* exp(x) to 1.3 ULP where the result is normal (tests/unit/kernels/test_kernels.c); 0 below -104,
 * infinity above 88.8, NaN for NaN.  x = n ln 2 + r with |r| <= ln(2) / 2; e^r by the polynomial
 * of Cephes' expf; ln 2 in two parts so that r is exact. */
static inline float exp_f32(float x)
{
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float round_to_integer = 0x1.8p23f;   /* adding it leaves no fraction bits */
    float shifted = x * 1.44269504f + round_to_integer;
    float n = shifted - round_to_integer;
    float r = x - n * 0.693359375f;
    r -= n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float y = p * (r * r) + r + 1.0f;
    /* 2^n in two factors: n from -150 to 128 does not fit one exponent. */
    int32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    int32_t whole = bits - 0x4B400000, half = whole >> 1;
    return y * float_of_bits((uint32_t)(half + 127) << 23)
             * float_of_bits((uint32_t)(whole - half + 127) << 23);
}

static inline float sigmoid(float x)
{
    return 1.0f / (1.0f + exp_f32(-x));
}

#define LANES ((size_t)16)

static double sum_of_squares(const float *x, size_t n)
{
    double lane[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lane[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    for (size_t j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

static void rms_norm(float *out, const float *x, const float *weight, size_t n, double eps)
{
    float scale = (float)(1 / sqrt(sum_of_squares(x, n) / (double)n + eps));
    for (size_t i = 0; i < n; i++)
        out[i] = ROUNDED(x[i] * scale * weight[i]);
}

static void gated_rms_norm(float *restrict x, const float *restrict gate,
                           const float *restrict weight, size_t n, double eps)
{
    round_row(x, n);
    float scale = (float)(1 / sqrt(sum_of_squares(x, n) / (double)n + eps));
    for (size_t i = 0; i < n; i++) {
        float y = ROUNDED(ROUNDED(x[i] * scale) * weight[i]);
        x[i] = ROUNDED(y * (gate[i] * sigmoid(gate[i])));
    }
}

static void l2_norm(float *x, size_t n, double scale)
{
    float factor = (float)(scale / sqrt(sum_of_squares(x, n) + 1e-6));
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

static void scale_row(float *x, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

static void mul_silu(float *restrict x, const float *restrict gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ROUNDED(x[i] * ROUNDED(gate[i] * sigmoid(gate[i])));
}

static void mul_sigmoid(float *restrict x, const float *restrict gate, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ROUNDED(x[i] * ROUNDED(sigmoid(gate[i])));
}

static void add(float *restrict x, const float *restrict y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = ROUNDED(x[i] + y[i]);
}

static void add_scaled(float *restrict x, const float *restrict y, float scale, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] += ROUNDED(scale * y[i]);
}

static float max(const float *x, size_t n)
{
    float lane[LANES], m = x[0];
    for (size_t j = 0; j < LANES; j++)
        lane[j] = x[0];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lane[j] = x[i + j] > lane[j] ? x[i + j] : lane[j];
    for (; i < n; i++)
        m = x[i] > m ? x[i] : m;
    for (size_t j = 0; j < LANES; j++)
        m = lane[j] > m ? lane[j] : m;
    return m;
}

static double exp_sum(float *x, float shift, size_t n)
{
    double lane[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            float e = exp_f32(x[i + j] - shift);
            lane[j] += (double)e;
            x[i + j] = ROUNDED(e);
        }
    for (; i < n; i++) {
        float e = exp_f32(x[i] - shift);
        sum += (double)e;
        x[i] = ROUNDED(e);
    }
    for (size_t j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

/* exp(x) for x <= 0 to 1e-14; below -708 that of -708; NaN for NaN.  As exp_f32, with Taylor's
 * polynomial. */
static inline double exp_f64(double x)
{
    x = x < -708.0 ? -708.0 : x;
    const double round_to_integer = 0x1.8p52;
    double shifted = x * 0x1.71547652b82fep0 + round_to_integer;
    double n = shifted - round_to_integer;
    double r = x - n * 0x1.62e42feep-1;
    r -= n * 0x1.a39ef35793c76p-33;
    double p = 1 / 39916800.0;
    p = p * r + 1 / 3628800.0;
    p = p * r + 1 / 362880.0;
    p = p * r + 1 / 40320.0;
    p = p * r + 1 / 5040.0;
    p = p * r + 1 / 720.0;
    p = p * r + 1 / 120.0;
    p = p * r + 1 / 24.0;
    p = p * r + 1 / 6.0;
    p = p * r + 0.5;
    double y = p * (r * r) + r + 1.0;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;                 /* what is above n's low bits falls out */
    double power;
    memcpy(&power, &bits, sizeof power);
    return y * power;
}

/* Into lane j of each of the four sums. */
static inline void add_exps(double lane[4][LANES], size_t j, double a, double b, double max_a,
                            double max_b)
{
    double exp_a = exp_f64(a - max_a), exp_b = exp_f64(b - max_b);
    lane[0][j] += exp_a;
    lane[1][j] += exp_b;
    lane[2][j] += exp_a * (a - b);
    lane[3][j] -= exp_b * (a - b);
}

static void add_exp_sums(struct exp_sums *s, const float *a, const float *b, size_t n)
{
    double lane[4][LANES] = { 0 }, max_a = (double)s->max[0], max_b = (double)s->max[1];
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            add_exps(lane, j, (double)a[i + j], (double)b[i + j], max_a, max_b);
    for (size_t j = 0; i < n; i++, j++)
        add_exps(lane, j, (double)a[i], (double)b[i], max_a, max_b);
    for (size_t j = 0; j < LANES; j++) {
        s->sum[0] += lane[0][j];
        s->sum[1] += lane[1][j];
        s->difference[0] += lane[2][j];
        s->difference[1] += lane[3][j];
    }
}

static bool all_finite(const float *x, size_t n)
{
    uint32_t found = 0;                     /* bit 0: some exponent is all ones */
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        found |= (bits & 0x7F800000) == 0x7F800000;
    }
    return !found;
}

static void conv_silu(float *out, const float *const *rows, const float *weight, size_t width,
                      size_t channels)
{
    /* Blocks keep the sums in registers or near, and make out == rows[width - 1] safe. */
    enum { BLOCK = 64 };
    for (size_t c = 0; c < channels; c += BLOCK) {
        float sum[BLOCK] = { 0 };
        size_t n = channels - c < BLOCK ? channels - c : BLOCK;
        for (size_t j = 0; j < width; j++) {
            if (!rows[j])
                continue;
            const float *w = weight + j * channels + c, *x = rows[j] + c;
            for (size_t i = 0; i < n; i++)
                sum[i] += w[i] * x[i];
        }
        for (size_t i = 0; i < n; i++)
            sum[i] = ROUNDED(sum[i]);
        for (size_t i = 0; i < n; i++)
            out[c + i] = ROUNDED(sum[i] * sigmoid(sum[i]));
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
