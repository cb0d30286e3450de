/* Products of a few rows: every set has the scalar one's bits, an element does not depend on what
 * is beside it, and its error against double is within the bound of a sum of lanes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"
#include "kernels/dots.h"
#include "tests/differ.h"
#include "tests/isas.h"
#include "tests/random.h"

enum { ROWS = 7, COLS = 1100, GUARD = 3 };

static const struct {
    const char *name;
    enum dtype dtype;
    size_t cols, n, first, count;
} cases[] = {
    { "one row of BF16",                  DTYPE_BF16,  1100, 1,  0, 7 },
    { "two rows of F16",                  DTYPE_F16,   640,  2,  0, 7 },
    { "four rows of F32",                 DTYPE_F32,   513,  4,  2, 3 },
    { "five rows, fewer columns than sums", DTYPE_BF16, 17,  5,  0, 7 },
    { "32 rows of MXFP4",                 DTYPE_MXFP4, 544,  32, 0, 7 },
    { "one row of MXFP4",                 DTYPE_MXFP4, 1056, 1,  3, 4 },
    { "three rows of MXFP4, one block",   DTYPE_MXFP4, 32,   3,  0, 6 },
    { "31 rows of FP8",                   DTYPE_FP8,   700,  31, 0, 7 },
    { "eight rows of BF16, whole blocks", DTYPE_BF16,  1088, 8,  0, 7 },
    { "two rows of BF16, one block",      DTYPE_BF16,  32,   2,  6, 1 },
    { "one column",                       DTYPE_F32,   1,    3,  0, 7 },
};

static uint8_t data[ROWS * COLS * 4], scale[ROWS * COLS];
static float scales[ROWS * COLS];

/* Of codes and scales that are finite and near one. */
static struct matrix random_weights(struct random *r, enum dtype dtype, size_t cols)
{
    for (size_t i = 0; i < ROWS * cols; i++) {
        float x = random_normal(r);
        uint16_t half = dtype == DTYPE_BF16 ? bf16_of(x)
                                            : (uint16_t)(0x3000 + random_below(r, 0x1000));
        if (dtype == DTYPE_F32)
            memcpy(data + 4 * i, &x, sizeof x);
        else if (dtype == DTYPE_BF16 || dtype == DTYPE_F16)
            memcpy(data + 2 * i, &half, sizeof half);
        else
            data[i] = (uint8_t)(random_below(r, 2) << 7 | random_below(r, 0x78));
    }
    for (size_t i = 0; i < ROWS * cols; i++) {
        scale[i] = (uint8_t)(125 + random_below(r, 4));
        scales[i] = 0.5f + random_uniform(r);
    }
    struct matrix w = { .dtype = dtype, .data = data, .rows = ROWS, .cols = cols };
    if (dtype == DTYPE_MXFP4)
        w.scale = scale;
    if (dtype == DTYPE_FP8) {
        w.scale = (const uint8_t *)scales;
        w.scale_dtype = DTYPE_F32;
        w.block_rows = w.block_cols = 128;
    }
    return w;
}

static double expected(const struct row_kernels *rows, const float *x, const struct matrix *w,
                       size_t row, double *magnitude)
{
    static float values[COLS];
    double sum = 0;
    rows->expand(values, w, row, 0, w->cols);
    rows->round(values, w->cols);
    *magnitude = 0;
    for (size_t c = 0; c < w->cols; c++) {
        sum += (double)values[c] * (double)x[c];
        *magnitude += fabs((double)values[c] * (double)x[c]);
    }
    return sum;
}

/* A lane adds cols / 16 products, and four more sums make one of the lanes. */
static bool near_enough(char *where, const struct row_kernels *rows, bool bf16, const float *out,
                        size_t ldo, const float *x, const struct matrix *w, size_t i)
{
    for (size_t t = 0; t < cases[i].n; t++)
        for (size_t j = 0; j < cases[i].count; j++) {
            double magnitude, got = (double)out[t * ldo + j];
            double sum = expected(rows, x + t * COLS, w, cases[i].first + j, &magnitude);
            double terms = (double)w->cols / (double)DOTS_LANES + 6;
            double bound = terms * 0x1p-24 * magnitude + (bf16 ? fabs(sum) * 0x1p-8 : 0);
            if (fabs(got - sum) <= bound)
                continue;
            snprintf(where, DIFFER_TEXT, "row %zu, column %zu is %g, expected %g", t, j, got, sum);
            return false;
        }
    return true;
}

/* out [n, ldo] = x times rows of w; x is put between guards. */
static void product(const struct kernels *kn, bool bf16, float *out, size_t ldo, const float *x,
                    size_t n, const struct matrix *w, size_t first, size_t count)
{
    const struct dots_ops *ops = kn->dots[bf16];
    size_t bytes = n * ops->row_bytes(ops, w->cols);
    char *arranged = aligned_alloc(64, (bytes + 127) / 64 * 64);
    memset(arranged, 0xFF, (bytes + 127) / 64 * 64);
    ops->arrange(ops, arranged, x, COLS, n, w->cols);
    for (size_t i = bytes; i < (bytes + 127) / 64 * 64; i++)
        if ((uint8_t)arranged[i] != 0xFF)
            check(false, "arrange stays inside its rows", "byte %zu of %zu is written", i, bytes);
    ops->multiply(ops, out, ldo, arranged, n, w, first, count);
    free(arranged);
}

