/* Every kernel of every set against its scalar twin: random odd sizes, guard values around the
 * buffers, and a tolerance with its reason beside each case. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"
#include "kernels/gemm.h"
#include "kernels/kernels.h"
#include "tests/differ.h"
#include "tests/isas.h"
#include "tests/random.h"

#define GUARD 16
#define GUARD_VALUE 12345.678f

/* n floats between guards, 64-byte aligned; free with guarded_free. */
static float *guarded(size_t n)
{
    float *block = aligned_alloc(64, (n + 2 * GUARD + 15) / 16 * 16 * sizeof *block);
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

/* A stored weight with the values of b, which are BF16: [n, k] in BF16 or F32. */
static void *stored(enum dtype dtype, const float *b, size_t stride_k, size_t stride_cols, size_t n,
                    size_t k)
{
    uint8_t *data = malloc(4 * n * k + 1);
    for (size_t j = 0; j < n; j++)
        for (size_t p = 0; p < k; p++) {
            float x = b[p * stride_k + j * stride_cols];
            uint16_t half = bf16_of(x);
            if (dtype == DTYPE_BF16)
                memcpy(data + 2 * (j * k + p), &half, sizeof half);
            else
                memcpy(data + 4 * (j * k + p), &x, sizeof x);
        }
    return data;
}

/* Widened: packed as f32, as beside one of another type. */
enum source { OPERAND, WEIGHT_BF16, WEIGHT_BF16_WIDENED, WEIGHT_F32, SOURCES };

/* Runs one product between guards; c, a, b are the caller's, ldc given.  w: NULL, or what B is
 * stored as, packed as BF16 pairs where it may be. */
static bool run_product(const struct gemm_ops *ops, const struct product_case *s,
                        const struct matrix *w, bool may_be_pairs, float *c, size_t ldc,
                        const float *a, size_t lda, const float *b, size_t ldb)
{
    size_t n_packed = ops->packed_bytes(ops, s->n, s->k), n_scratch = ops->scratch_bytes(ops);
    size_t shift = s->m % 2 ? 4 : 0;        /* floats: buffers need not be aligned */
    float *block = guarded(n_packed / 4 + shift), *packed = block + shift;
    float *scratch = guarded(n_scratch / 4);
    size_t stride_k = s->b_transposed ? 1 : ldb, stride_cols = s->b_transposed ? ldb : 1;
    size_t half = s->n > KERNEL_PANEL ? KERNEL_PANEL : s->n;    /* packed by two callers */
    const struct weight_slice weight = { w, 0, s->n, 0 };
    bool bf16_pairs = w && may_be_pairs && ops->takes_bf16_pairs(ops, w);
    const struct packed_b to = { packed, s->n, s->k, bf16_pairs };
    for (size_t first = 0; first < s->n; first += half) {
        size_t count = first ? s->n - first : half;
        if (!w)
            ops->pack(
                ops, packed,
                &(struct gemm_b){ b + first * stride_cols, stride_k, stride_cols, s->n, s->k },
                first, count, scratch);
        else
            ops->pack_weight(ops, &to, &weight, first, count, scratch);
        if (first)
            break;
    }
    ops->multiply(ops, &(struct gemm){ .c = c,
                                       .ldc = ldc,
                                       .a = a,
                                       .stride_rows = s->a_transposed ? 1 : lda,
                                       .stride_k = s->a_transposed ? lda : 1,
                                       .packed = packed,
                                       .bf16_pairs = bf16_pairs,
                                       .m = s->m,
                                       .n = s->n,
                                       .k = s->k,
                                       .accumulate = s->accumulate,
                                       .scratch = scratch });
    bool ok = guards_hold(packed, n_packed / 4) && guards_hold(scratch, n_scratch / 4);
    guarded_free(block);
    guarded_free(scratch);
    return ok;
}

/* |error| of a sum of k products in f32, in any order, against double: at most
 * k * 2^-24 * sum |a b| (Higham, Accuracy and Stability, 3.1); in practice far less.  Twice that
 * for BF16 dots, whose instruction may round once more on some processor. */
static bool product_case(char *where, const struct kernels *kn, enum compute_type type,
                         struct random *r, const struct product_case *s, enum source source)
{
    size_t m = s->m, n = s->n, k = s->k;
    size_t lda = (s->a_transposed ? m : k) + random_below(r, 5);
    size_t ldb = (s->b_transposed ? k : n) + random_below(r, 5), ldc = n + random_below(r, 5);
    size_t na = lda * (s->a_transposed ? k : m), nb = ldb * (s->b_transposed ? n : k), nc = ldc * m;
    float *a = guarded_random(r, na, 1), *b = guarded_random(r, nb, 1);
    float *c = guarded_random(r, nc, 1), *before = guarded(nc), *twin = guarded(nc);
    double *expected = malloc(nc * sizeof *expected), *bound = malloc(nc * sizeof *bound);
    const struct gemm_ops *ops = kn->gemm[type];
    if (type == COMPUTE_BF16)
        kernels_scalar.rows->round_bf16(a, na);
    if (type == COMPUTE_BF16 || source == WEIGHT_BF16 || source == WEIGHT_BF16_WIDENED)
        kernels_scalar.rows->round_bf16(b, nb);
    memcpy(before, c, nc * sizeof *c);
    memcpy(twin, c, nc * sizeof *c);
    enum dtype dtype = source == WEIGHT_F32 ? DTYPE_F32 : DTYPE_BF16;
    void *data = source == OPERAND
                   ? NULL
                   : stored(dtype, b, s->b_transposed ? 1 : ldb, s->b_transposed ? ldb : 1, n, k);
    const struct matrix stored_as = { .dtype = dtype, .data = data, .rows = n, .cols = k },
                        *w = data ? &stored_as : NULL;
    bool may_be_pairs = source != WEIGHT_BF16_WIDENED;
    bool ok = run_product(ops, s, w, may_be_pairs, c, ldc, a, lda, b, ldb) && guards_hold(c, nc);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < ldc; j++) {
            if (j >= n) {                       /* between rows nothing is written */
                expected[i * ldc + j] = (double)before[i * ldc + j];
                bound[i * ldc + j] = 0;
                continue;
            }
            double sum = s->accumulate ? (double)before[i * ldc + j] : 0, magnitude = fabs(sum);
            for (size_t l = 0; l < k; l++) {
                double x = s->a_transposed ? (double)a[l * lda + i] : (double)a[i * lda + l];
                double y = s->b_transposed ? (double)b[j * ldb + l] : (double)b[l * ldb + j];
                sum += x * y;
                magnitude += fabs(x * y);
            }
            expected[i * ldc + j] = sum;
            bound[i * ldc + j] = 2 * (double)(k + 1) * 0x1p-24 * magnitude;
        }
    ok = near_each_f32(where, c, expected, bound, nc) && ok;
    /* Our own product has one order of summation: the same bits as the scalar twin.  Whether the
     * BF16 dots of this processor round as Intel's manual says is told apart (test_bf16_dot). */
    if (ops->tile && ops->tile->values == 1) {
        run_product(kernels_scalar.gemm[type], s, w, false, twin, ldc, a, lda, b, ldb);
        ok = same_f32(where, c, twin, nc) && ok;
    }
    free(data);
    free(expected);
    free(bound);
    guarded_free(a);
    guarded_free(b);
    guarded_free(c);
    guarded_free(before);
    guarded_free(twin);
    return ok;
}

