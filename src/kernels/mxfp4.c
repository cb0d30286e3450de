#include "kernels/mxfp4.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define N MXFP4_BLOCK

static const float magnitudes[8] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6 };
static const float boundary[7] = { 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f };

struct mxfp4_rule mxfp4_rule(enum mxfp4_scale scale, double percentile)
{
    /* torch.quantile: the rank is a float32 product. */
    float rank = (float)(percentile / 100) * (float)(N - 1), low = floorf(rank);
    return (struct mxfp4_rule){ scale, { (size_t)low, rank - low } };
}

/* ---- codes -------------------------------------------------------------------- */

/* 0 .. 7: the nearest magnitude to |x|, ties toward zero, or to the even code. */
static unsigned nearest(float x, bool ties_to_even)
{
    unsigned code = 0;
    for (unsigned i = 0; i < 7; i++)
        code += (x > boundary[i]) | (ties_to_even & (i % 2) & (x == boundary[i]));
    return code;
}

/* 2^-k, normal for every k here: a product with it is the quotient by 2^k, rounded alike. */
static float inverse_of(int k)
{
    return ldexpf(1, -k);
}

static void encode(uint8_t *packed, const float *w, int k, bool ties_to_even)
{
    uint8_t code[N];
    float inverse = inverse_of(k);
    for (size_t i = 0; i < N; i++) {
        float scaled = w[i] * inverse;
        code[i] = (uint8_t)(nearest(fabsf(scaled), ties_to_even) | (scaled < 0 ? 8u : 0));
    }
    for (size_t i = 0; i < N / 2; i++)
        packed[i] = (uint8_t)(code[2 * i] | code[2 * i + 1] << 4);
}

/* ---- errors ------------------------------------------------------------------- */

/* torch's mean of 32 contiguous float32 (ATen/native/cpu/SumKernel.cpp, vectors of eight): numbers
 * eight apart are added first, in order, then the eight sums, in order. */
static float torch_mean(const float *x)
{
    enum { TORCH_LANES = 8 };
    float total = 0;
    for (size_t lane = 0; lane < TORCH_LANES; lane++) {
        float sum = x[lane];
        for (size_t i = lane + TORCH_LANES; i < N; i += TORCH_LANES)
            sum += x[i];
        total += sum;
    }
    return total / (float)N;
}

/* d H d^T, sums in order. */
static float quadratic(const float *d, const float *hessian)
{
    float total = 0;
    for (size_t j = 0; j < N; j++) {
        float sum = 0;
        for (size_t i = 0; i < N; i++)
            sum += d[i] * hessian[i * N + j];
        total += sum * d[j];
    }
    return total;
}

static float qstream_error(const float *w, int k, const float *channels, const float *hessian)
{
    float d[N], scale = ldexpf(1, k), inverse = inverse_of(k);
    for (size_t i = 0; i < N; i++) {
        float q = magnitudes[nearest(fabsf(w[i] * inverse), false)];
        d[i] = copysignf(q, w[i]) * scale - w[i];
    }
    if (hessian)
        return quadratic(d, hessian);
    for (size_t i = 0; i < N; i++)
        d[i] = d[i] * d[i] * (channels ? channels[i] : 1);
    return torch_mean(d);
}

static double exact_error(const float *w, int k, const float *channels, const float *hessian)
{
    double d[N], scale = ldexp(1, k), total = 0;
    float inverse = inverse_of(k);
    for (size_t i = 0; i < N; i++) {
        float q = magnitudes[nearest(fabsf(w[i] * inverse), false)];
        d[i] = (double)copysignf(q, w[i]) * scale - (double)w[i];
        if (!hessian)
            total += d[i] * d[i] * (channels ? (double)channels[i] : 1);
    }
    for (size_t j = 0; hessian && j < N; j++)
        for (size_t i = 0; i < N; i++)
            total += d[i] * (double)hessian[i * N + j] * d[j];
    return total;
}

/* ---- the three rules ----------------------------------------------------------- */

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* torch.quantile(|w|, percentile), "linear"; also gives the maximum. */
static float percentile(float *maximum, const float *w, const struct mxfp4_percentile *p)
{
    float sorted[N];
    for (size_t i = 0; i < N; i++)
        sorted[i] = fabsf(w[i]);
    qsort(sorted, N, sizeof *sorted, compare_floats);
    *maximum = sorted[N - 1];
    float a = sorted[p->low], b = sorted[size_min(p->low + 1, N - 1)];
    return p->fraction < 0.5f ? a + p->fraction * (b - a) : b - (b - a) * (1 - p->fraction);
}

/* The float32 logarithm, rounded to nearest. */
static float log2_rounded(float x)
{
    return (float)log2((double)x);
}

