/* Every kernel of every set against its scalar twin: random odd sizes, guard values around the
 * buffers, and a tolerance with its reason beside each case. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "tests/check.h"
#include "tests/random.h"

#define GUARD 16
#define GUARD_VALUE 12345.678f

static const char *const isas[] = { "scalar", "openblas", "avx2", "avx512" };

/* n floats between guards; free with guarded_free. */
static float *guarded(size_t n)
{
    float *block = malloc((n + 2 * GUARD) * sizeof *block);
    for (size_t i = 0; i < n + 2 * GUARD; i++)
        block[i] = GUARD_VALUE;
    return block + GUARD;
}

static bool guards_hold(const float *x, size_t n)
{
    for (size_t i = 0; i < GUARD; i++)
        if (x[-1 - (ptrdiff_t)i] != GUARD_VALUE || x[n + i] != GUARD_VALUE)
            return false;
    return true;
}

static void guarded_free(float *x)
{
    free(x - GUARD);
}

static float *guarded_random(struct random *r, size_t n, float scale)
{
    float *x = guarded(n);
    for (size_t i = 0; i < n; i++)
        x[i] = scale * random_normal(r);
    return x;
}

/* ---- matrix products -------------------------------------------------------- */

struct product_case {
    size_t m, n, k;
    bool a_transposed, b_transposed, accumulate;
};

/* Runs one product between guards; c, a, b are the caller's, ldc given. */
static bool run_product(const struct kernels *kn, const struct product_case *s, float *c,
                        size_t ldc, const float *a, size_t lda, const float *b, size_t ldb)
{
    size_t n_packed = kn->packed_floats(kn, s->n, s->k), n_scratch = kn->scratch_floats(kn);
    float *packed = guarded(n_packed), *scratch = guarded(n_scratch);
    size_t step_k = s->b_transposed ? 1 : ldb, step_n = s->b_transposed ? ldb : 1;
    size_t half = s->n > KERNEL_PANEL ? KERNEL_PANEL : s->n;    /* packed by two callers */
    kn->pack(kn, packed, &(struct operand){ b, step_k, step_n, s->n, s->k }, 0, half);
    if (half < s->n)
        kn->pack(kn, packed, &(struct operand){ b + half * step_n, step_k, step_n, s->n, s->k },
                 half, s->n - half);
    kn->multiply(kn, &(struct product){ c, ldc, a, s->a_transposed ? 1 : lda,
                                        s->a_transposed ? lda : 1, packed, s->m, s->n, s->k,
                                        s->accumulate, scratch });
    bool ok = guards_hold(packed, n_packed) && guards_hold(scratch, n_scratch);
    guarded_free(packed);
    guarded_free(scratch);
    return ok;
}

/* |error| of a sum of k products in f32, in any order, against double: at most
 * k * 2^-24 * sum |a b| (Higham, Accuracy and Stability, 3.1); in practice far less. */
static bool product_case(const struct kernels *kn, struct random *r, const struct product_case *s)
{
    size_t m = s->m, n = s->n, k = s->k;
    size_t lda = (s->a_transposed ? m : k) + random_below(r, 5);
    size_t ldb = (s->b_transposed ? k : n) + random_below(r, 5), ldc = n + random_below(r, 5);
    size_t na = lda * (s->a_transposed ? k : m), nb = ldb * (s->b_transposed ? n : k), nc = ldc * m;
    float *a = guarded_random(r, na, 1), *b = guarded_random(r, nb, 1);
    float *c = guarded_random(r, nc, 1), *before = guarded(nc), *twin = guarded(nc);
    memcpy(before, c, nc * sizeof *c);
    memcpy(twin, c, nc * sizeof *c);
    bool ok = run_product(kn, s, c, ldc, a, lda, b, ldb) && guards_hold(c, nc);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < ldc; j++) {
            if (j >= n) {                       /* between rows nothing is written */
                ok = ok && c[i * ldc + j] == before[i * ldc + j];
                continue;
            }
            double sum = s->accumulate ? (double)before[i * ldc + j] : 0, magnitude = fabs(sum);
            for (size_t l = 0; l < k; l++) {
                double x = s->a_transposed ? (double)a[l * lda + i] : (double)a[i * lda + l];
                double y = s->b_transposed ? (double)b[j * ldb + l] : (double)b[l * ldb + j];
                sum += x * y;
                magnitude += fabs(x * y);
            }
            ok = ok && fabs((double)c[i * ldc + j] - sum) <= (double)(k + 1) * 0x1p-24 * magnitude;
        }
    /* Our own product has one order of summation: the same bits as the scalar twin. */
    if (kn->tile) {
        run_product(&kernels_scalar, s, twin, ldc, a, lda, b, ldb);
        ok = ok && memcmp(twin, c, nc * sizeof *c) == 0;
    }
    guarded_free(a);
    guarded_free(b);
    guarded_free(c);
    guarded_free(before);
    guarded_free(twin);
    return ok;
}

