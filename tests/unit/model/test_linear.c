/* Linear layers against sums in double: every way in which a weight is stored, odd sizes, many rows
 * and wide weights; and how work is cut. */
#include "model/linear.h"

#include "base/bf16.h"
#include "tests/differ.h"
#include "tests/isas.h"
#include "tests/unit/model/model_fixture.h"

/* ---- weights ------------------------------------------------------------------ */

/* Uniform in [-1, 1): quick, as some weights are large. */
static void fill(struct random *r, float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = 2 * random_uniform(r) - 1;
}

/* A stored weight and its values. */
struct stored {
    struct matrix w;
    uint8_t *data, *scale;
    float *values;                  /* [rows, cols] */
};

/* cols is a multiple of 32 for MXFP4. */
static struct stored store(struct random *r, enum dtype dtype, size_t rows, size_t cols)
{
    size_t n = rows * cols;
    struct stored s = { .data = malloc(4 * n), .scale = malloc(n / MXFP4_BLOCK + 1),
                        .values = malloc(n * sizeof(float)) };
    s.w = (struct matrix){ .dtype = dtype,
                           .data = s.data,
                           .scale = dtype == DTYPE_MXFP4 ? s.scale : NULL,
                           .rows = rows,
                           .cols = cols };
    fill(r, s.values, n);
    for (size_t i = 0; i < n; i++)
        if (dtype == DTYPE_BF16) {
            uint16_t half = bf16_of(s.values[i]);
            memcpy(s.data + 2 * i, &half, sizeof half);
        } else if (dtype == DTYPE_F16) { /* 0 or a power of two from 2^-3 to 2^3, and a sign */
            uint16_t half = (uint16_t)((random_bits(r) & 0x8000) | (12 + random_below(r, 7)) << 10);
            memcpy(s.data + 2 * i, &half, sizeof half);
        } else if (dtype == DTYPE_F32)
            memcpy(s.data + 4 * i, &s.values[i], sizeof(float));
        else if (i % 2)
            s.data[i / 2] = (uint8_t)random_bits(r);
    for (size_t i = 0; i < n / MXFP4_BLOCK; i++)
        s.scale[i] = (uint8_t)(120 + random_below(r, 8));
    for (size_t row = 0; row < rows; row++)     /* its own test: tests/unit/kernels/test_expand.c */
        kernels_scalar.rows->expand(s.values + row * cols, &s.w, row, 0, cols);
    return s;
}

static void stored_free(struct stored *s)
{
    free(s->data), free(s->scale), free(s->values);
}

/* ---- the product ---------------------------------------------------------------- */

static const struct {
    const char *name;
    enum dtype dtype;
    size_t n, rows, cols;
} cases[] = {
    { "one by one",                      DTYPE_F32,   1,   1,  1 },
    { "odd sizes, F32",                  DTYPE_F32,   7,   45, 77 },
    { "odd sizes, BF16",                 DTYPE_BF16,  7,   45, 77 },
    { "odd sizes, F16",                  DTYPE_F16,   7,   45, 77 },
    { "odd sizes, MXFP4",                DTYPE_MXFP4, 7,   45, 96 },
    { "whole panels",                    DTYPE_BF16,  12,  64, 64 },
    { "more rows than are multiplied at a time", DTYPE_F32, 2 * KERNEL_ROWS + 1, 33, 19 },
    { "more columns than are packed at a time",  DTYPE_BF16, 2, 67, 43801 },
    { "no rows",                         DTYPE_F32,   0,   5,  6 },
};

/* expected, each [n, ldo]: between the rows what stood there before. */
static void truth(double *expected, double *each, const float *x, size_t ldx, const float *values,
                  size_t n, size_t rows, size_t cols, size_t ldo, bool bf16)
{
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < ldo; i++) {
            double sum = i < rows ? 0 : 7, magnitude = 0;
            for (size_t j = 0; i < rows && j < cols; j++) {
                double product = (double)x[t * ldx + j] * (double)values[i * cols + j];
                sum += product;
                magnitude += fabs(product);
            }
            /* Sums of k products in f32, in any order, are within k 2^-24 of the sum of the
             * absolute ones (Higham, 3.1); twice that for BF16 dots, as in test_kernels.c.  In BF16
             * compute the result is rounded: 2^-8 of it. */
            double bound = 2 * (double)(cols + 1) * 0x1p-24 * magnitude;
            expected[t * ldo + i] = sum;
            each[t * ldo + i] = bound + (bf16 ? 0x1p-8 * (fabs(sum) + bound) : 0);
        }
}

/* What the layer's observer is shown. */
struct seen {
    size_t calls, n;
    const struct matrix *w;
    const float *x;
};