/* w: [32], set to zeros when the rule says so. */
static int qstream_exponent(float *w, bool *undecided, const struct mxfp4_percentile *p,
                            const float *channels, const float *hessian)
{
    float maximum, anchor = percentile(&maximum, w, p), error[3];
    if (anchor < 1e-6f) {
        memset(w, 0, N * sizeof *w);
        anchor = 1e-6f;
        maximum = 0;
    }
    int base = (int)floorf(log2_rounded(anchor / 6)) - 1, best = 0;
    for (int c = 0; c < 3; c++) {
        error[c] = qstream_error(w, base + c, channels, hessian);
        if (error[c] < error[best])
            best = c;
    }
    for (int c = 0; c < 3; c++)
        *undecided |= c != best && error[best] > 0
                   && error[c] <= error[best] * (1 + MXFP4_UNDECIDED);
    int k = base + best;
    if (ldexpf(maximum, -k) > 6) {
        int safe = (int)ceilf(log2_rounded(maximum / 6));
        k = k < safe - 1 ? safe : k;
    }
    return k;
}

/* Index of the largest |w|, and the smallest |w| above zero; false when there is none. */
static bool extremes(size_t *largest, float *least, const float *w)
{
    *largest = 0;
    *least = INFINITY;
    for (size_t i = 0; i < N; i++) {
        float x = fabsf(w[i]);
        *largest = x > fabsf(w[*largest]) ? i : *largest;
        *least = x > 0 && x < *least ? x : *least;
    }
    return *least < INFINITY;
}

#define EXACT_MOST 125      /* 6 * 2^k is finite */
#define LEAST (-127)

/* What a number alone loses by saturation; smaller k only make it more. */
static double saturation(float w, int k)
{
    double over = fabs((double)w) - ldexp(6, k);
    return over > 0 ? over * over : 0;
}

/* From the exponent above which all becomes zero down to the one below which all saturates; beyond
 * either the error only grows.  (With a matrix it need not, but nothing of the block is left.) */
static int exact_exponent(const float *w, const float *channels, const float *hessian)
{
    size_t largest;
    float least;
    if (!extremes(&largest, &least, w))
        return LEAST;
    int top = ilogbf(w[largest]) + 2, bottom = ilogbf(least) - 3;
    top = top > EXACT_MOST ? EXACT_MOST : top < LEAST ? LEAST : top;
    bottom = bottom < LEAST ? LEAST : bottom;
    int best = top;
    double best_error = exact_error(w, top, channels, hessian);
    double factor = hessian ? 0 : channels ? (double)channels[largest] : 1;
    for (int k = top - 1; k >= bottom && factor * saturation(w[largest], k) <= best_error; k--) {
        double error = exact_error(w, k, channels, hessian);
        if (error < best_error) {
            best_error = error;
            best = k;
        }
    }
    return best;
}

static int ocp_exponent(const float *w)
{
    size_t largest;
    float least;
    int k = extremes(&largest, &least, w) ? ilogbf(w[largest]) - 2 : LEAST;
    return k < LEAST ? LEAST : k;
}

bool mxfp4_quantize_block(uint8_t packed[16], uint8_t *scale, const float w[32],
                          const struct mxfp4_rule *rule, const float *channels,
                          const float *hessian)
{
    float block[N];
    bool undecided = false;
    int k;
    memcpy(block, w, sizeof block);
    if (rule->scale == MXFP4_QSTREAM)
        k = qstream_exponent(block, &undecided, &rule->anchor, channels, hessian);
    else
        k = rule->scale == MXFP4_EXACT ? exact_exponent(block, channels, hessian)
                                                 : ocp_exponent(block);
    encode(packed, block, k, rule->scale == MXFP4_OCP);
    *scale = (uint8_t)(k + 127);
    return undecided;
}

size_t mxfp4_quantize(uint8_t *packed, uint8_t *scale, const float *w, size_t n, size_t first,
                      size_t period, const struct mxfp4_rule *rule,
                      const struct mxfp4_importance *importance, const struct kernels *kn)
{
    if (kn->mxfp4_blocks && rule->scale == MXFP4_QSTREAM && !importance->hessian) {
        struct mxfp4_blocks b = {
            .w = w, .n = n, .importance = importance->channels, .first = first, .period = period,
            .anchor = rule->anchor, .packed = packed, .scale = scale,
        };
        kn->mxfp4_blocks(&b);
        return b.undecided;
    }
    size_t undecided = 0;
    for (size_t i = 0; i < n; i++) {
        size_t column = (first + i) % period;
        undecided += mxfp4_quantize_block(
            packed + i * N / 2, scale + i, w + i * N, rule,
            importance->channels ? importance->channels + column * N : NULL,
            importance->hessian ? importance->hessian + column * N * N : NULL);
    }
    return undecided;
}