static void test_products(const struct kernels *kn, enum compute_type type)
{
    static const char *const sources[] = { "", " of BF16 weights", " of BF16 weights widened",
                                           " of F32 weights" };
    struct random r = { 1 };
    for (int i = 0; i < 320; i++) {
        struct product_case s = {
            1 + random_below(&r, i % 40 == 39 ? 500 : 70), 1 + random_below(&r, 100),
            1 + random_below(&r, i < 150 ? 70 : 700), random_below(&r, 2), random_below(&r, 2),
            random_below(&r, 2) };
        char name[128];
        enum source source = (enum source)random_below(&r, SOURCES);
        snprintf(name, sizeof name, "%s %s product %zux%zux%zu%s%s%s%s", kn->isa,
                 type == COMPUTE_BF16 ? "bf16" : "f32", s.m, s.n, s.k, sources[source],
                 s.a_transposed ? " A^T" : "", s.b_transposed ? " B^T" : "",
                 s.accumulate ? " accumulate" : "");
        char where[DIFFER_TEXT] = "";
        check(product_case(where, kn, type, &r, &s, source), name,
              "error above the bound, not the twin's bits, or guards: %s", where);
    }
}

/* MXFP4 weights, also with scales so small that values are denormal: the bits of the same values in
 * F32. */
