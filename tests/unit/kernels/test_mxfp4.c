/* The quantizer of a block: rules by hand, and the kernels of every set against the definition. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/mxfp4.h"
#include "tests/differ.h"
#include "tests/random.h"

#define N MXFP4_BLOCK

/* ---- rules by hand --------------------------------------------------------------- */

/* All other elements are zero. */
static const struct {
    const char *name;
    enum mxfp4_scale scale;
    double percentile;
    float first, second;
    int exponent;                   /* of the scale */
    unsigned low, high;             /* codes of the two */
} cases[] = {
    { "qstream: a block below 1e-6 becomes zeros, at the smallest scale it has",
      MXFP4_QSTREAM, 100, 9.9e-7f, -9.9e-7f, -24, 0, 0 },
    { "qstream: exact codes need no search", MXFP4_QSTREAM, 100, 6, -0.5f, 0, 7, 9 },
    { "qstream: a tie goes toward zero", MXFP4_QSTREAM, 100, 6, 2.5f, 0, 7, 4 },
    { "qstream: a negative number that rounds to zero keeps its sign", MXFP4_QSTREAM, 100,
      6, -0.25f, 0, 7, 8 },
    { "ocp: floor(log2(max)) - 2", MXFP4_OCP, 100, 7.9f, 1, 0, 7, 2 },
    { "ocp: the next power of two", MXFP4_OCP, 100, 8, 1, 1, 6, 1 },
    { "ocp: a tie goes to the even code, up", MXFP4_OCP, 100, 6, 3.5f, 0, 7, 6 },
    { "ocp: a tie goes to the even code, down", MXFP4_OCP, 100, 6, 2.5f, 0, 7, 4 },
    { "ocp: zeros", MXFP4_OCP, 100, 0, 0, -127, 0, 0 },
    { "ocp: subnormals", MXFP4_OCP, 100, 0x1p-149f, 0, -127, 0, 0 },
    { "ocp: the largest float", MXFP4_OCP, 100, 0x1.fffffep127f, 0, 125, 7, 0 },
    { "exact: of equal errors the larger scale", MXFP4_EXACT, 100, 4, 2, 2, 2, 1 },
    { "exact: zeros", MXFP4_EXACT, 100, 0, 0, -127, 0, 0 },
    { "exact: subnormals", MXFP4_EXACT, 100, 0x1p-126f, 0x1p-128f, -127, 4, 1 },
    { "exact: never a scale at which a code is infinite", MXFP4_EXACT, 100,
      0x1.fffffep127f, 0x1p125f, 125, 7, 2 },
};

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        float w[N] = { cases[i].first, cases[i].second };
        struct mxfp4_rule rule = mxfp4_rule(cases[i].scale, cases[i].percentile);
        uint8_t packed[N / 2], scale;
        mxfp4_quantize_block(packed, &scale, w, &rule, NULL, NULL);
        unsigned low = packed[0] & 15, high = packed[0] >> 4;
        check(scale == cases[i].exponent + 127 && low == cases[i].low && high == cases[i].high,
              cases[i].name, "scale 2^%d, codes %u %u; expected 2^%d, %u %u", scale - 127, low,
              high, cases[i].exponent, cases[i].low, cases[i].high);
    }
}

/* ---- what the exact rule promises --------------------------------------------------- */

static const float values[16] = {
    0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6,
};

static double error_at(const float *w, const float *channels, int k)
{
    double total = 0;
    for (size_t i = 0; i < N; i++) {
        double best = INFINITY;
        for (size_t c = 0; c < 16; c++) {
            double d = ldexp((double)values[c], k) - (double)w[i];
            best = d * d < best ? d * d : best;
        }
        total += best * (channels ? (double)channels[i] : 1);
    }
    return total;
}

static void test_exact(void)
{
    struct random r = { 7 };
    struct mxfp4_rule rule = mxfp4_rule(MXFP4_EXACT, 100);
    size_t worse = 0;
    for (size_t block = 0; block < 2000; block++) {
        float w[N], channels[N], *used = block % 2 ? channels : NULL;
        for (size_t i = 0; i < N; i++) {
            w[i] = random_normal(&r) * exp2f((float)(block % 60) - 30) * (i == block % 40 ? 50 : 1);
            channels[i] = exp2f(4 * random_normal(&r));
        }
        uint8_t packed[N / 2], scale;
        mxfp4_quantize_block(packed, &scale, w, &rule, used, NULL);
        double found = error_at(w, used, scale - 127);
        for (int k = -127; k <= 125; k++)
            worse += error_at(w, used, k) < found * (1 - 1e-12);
    }
    check(worse == 0, "exact: no exponent has a lower error, with channel weights and without",
          "%zu exponents", worse);
}

/* ---- weights of errors ----------------------------------------------------------------- */

