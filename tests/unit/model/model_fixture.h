/* model_fixture.h - random weights in memory for tests of the model: no files needed. */
#ifndef SURPRISAL_TESTS_MODEL_FIXTURE_H
#define SURPRISAL_TESTS_MODEL_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "formats/weights.h"
#include "model/compute.h"
#include "tests/random.h"

/* Gives [rows, cols] of normal numbers times scale as F32; released with free((void *)m.data). */
__attribute__((unused))
static struct matrix random_matrix(struct random *r, size_t rows, size_t cols, float scale)
{
    float *x = malloc(rows * cols * sizeof *x);
    for (size_t i = 0; i < rows * cols; i++)
        x[i] = scale * random_normal(r);
    return (struct matrix){ .dtype = DTYPE_F32, .data = (const uint8_t *)x, .rows = rows, .cols = cols };
}

__attribute__((unused))
static float matrix_at(const struct matrix *m, size_t row, size_t col)
{
    float x;
    memcpy(&x, m->data + (row * m->cols + col) * sizeof x, sizeof x);
    return x;
}

/* y [rows] = M x in double. */
__attribute__((unused))
static void matrix_times(double *y, const struct matrix *m, const double *x)
{
    for (size_t i = 0; i < m->rows; i++) {
        y[i] = 0;
        for (size_t j = 0; j < m->cols; j++)
            y[i] += (double)matrix_at(m, i, j) * x[j];
    }
}

/* A batch of windows with these lengths; start is released with free. */
__attribute__((unused))
static struct batch batch_of(const size_t *lengths, size_t n)
{
    size_t *start = calloc(n + 1, sizeof *start);
    struct batch b = { .n_windows = n, .start = start };
    for (size_t i = 0; i < n; i++) {
        start[i + 1] = start[i] + lengths[i];
        b.longest = lengths[i] > b.longest ? lengths[i] : b.longest;
    }
    b.n_tokens = start[n];
    return b;
}

/* 256 MB of scratch: more than any test needs; arena_free releases it. */
__attribute__((unused))
static struct arena test_arena(void)
{
    struct arena a = { .peak = (size_t)256 << 20 };
    if (!arena_allocate(&a, NULL))
        abort();
    return a;
}

#endif