static void test_mxfp4_product(const struct kernels *kn, enum compute_type type)
{
    enum { M = 17, N = 45, K = 1056, BLOCKS = N * K / 32 };
    static uint8_t codes[N * K / 2], scale[BLOCKS];
    struct random r = { 8 };
    for (size_t i = 0; i < sizeof codes; i++)
        codes[i] = (uint8_t)random_below(&r, 256);
    for (size_t i = 0; i < BLOCKS; i++)
        scale[i] = (uint8_t)(i % 7 == 0 ? random_below(&r, 3) : 110 + random_below(&r, 30));
    const struct matrix mxfp4 = {
        .dtype = DTYPE_MXFP4, .data = codes, .scale = scale, .rows = N, .cols = K
    };
    float *a = guarded_random(&r, M * K, 1), *values = guarded(N * K);
    float *c = guarded(M * N), *plain = guarded(M * N);
    if (type == COMPUTE_BF16)
        kernels_scalar.rows->round_bf16(a, M * K);
    for (size_t j = 0; j < N; j++)
        kernels_scalar.rows->expand(values + j * K, &mxfp4, j, 0, K);
    const struct matrix f32 = {
        .dtype = DTYPE_F32, .data = (const uint8_t *)values, .rows = N, .cols = K
    };
    const struct product_case s = { M, N, K, false, true, false };
    bool ok = run_product(kn->gemm[type], &s, &mxfp4, true, c, N, a, K, NULL, K)
           && run_product(kn->gemm[type], &s, &f32, false, plain, N, a, K, NULL, K);
    char name[96];
    snprintf(name, sizeof name, "%s %s product of MXFP4 weights", kn->isa,
             kernels_compute_name(type));
    char where[DIFFER_TEXT] = "";
    check(ok && same_f32(where, c, plain, M * N), name,
          "other bits than with the values in F32: %s", where);
    guarded_free(a);
    guarded_free(values);
    guarded_free(c);
    guarded_free(plain);
}

/* Products so small in k that only the order within a pair decides: on a processor that keeps to
 * the manual all bits are the scalar twin's. */