static void test_products(const struct kernels *kn)
{
    struct random r = { 1 };
    for (int i = 0; i < 160; i++) {
        struct product_case s = {
            1 + random_below(&r, i % 40 == 39 ? 500 : 70), 1 + random_below(&r, 100),
            1 + random_below(&r, i < 100 ? 70 : 700), random_below(&r, 2), random_below(&r, 2),
            random_below(&r, 2) };
        char name[96];
        snprintf(name, sizeof name, "%s product %zux%zux%zu%s%s%s", kn->isa, s.m, s.n, s.k,
                 s.a_transposed ? " A^T" : "", s.b_transposed ? " B^T" : "",
                 s.accumulate ? " accumulate" : "");
        check(product_case(kn, &r, &s), name, "error above the bound, or not the twin's bits");
    }
}

/* ---- element-wise kernels, against the scalar twin --------------------------- */

/* Largest difference in units of the last place of the larger magnitude, at least `floor`. */
static double worst_ulp(const float *x, const float *y, size_t n, float floor)
{
    double worst = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(x[i]) && isnan(y[i]))
            continue;
        float size = fmaxf(fmaxf(fabsf(x[i]), fabsf(y[i])), floor);
        double ulp = (double)nextafterf(size, INFINITY) - (double)size;
        double d = x[i] == y[i] ? 0 : fabs((double)x[i] - (double)y[i]) / ulp;
        worst = d > worst || isnan(d) ? d : worst;
    }
    return worst;
}

enum { SILU, MUL_SILU, MUL_SIGMOID, ADD, ADD_SCALED, RMS_NORM, L2_NORM, EXP_SUM, ELEMENTWISE };

static const struct {
    const char *name;
    float scale;                    /* of the inputs */
    double ulp;                     /* tolerance: the exponential's 1.3 ULP, a division, products */
} elementwise[ELEMENTWISE] = {
    [SILU]        = { "silu",        4, 4 },
    [MUL_SILU]    = { "mul_silu",    4, 5 },
    [MUL_SIGMOID] = { "mul_sigmoid", 4, 4 },
    [ADD]         = { "add",         1, 0 },
    [ADD_SCALED]  = { "add_scaled",  1, 0 },
    [RMS_NORM]    = { "rms_norm",    3, 1 },    /* sums in double, in another order */
    [L2_NORM]     = { "l2_norm",     3, 1 },
    [EXP_SUM]     = { "exp_sum",     9, 2 },
};

static double run(const struct kernels *kn, int which, float *x, const float *y, size_t n)
{
    switch (which) {
    case SILU:        kn->rows->silu(x, n); return 0;
    case MUL_SILU:    kn->rows->mul_silu(x, y, n); return 0;
    case MUL_SIGMOID: kn->rows->mul_sigmoid(x, y, n); return 0;
    case ADD:         kn->rows->add(x, y, n); return 0;
    case ADD_SCALED:  kn->rows->add_scaled(x, y, 0.37f, n); return 0;
    case RMS_NORM:    kn->rows->rms_norm(x, x, y, n, 1e-6); return 0;
    case L2_NORM:     kn->rows->l2_norm(x, n, 0.25); return 0;
    default:          return kn->rows->exp_sum(x, 3.25f, n);
    }
}

static void test_elementwise(const struct kernels *kn)
{
    struct random r = { 2 };
    for (int which = 0; which < ELEMENTWISE; which++) {
        double worst = 0, worst_sum = 0;
        bool guarded_ok = true;
        for (int i = 0; i < 60; i++) {
            size_t n = 1 + random_below(&r, 200);
            float *x = guarded_random(&r, n, elementwise[which].scale);
            float *y = guarded_random(&r, n, elementwise[which].scale), *twin = guarded(n);
            memcpy(twin, x, n * sizeof *x);
            double sum = run(kn, which, x, y, n);
            double twin_sum = run(&kernels_scalar, which, twin, y, n);
            double ulp = worst_ulp(x, twin, n, 1e-30f);
            worst = ulp > worst || isnan(ulp) ? ulp : worst;
            worst_sum = fmax(worst_sum, fabs(sum - twin_sum) / fmax(fabs(twin_sum), 1e-300));
            guarded_ok = guarded_ok && guards_hold(x, n) && guards_hold(y, n);
            guarded_free(x);
            guarded_free(y);
            guarded_free(twin);
        }
        char name[64];
        snprintf(name, sizeof name, "%s %s", kn->isa, elementwise[which].name);
        check(guarded_ok && worst <= elementwise[which].ulp && worst_sum < 2e-7, name,
              "worst %.2f ULP, sum off by %.1e, guards %d", worst, worst_sum, guarded_ok);
    }
}

