/* Norms, additions and vectors of weights, row by row, against the formulas in double. */
#include "model/norm.h"

#include "base/bf16.h"
#include "tests/differ.h"
#include "tests/isas.h"
#include "tests/unit/model/model_fixture.h"

#define EPS 1e-6

/* What a value loses when it becomes f32 or, in BF16 compute, BF16: relative, at most. */
static double rounding(enum compute_type type)
{
    return type == COMPUTE_BF16 ? 0x1p-8 : 0x1p-24;
}

static void name_of(char name[160], const struct compute *cm, const char *what)
{
    snprintf(name, 160, "%s %s %s", cm->kernels->isa, kernels_compute_name(cm->type), what);
}

/* In BF16 compute what the residual stream holds is BF16. */
static float *random_rows(struct random *r, const struct compute *cm, size_t n)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = 3 * random_normal(r);
    compute_rows(cm)->round(x, n);
    return x;
}

static void test_rows(const struct compute *with)
{
    static const struct { const char *name; size_t n, D; } cases[] = {
        { "one value", 1, 1 }, { "fewer values than a vector has", 3, 5 }, { "odd sizes", 7, 77 },
        { "more rows than threads", 33, 129 }, { "no rows", 0, 8 },
    };
    struct random r = { 4 };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        size_t n = cases[k].n, D = cases[k].D, all = n * D;
        const struct config c = { .hidden_size = D, .rms_norm_eps = EPS };
        const struct compute set = { .config = &c, .kernels = with->kernels, .type = with->type,
                                     .n_threads = with->n_threads }, *cm = &set;
        float *x = random_rows(&r, cm, all + 1), *y = random_rows(&r, cm, all + 1);
        float *weight = random_rows(&r, cm, D), *out = malloc((all + 1) * sizeof *out);
        double *normed = malloc((all + 1) * sizeof *normed), *sum = malloc((all + 1) * sizeof *sum);
        double *norm_each = malloc((all + 1) * sizeof *norm_each),
               *sum_each = malloc((all + 1) * sizeof *sum_each);
        for (size_t t = 0; t < n; t++) {
            double squares = 0;
            for (size_t i = 0; i < D; i++)
                squares += (double)x[t * D + i] * (double)x[t * D + i];
            for (size_t i = 0; i < D; i++) {
                size_t at = t * D + i;
                normed[at] = (double)x[at] / sqrt(squares / (double)D + EPS) * (double)weight[i];
                sum[at] = (double)x[at] + (double)y[at];
                /* the factor, two products, and what the result is rounded to */
                norm_each[at] = (3 * 0x1p-24 + rounding(cm->type)) * fabs(normed[at]);
                sum_each[at] = (0x1p-24 + rounding(cm->type)) * fabs(sum[at]);
            }
        }
        char name[160], what[96], where[DIFFER_TEXT] = "";
        norm_rows(cm, out, x, n, weight);
        snprintf(what, sizeof what, "norm: %s", cases[k].name);
        name_of(name, cm, what);
        check(near_each_f32(where, out, normed, norm_each, all), name, "%s", where);
        norm_residual_add(cm, x, y, n);
        snprintf(what, sizeof what, "addition: %s", cases[k].name);
        name_of(name, cm, what);
        check(near_each_f32(where, x, sum, sum_each, all), name, "%s", where);
        free(x), free(y), free(weight), free(out), free(normed), free(sum), free(norm_each),
            free(sum_each);
    }
}

static void test_first_not_finite(const struct compute *with)
{
    enum { D = 33, N = 40 };
    static const struct { const char *name; size_t at[2]; float value; size_t first; } cases[] = {
        { "all are finite", { 0, 0 }, 1, N },
        { "a NaN in the first value", { 0, 0 }, NAN, 0 },
        { "an infinity in the last", { N * D - 1, N * D - 1 }, INFINITY, N - 1 },
        { "the first of two rows", { 25 * D + 3, 7 * D + 32 }, -INFINITY, 7 },
        { "of two rows of one thread", { 9 * D, 8 * D }, NAN, 8 },
        { "the largest number is finite", { 5, 6 }, 3.4028235e38f, N },
    };
    const struct config c = { .hidden_size = D };
    const struct compute set = { .config = &c, .kernels = with->kernels, .type = with->type,
                                 .n_threads = with->n_threads }, *cm = &set;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        static float x[N * D];
        char name[160];
        for (size_t i = 0; i < N * D; i++)
            x[i] = (float)i;
        x[cases[k].at[0]] = x[cases[k].at[1]] = cases[k].value;
        size_t first = norm_first_not_finite(cm, x, N);
        name_of(name, cm, cases[k].name);
        check(first == cases[k].first && norm_first_not_finite(cm, x, 0) == 0, name, "row %zu",
              first);
    }
}

/* Values that BF16 holds, and one that it does not. */
static void test_vectors(const struct compute *cm)
{
    static const float values[] = { 1, -0.5f, 0.0078125f, 1.00390625f, 3, 0, 1e-3f };
    enum { N = sizeof values / sizeof *values };
    static const struct {
        const char *name;
        void (*fill)(const struct compute *cm, float *out, const struct matrix *w);
        enum dtype dtype;
        float offset;
    } cases[] = {
        { "a vector in F32, as it is", norm_vector, DTYPE_F32, 0 },
        { "the gated norm's factors, as they are", norm_weight_plain, DTYPE_BF16, 0 },
        { "an offset from one in F32", norm_weight, DTYPE_F32, 1 },
        { "an offset from one in BF16", norm_weight, DTYPE_BF16, 1 },
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        uint8_t stored[4 * N];
        float expected[N];
        char name[160];
        for (size_t i = 0; i < N; i++) {
            bool rounds = cases[k].dtype == DTYPE_BF16 || cm->type == COMPUTE_BF16;
            uint16_t half = bf16_of(values[i]);
            if (cases[k].dtype == DTYPE_BF16)
                memcpy(stored + 2 * i, &half, sizeof half);
            else
                memcpy(stored + 4 * i, &values[i], sizeof *values);
            /* The weight is rounded, its sum with the offset is not. */
            expected[i] = (rounds ? bf16_value(half) : values[i]) + cases[k].offset;
        }
        const struct matrix w = { .dtype = cases[k].dtype, .data = stored, .rows = 1, .cols = N };
        float v[N];
        cases[k].fill(cm, v, &w);
        name_of(name, cm, cases[k].name);
        check_equal_f32(name, v, expected, N);
    }
}

int main(void)
{
    for (size_t i = 0; i < N_ISAS; i++) {
        struct error err = { 0 };
        const struct kernels *kn = kernels_find(isas[i], &err);
        if (!kn) {
            check_skip(isas[i], err.message);
            continue;
        }
        for (int type = 0; type < COMPUTE_TYPES; type++) {
            struct compute cm = { .kernels = kn, .type = (enum compute_type)type, .n_threads = 2 };
            test_rows(&cm);
            test_first_not_finite(&cm);
            test_vectors(&cm);
        }
    }
    return check_done();
}