static void test_bf16_dot(const struct kernels *kn)
{
    enum { M = 28, N = 64, K = 16 };
    struct random r = { 7 };
    float *a = guarded_random(&r, M * K, 1), *b = guarded_random(&r, N * K, 1);
    float *c = guarded(M * N), *twin = guarded(M * N);
    const struct product_case s = { M, N, K, false, true, false };
    kernels_scalar.rows->round_bf16(a, M * K);
    kernels_scalar.rows->round_bf16(b, N * K);
    run_product(kn->gemm[COMPUTE_BF16], &s, NULL, false, c, N, a, K, b, K);
    run_product(kernels_scalar.gemm[COMPUTE_BF16], &s, NULL, false, twin, N, a, K, b, K);
    char name[96];
    snprintf(name, sizeof name, "%s bf16 products have the scalar twin's bits", kn->isa);
    if (memcmp(c, twin, M * N * sizeof *c) == 0)
        check(true, name, "-");
    else
        check_skip(name, "this processor's BF16 dots round in another order");
    guarded_free(a);
    guarded_free(b);
    guarded_free(c);
    guarded_free(twin);
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

enum {
    MUL_SILU,
    MUL_SIGMOID,
    ADD,
    ADD_SCALED,
    SCALE,
    ROUND,
    RMS_NORM,
    GATED_RMS_NORM,
    L2_NORM,
    EXP_SUM,
    ELEMENTWISE
};

static const struct {
    const char *name;
    float scale;                    /* of the inputs */
    double ulp;                     /* tolerance: the exponential's 1.3 ULP, a division, products */
} elementwise[ELEMENTWISE] = {
    [MUL_SILU]       = { "mul_silu",       4, 5 },
    [MUL_SIGMOID]    = { "mul_sigmoid",    4, 4 },
    [ADD]            = { "add",            1, 0 },
    [ADD_SCALED]     = { "add_scaled",     1, 0 },
    [SCALE]          = { "scale",          1, 0 },
    [ROUND]          = { "round",          1, 0 },
    [RMS_NORM]       = { "rms_norm",       3, 1 },  /* sums in double, in another order */
    [GATED_RMS_NORM] = { "gated_rms_norm", 3, 6 },
    [L2_NORM]        = { "l2_norm",        3, 1 },
    [EXP_SUM]        = { "exp_sum",        9, 2 },
};

/* y and z are operands. */
static double run(const struct row_kernels *rows, int which, float *x, const float *y,
                  const float *z, size_t n)
{
    switch (which) {
    case MUL_SILU:       rows->mul_silu(x, y, n); return 0;
    case MUL_SIGMOID:    rows->mul_sigmoid(x, y, n); return 0;
    case ADD:            rows->add(x, y, n); return 0;
    case ADD_SCALED:     rows->add_scaled(x, y, 0.37f, n); return 0;
    case SCALE:          rows->scale(x, 0.37f, n); return 0;
    case ROUND:          rows->round(x, n); return 0;
    case RMS_NORM:       rows->rms_norm(x, x, y, n, 1e-6); return 0;
    case GATED_RMS_NORM: rows->gated_rms_norm(x, y, z, n, 1e-6); return 0;
    case L2_NORM:        rows->l2_norm(x, n, 0.25); return 0;
    default:             return rows->exp_sum(x, 3.25f, n);
    }
}

/* In BF16 compute a value beside the middle between two BF16 values may round to either, a few
 * times over in the longest of these: each time by one of its units, 2^16 of f32's. */
#define BF16_FLIPS (3 * 65536.0)

static void test_elementwise(const struct kernels *kn, enum compute_type type)
{
    bool bf16 = type == COMPUTE_BF16;
    const struct row_kernels *rows = bf16 ? kn->rows_bf16 : kn->rows;
    const struct row_kernels *scalar = bf16 ? kernels_scalar.rows_bf16 : kernels_scalar.rows;
    struct random r = { 2 };
    for (int which = 0; which < ELEMENTWISE; which++) {
        double worst = 0, worst_sum = 0;
        size_t beyond = 0, values = 0;          /* further off than f32's tolerance */
        char where[DIFFER_TEXT] = "";
        double most = bf16 ? BF16_FLIPS : elementwise[which].ulp;
        bool guarded_ok = true;
        for (int i = 0; i < 60; i++) {
            size_t n = 1 + random_below(&r, 200);
            float *x = guarded_random(&r, n, elementwise[which].scale), *twin = guarded(n);
            float *y = guarded_random(&r, n, elementwise[which].scale);
            float *z = guarded_random(&r, n, elementwise[which].scale);
            memcpy(twin, x, n * sizeof *x);
            double sum = run(rows, which, x, y, z, n);
            double twin_sum = run(scalar, which, twin, y, z, n);
            for (size_t j = 0; j < n; j++)
                beyond += worst_ulp(x + j, twin + j, 1, 1e-30f) > elementwise[which].ulp;
            values += n;
            double ulp = worst_ulp(x, twin, n, 1e-30f);
            if (!(ulp <= most))
                near_ulp_f32(where, x, twin, n, most, 1e-30f);
            worst = ulp > worst || isnan(ulp) ? ulp : worst;
            worst_sum = fmax(worst_sum, fabs(sum - twin_sum) / fmax(fabs(twin_sum), 1e-300));
            guarded_ok = guarded_ok && guards_hold(x, n) && guards_hold(y, n) && guards_hold(z, n);
            guarded_free(x);
            guarded_free(y);
            guarded_free(z);
            guarded_free(twin);
        }
        char name[64];
        snprintf(name, sizeof name, "%s %s%s", kn->isa, elementwise[which].name,
                 bf16 ? " bf16" : "");
        bool ok = worst <= most && (!bf16 || beyond * 100 <= values);
        check(guarded_ok && ok && worst_sum < 2e-7, name,
              "worst %.2f ULP, %zu of %zu beyond, sum off by %.1e, guards %d; %s", worst, beyond,
              values, worst_sum, guarded_ok, where);
    }
}

/* exp over its whole range, against libm in double. */
static void test_exp_range(const struct kernels *kn)
{
    double worst = 0;
    for (float x = -87.0f; x < 88.7f; x += 0.00137f) {
        float y = x;
        kn->rows->exp_sum(&y, 0, 1);
        double truth = exp((double)x),
               ulp = (double)nextafterf((float)truth, INFINITY) - (double)(float)truth;
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

/* Sums of a and b against long double, b near a and far, in one call and in two. */
static void test_exp_sums(const struct kernels *kn)
{
    struct random r = { 5 };
    double worst = 0;
    bool guarded_ok = true;
    for (int i = 0; i < 60; i++) {
        size_t n = 1 + random_below(&r, 200), cut = random_below(&r, n + 1);
        float *a = guarded_random(&r, n, 9), *b = guarded_random(&r, n, i % 2 ? 9 : 1e-4f);
        for (size_t j = 0; i % 2 == 0 && j < n; j++)
            b[j] += a[j];
        struct exp_sums s = { .max = { kernels_scalar.rows->max(a, n),
                                       kernels_scalar.rows->max(b, n) } };
        kn->rows->add_exp_sums(&s, a, b, cut);
        kn->rows->add_exp_sums(&s, a + cut, b + cut, n - cut);
        long double truth[4] = { 0 }, size[4] = { 0 };
        for (size_t j = 0; j < n; j++) {
            long double x = (long double)a[j], y = (long double)b[j];
            long double ea = expl(x - (long double)s.max[0]), eb = expl(y - (long double)s.max[1]);
            const long double terms[4] = { ea, eb, ea * (x - y), eb * (y - x) };
            for (size_t k = 0; k < 4; k++) {
                truth[k] += terms[k];
                size[k] += fabsl(terms[k]);
            }
        }
        const double sums[4] = { s.sum[0], s.sum[1], s.difference[0], s.difference[1] };
        for (size_t k = 0; k < 4; k++)
            worst = fmax(worst, (double)(fabsl((long double)sums[k] - truth[k]) / size[k]));
        guarded_ok = guarded_ok && guards_hold(a, n) && guards_hold(b, n);
        guarded_free(a);
        guarded_free(b);
    }
    char name[64];
    snprintf(name, sizeof name, "%s add_exp_sums", kn->isa);
    check(guarded_ok && worst < 2e-14, name, "off by %.1e of the terms, guards %d", worst,
          guarded_ok);

    const float far[2] = { 0, -1e30f }, nan[2] = { 0, NAN }, infinite[2] = { 0, INFINITY };
    struct exp_sums s = { 0 }, with_nan = { 0 }, with_infinity = { .max = { 0, INFINITY } };
    kn->rows->add_exp_sums(&s, far, far, 2);
    kn->rows->add_exp_sums(&with_nan, far, nan, 2);
    kn->rows->add_exp_sums(&with_infinity, far, infinite, 2);
    snprintf(name, sizeof name, "%s add_exp_sums: far and broken logits", kn->isa);
    check(s.sum[0] == 1 && s.sum[1] == 1 && s.difference[0] == 0 && isnan(with_nan.sum[1])
          && isnan(with_infinity.sum[1]), name, "sums %g, %g, %g", s.sum[1], with_nan.sum[1],
          with_infinity.sum[1]);
}

static void test_conv_silu(const struct kernels *kn)
{
    struct random r = { 4 };
    char where[DIFFER_TEXT] = "";
    double worst = 0;
    bool guarded_ok = true;
    for (int i = 0; i < 60; i++) {
        size_t channels = 1 + random_below(&r, 150), width = 1 + random_below(&r, 6);
        float *x = guarded_random(&r, width * channels, 1),
              *w = guarded_random(&r, width * channels, 1);
        float *out = guarded(channels), *twin = guarded(channels);
        const float *rows[6];
        for (size_t j = 0; j < width; j++)
            rows[j] = random_below(&r, 4) ? x + j * channels : NULL;
        kernels_scalar.rows->conv_silu(twin, rows, w, width, channels);
        kn->rows->conv_silu(out, rows, w, width, channels);
        worst = fmax(worst, worst_ulp(out, twin, channels, 1e-30f));
        near_ulp_f32(where, out, twin, channels, 4, 1e-30f);
        if (rows[width - 1]) {                  /* in place */
            kn->rows->conv_silu(x + (width - 1) * channels, rows, w, width, channels);
            worst = fmax(worst, worst_ulp(x + (width - 1) * channels, twin, channels, 1e-30f));
            near_ulp_f32(where, x + (width - 1) * channels, twin, channels, 4, 1e-30f);
        }
        guarded_ok = guarded_ok && guards_hold(out, channels) && guards_hold(x, width * channels);
        guarded_free(x);
        guarded_free(w);
        guarded_free(out);
        guarded_free(twin);
    }
    char name[64];
    snprintf(name, sizeof name, "%s conv_silu", kn->isa);
    check(guarded_ok && worst <= 4, name, "worst %.2f ULP, guards %d; %s", worst, guarded_ok,
          where);
}

int main(void)
{
    struct error err = { 0 };
    for (size_t i = 0; i < N_ISAS; i++) {
        const struct kernels *kn = kernels_find(isas[i], &err);
        if (!kn) {
            check_skip(isas[i], err.message);
            continue;
        }
        test_products(kn, COMPUTE_F32);
        test_products(kn, COMPUTE_BF16);
        test_mxfp4_product(kn, COMPUTE_F32);
        test_mxfp4_product(kn, COMPUTE_BF16);
        if (kn->gemm[COMPUTE_BF16]->tile)
            test_bf16_dot(kn);
        test_elementwise(kn, COMPUTE_F32);
        test_elementwise(kn, COMPUTE_BF16);
        test_exp_range(kn);
        test_max_and_finite(kn);
        test_exp_sums(kn);
        test_conv_silu(kn);
    }
    check(!kernels_find("sse9", &err) && strstr(err.message, "sse9")
              && strstr(err.message, "scalar"),
          "an unknown isa is refused and the known ones are listed", "%s", err.message);
    check(kernels_find("scalar", &err) == &kernels_scalar, "an isa is found by name", "wrong set");
    return check_done();
}
