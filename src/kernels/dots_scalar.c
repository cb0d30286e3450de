/* dots_scalar.c - the definition of the product of a few rows: plain loops in the order of
 * dots.h. */
#include <math.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "kernels/dots.h"
#include "kernels/rows.h"

static size_t row_bytes(const struct dots_ops *ops, size_t cols)
{
    (void)ops;
    return cols * sizeof(float);
}

static void arrange(const struct dots_ops *ops, void *to, const float *x, size_t ldx, size_t n,
                    size_t cols)
{
    (void)ops;
    float *row = to;
    for (size_t t = 0; t < n; t++)
        for (size_t c = 0; c < cols; c++)
            row[t * cols + c] = x[t * ldx + c];
}

/* Adds a block of n columns; those up to DOTS_BLOCK are zeros. */
static void add_block(const struct dots_ops *ops, float sum[DOTS_LANES], const float *x,
                      const struct matrix *w, size_t row, size_t c, size_t n)
{
    float value[DOTS_BLOCK] = { 0 }, at[DOTS_BLOCK] = { 0 };
    ops->rows->expand(value, w, row, c, n);
    if (ops->rounds)
        ops->rows->round_bf16(value, n);
    for (size_t i = 0; i < n; i++)
        at[i] = x[c + i];
    for (size_t i = 0; i < DOTS_LANES; i++) {
        sum[i] = fmaf(value[2 * i + 1], at[2 * i + 1], sum[i]);
        sum[i] = fmaf(value[2 * i], at[2 * i], sum[i]);
    }
}

static float dot(const struct dots_ops *ops, const float *x, const struct matrix *w, size_t row)
{
    float sum[DOTS_LANES] = { 0 };
    for (size_t c = 0; c < w->cols; c += DOTS_BLOCK)
        add_block(ops, sum, x, w, row, c, size_min(DOTS_BLOCK, w->cols - c));
    for (size_t half = DOTS_LANES / 2; half > 0; half /= 2)
        for (size_t i = 0; i < half; i++)
            sum[i] += sum[i + half];
    return ops->rounds ? bf16_value(bf16_of(sum[0])) : sum[0];
}

static void multiply(const struct dots_ops *ops, float *out, size_t ldo, const void *x, size_t n,
                     const struct matrix *w, size_t first, size_t count)
{
    const float *row = x;
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < count; i++)
            out[t * ldo + i] = dot(ops, row + t * w->cols, w, first + i);
}

const struct dots_ops dots_scalar = {
    .rows = &row_kernels_scalar, .row_bytes = row_bytes, .arrange = arrange, .multiply = multiply,
};

const struct dots_ops dots_scalar_bf16 = {
    .rows = &row_kernels_scalar, .rounds = true, .row_bytes = row_bytes, .arrange = arrange,
    .multiply = multiply,
};