static void observe(void *user, const struct matrix *w, const float *x, size_t ldx, size_t n,
                    int n_threads)
{
    (void)ldx, (void)n_threads;
    struct seen *seen = user;
    *seen = (struct seen){ seen->calls + 1, n, w, x };
}

/* One layer, in exactly the buffers that were measured. */
static void one_layer(const struct kernels *kn, enum compute_type type, size_t k, struct random *r)
{
    size_t n = cases[k].n, rows = cases[k].rows, cols = cases[k].cols, ldx = cols + 3,
           ldo = rows + 2;
    bool bf16 = type == COMPUTE_BF16;
    struct stored s = store(r, cases[k].dtype, rows, cols);
    float *x = malloc((n * ldx + 1) * sizeof *x), *out = malloc((n * ldo + 1) * sizeof *out);
    double *expected = malloc((n * ldo + 1) * sizeof *expected),
           *each = malloc((n * ldo + 1) * sizeof *each);
    struct seen seen = { 0 };
    const struct input_observer observer = { observe, &seen };
    struct arena arena = { 0 };
    const struct compute cm = {
        .kernels = kn, .type = type, .n_threads = 2, .observer = &observer
    };
    fill(r, x, n * ldx);
    for (size_t i = 0; i < n * ldo; i++)
        out[i] = 7;
    if (bf16) {
        kernels_scalar.rows->round_bf16(x, n * ldx);
        kernels_scalar.rows->round_bf16(s.values, rows * cols);     /* what weights count as */
    }
    truth(expected, each, x, ldx, s.values, n, rows, cols, ldo, bf16);
    const struct linear_shape shape = { rows, cols };
    linear_buffers_take(&arena, &cm, &shape, 1);        /* measures */
    bool ok = arena_allocate(&arena, NULL);
    char name[160], where[DIFFER_TEXT] = "";
    if (ok) {
        const struct linear_buffers buffers = linear_buffers_take(&arena, &cm, &shape, 1);
        linear_forward(&cm, &buffers, out, ldo, x, ldx, n, &s.w);
    }
    snprintf(name, sizeof name, "%s %s: %s", kn->isa, kernels_compute_name(type), cases[k].name);
    bool near = ok && near_each_f32(where, out, expected, each, n * ldo);
    for (size_t i = 0; bf16 && i < n * ldo; i++)        /* near, and BF16 values */
        expected[i] = (double)bf16_value(bf16_of(out[i]));
    check(near && (!bf16 || near_f32(where, out, expected, n * ldo, 1e-30)), name, "%s", where);
    bool observed = seen.calls == (n > 0)
                 && (!n || (seen.n == n && seen.x == x && seen.w == &s.w));
    check(observed, "the observer gets its input once", "%zu calls", seen.calls);
    stored_free(&s);
    free(x), free(out), free(expected), free(each);
    arena_free(&arena);
}

/* ---- how work is cut ------------------------------------------------------------------ */

/* Blocks of whole tiles, one behind the other, from row 0 to n, at most `rows` each. */
static void test_blocks(const struct kernels *kn)
{
    static const struct { const char *name; size_t n, rows; int threads; } blocks[] = {
        { "no rows are no block", 0, KERNEL_ROWS, 2 }, { "one row", 1, KERNEL_ROWS, 4 },
        { "a block and one row", KERNEL_ROWS + 1, KERNEL_ROWS, 1 }, { "many threads", 1000,
          KERNEL_ROWS, 7 },
        { "small blocks", 1000, KERNEL_ROWS / 2, 3 }, { "fewer rows than threads", 5, KERNEL_ROWS,
          64 },
    };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        const struct compute cm = { .kernels = kn, .n_threads = blocks[i].threads };
        size_t step = linear_gemm(&cm)->mr(linear_gemm(&cm)), wrong = 0;
        struct row_blocks b = linear_row_blocks(&cm, blocks[i].n, blocks[i].rows);
        for (size_t k = 0; k < b.count; k++) {
            size_t from = linear_block_begin(&b, k), to = linear_block_begin(&b, k + 1);
            wrong += from >= to || to - from > blocks[i].rows || from % step || (k == 0 && from);
        }
        char name[96];
        snprintf(name, sizeof name, "%s blocks: %s", kn->isa, blocks[i].name);
        size_t end = b.count ? linear_block_begin(&b, b.count) : 0;
        check(!wrong && end == blocks[i].n, name, "%zu of %zu blocks, the end at %zu", wrong,
              b.count, end);
    }
}