/* exp over its whole range, against libm in double. */
static void test_exp_range(const struct kernels *kn)
{
    double worst = 0;
    for (float x = -87.0f; x < 88.7f; x += 0.00137f) {
        float y = x;
        kn->rows->exp_sum(&y, 0, 1);
        double truth = exp((double)x), ulp = (double)nextafterf((float)truth, INFINITY) - (double)(float)truth;
        worst = fmax(worst, fabs((double)y - truth) / ulp);
    }
    char name[64];
    snprintf(name, sizeof name, "%s exp within 1.3 ULP", kn->isa);
    check(worst <= 1.3, name, "worst %.3f ULP", worst);

    static const struct { const char *what; float x, expected; } edges[] = {
        { "-infinity gives 0", -INFINITY, 0 },
        { "-200 gives 0",      -200,      0 },
        { "0 gives 1",          0,        1 },
        { "100 gives infinity", 100,      INFINITY },
        { "infinity stays",     INFINITY, INFINITY },
        { "NaN stays",          NAN,      NAN },
    };
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        float y = edges[i].x;
        kn->rows->exp_sum(&y, 0, 1);
        snprintf(name, sizeof name, "%s exp: %s", kn->isa, edges[i].what);
        check(y == edges[i].expected || (isnan(y) && isnan(edges[i].expected)), name, "got %g",
              (double)y);
    }
}

static void test_max_and_finite(const struct kernels *kn)
{
    struct random r = { 3 };
    bool max_ok = true, finite_ok = true;
    static const float bad[] = { NAN, INFINITY, -INFINITY };
    for (int i = 0; i < 200; i++) {
        size_t n = 1 + random_below(&r, 100);
        float *x = guarded_random(&r, n, 1);
        max_ok = max_ok && kn->rows->max(x, n) == kernels_scalar.rows->max(x, n);
        finite_ok = finite_ok && kn->rows->all_finite(x, n);
        x[random_below(&r, n)] = bad[i % 3];
        finite_ok = finite_ok && !kn->rows->all_finite(x, n);
        guarded_free(x);
    }
    char name[64];
    snprintf(name, sizeof name, "%s max", kn->isa);
    check(max_ok, name, "differs from the scalar twin");
    snprintf(name, sizeof name, "%s all_finite", kn->isa);
    check(finite_ok, name, "missed or invented a NaN or infinity");
}

static void test_conv_silu(const struct kernels *kn)
{
    struct random r = { 4 };
    double worst = 0;
    bool guarded_ok = true;
    for (int i = 0; i < 60; i++) {
        size_t channels = 1 + random_below(&r, 150), width = 1 + random_below(&r, 6);
        float *x = guarded_random(&r, width * channels, 1), *w = guarded_random(&r, width * channels, 1);
        float *out = guarded(channels), *twin = guarded(channels);
        const float *rows[6];
        for (size_t j = 0; j < width; j++)
            rows[j] = random_below(&r, 4) ? x + j * channels : NULL;
        kernels_scalar.rows->conv_silu(twin, rows, w, width, channels);
        kn->rows->conv_silu(out, rows, w, width, channels);
        worst = fmax(worst, worst_ulp(out, twin, channels, 1e-30f));
        if (rows[width - 1]) {                  /* in place */
            kn->rows->conv_silu(x + (width - 1) * channels, rows, w, width, channels);
            worst = fmax(worst, worst_ulp(x + (width - 1) * channels, twin, channels, 1e-30f));
        }
        guarded_ok = guarded_ok && guards_hold(out, channels) && guards_hold(x, width * channels);
        guarded_free(x);
        guarded_free(w);
        guarded_free(out);
        guarded_free(twin);
    }
    char name[64];
    snprintf(name, sizeof name, "%s conv_silu", kn->isa);
    check(guarded_ok && worst <= 4, name, "worst %.2f ULP, guards %d", worst, guarded_ok);
}

int main(void)
{
    struct error err = { 0 };
    for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
        const struct kernels *kn = kernels_find(isas[i], &err);
        if (!kn) {
            check_skip(isas[i], err.message);
            continue;
        }
        test_products(kn);
        test_elementwise(kn);
        test_exp_range(kn);
        test_max_and_finite(kn);
        test_conv_silu(kn);
    }
    check(!kernels_find("sse9", &err) && strstr(err.message, "sse9") && strstr(err.message, "scalar"),
          "an unknown isa is refused and the known ones are listed", "%s", err.message);
    check(kernels_find("scalar", &err) == &kernels_scalar, "an isa is found by name", "wrong set");
    return check_done();
}