static void test_hessian(void)
{
    struct random r = { 11 };
    struct mxfp4_rule rules[] = { mxfp4_rule(MXFP4_QSTREAM, 99.5),
                                  mxfp4_rule(MXFP4_EXACT, 99.5) };
    size_t different = 0;
    for (size_t block = 0; block < 500; block++) {
        float w[N], channels[N], hessian[N * N] = { 0 };
        for (size_t i = 0; i < N; i++) {
            w[i] = random_normal(&r);
            channels[i] = exp2f(2 * random_normal(&r));
            hessian[i * N + i] = channels[i];
        }
        for (size_t i = 0; i < 2; i++) {
            uint8_t a[N / 2], b[N / 2], scale_a, scale_b;
            bool near = mxfp4_quantize_block(a, &scale_a, w, &rules[i], channels, NULL);
            mxfp4_quantize_block(b, &scale_b, w, &rules[i], NULL, hessian);
            different += !near && (scale_a != scale_b || memcmp(a, b, sizeof a) != 0);
        }
    }
    check(different == 0, "a diagonal Hessian is a factor for each channel", "%zu blocks",
          different);
}

/* ---- kernels against the definition --------------------------------------------------------- */

enum shape { NORMAL, HEAVY, TINY, HUGE_RANGE, GRID, POWERS, NEAR_POWERS, SPARSE, ZEROS, SHAPES };
static const char *const shape_names[SHAPES] = {
    "normal", "heavy tail", "around 1e-6", "all exponents", "boundaries and ties", "powers of two",
    "next to powers of two", "sparse", "zeros",
};

static float draw(struct random *r, enum shape shape)
{
    float x = random_normal(r), sign = random_normal(r) < 0 ? -1.0f : 1.0f;
    int k = (int)(random_normal(r) * 3);
    uint32_t bits;
    switch (shape) {
    case NORMAL:     return x * 0.02f;
    case HEAVY:      return x * x * x * x * x;
    case TINY:       return x * 1.2e-6f;
    case HUGE_RANGE:
        bits = (uint32_t)(random_bits(r) >> 32);
        memcpy(&x, &bits, sizeof x);
        return isfinite(x) ? x : 0;
    case GRID:       return sign * ldexpf((float)(random_bits(r) >> 58) / 8, k);
    case POWERS:     return sign * ldexpf(1, k);
    case NEAR_POWERS: {
        float around = sign * 6 * ldexpf(1, 2 * k - 12);
        memcpy(&bits, &around, sizeof bits);
        bits += (uint32_t)(random_bits(r) >> 58) - 32;
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    case SPARSE:     return x > 1.7f ? x : 0.0f * sign;
    default:         return 0;
    }
}

static bool test_set(char *where, const struct kernels *kn, enum shape shape, double percentile,
                     bool weighted)
{
    enum { BLOCKS = 531, PERIOD = 7 };
    static float w[BLOCKS * N], channels[PERIOD * N];
    static uint8_t packed[2][BLOCKS * N / 2 + 1], scale[2][BLOCKS + 1];
    struct random r = { 1000 * shape + (uint64_t)percentile };
    for (size_t i = 0; i < BLOCKS * N; i++)
        w[i] = draw(&r, shape);
    for (size_t i = 0; i < PERIOD * N; i++)
        channels[i] = exp2f(3 * random_normal(&r));
    struct mxfp4_rule rule = mxfp4_rule(MXFP4_QSTREAM, percentile);
    struct mxfp4_importance importance = { .channels = weighted ? channels : NULL };
    packed[0][BLOCKS * N / 2] = scale[0][BLOCKS] = 77;
    size_t first = 3, undecided = mxfp4_quantize(packed[0], scale[0], w, BLOCKS, first, PERIOD,
                                                 &rule, &importance, kn);
    for (size_t i = 0; i < BLOCKS; i++)
        undecided -= mxfp4_quantize_block(
            packed[1] + i * N / 2, scale[1] + i, w + i * N, &rule,
            weighted ? channels + (first + i) % PERIOD * N : NULL, NULL);
    return undecided == 0 && packed[0][BLOCKS * N / 2] == 77 && scale[0][BLOCKS] == 77
        && same_bytes(where, packed[0], packed[1], BLOCKS * N / 2)
        && same_bytes(where, scale[0], scale[1], BLOCKS);
}

static void test_kernels(void)
{
    static const char *const isas[] = { "openblas", "avx2", "avx512", "avx512bf16", "neon" };
    static const double percentiles[] = { 99.5, 100, 95, 50, 1e-3 };
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        const struct kernels *kn = kernels_find(isas[i], NULL);
        for (enum shape shape = 0; shape < SHAPES; shape++) {
            char name[128];
            snprintf(name, sizeof name, "%s equals the definition: %s", isas[i],
                     shape_names[shape]);
            if (!kn) {
                check_skip(name, "not of this CPU");
                continue;
            }
            char where[DIFFER_TEXT] = "";
            bool same = true;
            for (size_t p = 0; p < sizeof percentiles / sizeof *percentiles; p++)
                same = same && test_set(where, kn, shape, percentiles[p], false)
                            && test_set(where, kn, shape, percentiles[p], true);
            check(same, name, "different bytes: %s", where);
        }
    }
}

int main(void)
{
    test_cases();
    test_exact();
    test_hessian();
    test_kernels();
    return check_done();
}