static void test_case(const struct kernels *kn, bool bf16, size_t i)
{
    static float x[DOTS_ROWS * COLS], out[DOTS_ROWS * (ROWS + GUARD)],
                 twin[DOTS_ROWS * (ROWS + GUARD)], one[ROWS];
    const struct row_kernels *scalar = bf16 ? kernels_scalar.rows_bf16 : kernels_scalar.rows;
    struct random r = { i + 1 };
    const struct matrix w = random_weights(&r, cases[i].dtype, cases[i].cols);
    size_t ldo = cases[i].count + GUARD, n = cases[i].n, first = cases[i].first;
    char name[128], where[DIFFER_TEXT] = "";
    for (size_t t = 0; t < n * COLS; t++)
        x[t] = random_normal(&r);
    if (bf16)
        scalar->round_bf16(x, n * COLS);
    for (size_t t = 0; t < n * ldo; t++)
        out[t] = twin[t] = 12345.678f;
    product(kn, bf16, out, ldo, x, n, &w, first, cases[i].count);
    product(&kernels_scalar, bf16, twin, ldo, x, n, &w, first, cases[i].count);
    bool ok = same_f32(where, out, twin, n * ldo)
           && near_enough(where, scalar, bf16, out, ldo, x, &w, i);
    for (size_t t = 0; ok && t < n; t++) {
        product(kn, bf16, one, ROWS, x + t * COLS, 1, &w, first, cases[i].count);
        ok = same_f32(where, one, out + t * ldo, cases[i].count);
    }
    snprintf(name, sizeof name, "%s %s: %s", kn->isa, bf16 ? "bf16" : "f32", cases[i].name);
    check(ok, name, "not the twin's bits, not those of the row alone, or too far: %s", where);
}

/* out [n, cols] += p [n, count] W: the twin's bits, those of one row alone, and of the rows of W in
 * two calls; near the sum in double. */
static void test_weighted(const struct kernels *kn, bool bf16, size_t i)
{
    static float p[DOTS_ROWS * ROWS], out[DOTS_ROWS * COLS], twin[DOTS_ROWS * COLS], one[COLS],
                 value[COLS];
    const struct row_kernels *rows = bf16 ? kn->rows_bf16 : kn->rows;
    const struct row_kernels *scalar = bf16 ? kernels_scalar.rows_bf16 : kernels_scalar.rows;
    struct random r = { i + 100 };
    const struct matrix w = random_weights(&r, cases[i].dtype, cases[i].cols);
    size_t n = cases[i].n, first = cases[i].first, count = cases[i].count;
    char name[128], where[DIFFER_TEXT] = "";
    for (size_t t = 0; t < n * ROWS; t++)
        p[t] = random_uniform(&r);
    for (size_t t = 0; t < n * COLS; t++)
        out[t] = twin[t] = 0.25f;
    rows->add_weighted(out, COLS, p, ROWS, n, &w, first, count);
    scalar->add_weighted(twin, COLS, p, ROWS, n, &w, first, count);
    bool ok = same_f32(where, out, twin, n * COLS);
    for (size_t t = 0; ok && t < n; t++) {
        double sum[COLS], magnitude[COLS];
        for (size_t c = 0; c < w.cols; c++)
            one[c] = 0.25f, sum[c] = magnitude[c] = 0.25;
        for (size_t j = 0; j < count; j++) {
            scalar->expand(value, &w, first + j, 0, w.cols);
            for (size_t c = 0; c < w.cols; c++) {
                sum[c] += (double)p[t * ROWS + j] * (double)value[c];
                magnitude[c] += fabs((double)p[t * ROWS + j] * (double)value[c]);
            }
        }
        rows->add_weighted(one, w.cols, p + t * ROWS, ROWS, 1, &w, first, count / 2);
        rows->add_weighted(one, w.cols, p + t * ROWS + count / 2, ROWS, 1, &w, first + count / 2,
                           count - count / 2);
        ok = same_f32(where, one, out + t * COLS, w.cols);
        for (size_t c = 0; ok && c < w.cols; c++)
            if (fabs((double)one[c] - sum[c]) > (ROWS + 1) * 0x1p-24 * magnitude[c]) {
                snprintf(where, sizeof where, "row %zu, column %zu is %g, expected %g", t, c,
                         (double)one[c], sum[c]);
                ok = false;
            }
    }
    snprintf(name, sizeof name, "%s %s: weighted, %s", kn->isa, bf16 ? "bf16" : "f32",
             cases[i].name);
    check(ok, name, "not the twin's bits, not those of the row alone, or too far: %s", where);
}

int main(void)
{
    for (size_t k = 0; k < sizeof isas / sizeof *isas; k++) {
        const struct kernels *kn = kernels_find(isas[k], NULL);
        for (size_t i = 0; kn && i < sizeof cases / sizeof *cases; i++) {
            test_case(kn, false, i);
            test_case(kn, true, i);
            test_weighted(kn, false, i);
            test_weighted(kn, true, i);
        }
    }
    return check_done();
}