/* Shares of rows to come, of a weight of 10 rows of 3 values. */
static void test_soon(void)
{
    static const uint8_t data[120];
    static const struct {
        const char *name; size_t first, rows, i, count, begin, bytes;
    } shares[] = {
        { "all rows in one share", 0, 10, 0, 1, 0, 120 },
        { "the first half of two rows", 4, 2, 0, 2, 48, 12 },
        { "the second half", 4, 2, 1, 2, 60, 12 },
        { "rows that are not there are left out", 8, 5, 0, 1, 96, 24 },
        { "none of them there", 10, 5, 0, 1, 120, 0 },
        { "far behind the end", 99, 5, 2, 3, 120, 0 },
    };
    const struct matrix w = { .dtype = DTYPE_F32, .data = data, .rows = 10, .cols = 3 };
    for (size_t k = 0; k < sizeof shares / sizeof *shares; k++) {
        struct prefetch prefetch = { 0 };
        linear_prefetch_add(&prefetch, &w, shares[k].first, shares[k].rows, shares[k].i,
                            shares[k].count);
        check(prefetch.span[0].at == data + shares[k].begin
                  && prefetch.span[0].bytes == shares[k].bytes,
              shares[k].name, "%zu bytes", prefetch.span[0].bytes);
    }
    struct prefetch prefetch = { 0 };
    linear_prefetch_add(&prefetch, &w, 0, 1, 0, 1);
    linear_prefetch_add(&prefetch, &w, 1, 1, 0, 1);
    check(prefetch.span[0].at == data && prefetch.span[1].at == data + 12,
          "a second weight has the second place", "%zu bytes", prefetch.span[1].bytes);
}

/* ---- a few rows ------------------------------------------------------------------ */

static struct linear_buffers few_rows_buffers(struct arena *a, const struct compute *cm,
                                              const struct matrix *w)
{
    const struct linear_shape shape = { w->rows, w->cols };
    *a = (struct arena){ 0 };
    linear_buffers_take(a, cm, &shape, 1);
    struct error err = { 0 };
    if (!arena_allocate(a, &err)) {
        check(false, "memory for a few rows", "%s", err.message);
        exit(check_done());
    }
    return linear_buffers_take(a, cm, &shape, 1);
}

/* Rows together, by several threads, have the bits of each alone by one. */
static void test_few_rows(const struct kernels *kn, enum dtype dtype, enum compute_type type)
{
    enum { MOST = 67, ROWS = 45, COLS = 608, LDX = COLS + 3 };
    static float x[MOST * LDX], alone[MOST * ROWS], together[MOST * ROWS];
    static const size_t counts[] = { 1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, MOST };
    const struct config config = { .num_hidden_layers = 1 };
    struct compute cm = { .config = &config, .kernels = kn, .type = type, .n_threads = 1,
                          .few_rows = true };
    struct random r = { 3 };
    struct stored s = store(&r, dtype, ROWS, COLS);
    struct arena arena;
    char name[128], where[DIFFER_TEXT] = "";
    fill(&r, x, MOST * LDX);
    if (type == COMPUTE_BF16)
        kn->rows->round_bf16(x, MOST * LDX);
    struct linear_buffers b = few_rows_buffers(&arena, &cm, &s.w);
    for (size_t t = 0; t < MOST; t++)
        linear_forward(&cm, &b, alone + t * ROWS, ROWS, x + t * LDX, LDX, 1, &s.w);
    arena_free(&arena);
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof counts / sizeof *counts; i++) {
        cm.n_threads = (int)(1 + i % 3);
        b = few_rows_buffers(&arena, &cm, &s.w);
        linear_forward(&cm, &b, together, ROWS, x, LDX, counts[i], &s.w);
        ok = same_f32(where, together, alone, counts[i] * ROWS);
        arena_free(&arena);
    }
    snprintf(name, sizeof name, "%s %s: 1 to %d rows of %s are those of each alone", kn->isa,
             kernels_compute_name(type), MOST, dtype_name(dtype));
    check(ok, name, "%s", where);
    stored_free(&s);
}

int main(void)
{
    for (size_t i = 0; i < N_ISAS; i++) {
        struct error err = { 0 };
        struct random r = { 9 };
        const struct kernels *kn = kernels_find(isas[i], &err);
        if (!kn) {
            check_skip(isas[i], err.message);
            continue;
        }
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
            for (int type = 0; type < COMPUTE_TYPES; type++)
                one_layer(kn, (enum compute_type)type, k, &r);
        for (int type = 0; type < COMPUTE_TYPES; type++) {
            test_few_rows(kn, DTYPE_BF16, (enum compute_type)type);
            test_few_rows(kn, DTYPE_MXFP4, (enum compute_type)type);
            test_few_rows(kn, DTYPE_F32, (enum compute_type)type);
        }
        test_blocks(kn);
    }
    test_soon();
    return check_done();
}
