#include "model/linear.h"

#include <omp.h>

/* Packed weights: 4 MB at a time stay in the cache that the threads share. */
#define WEIGHT_TILE_FLOATS ((size_t)1 << 20)

struct product_scratch product_scratch_take(const struct compute *cm, size_t widest)
{
    size_t threads = (size_t)cm->n_threads;
    struct product_scratch s = { .widest = widest,
                                 .scratch_floats = cm->kernels->scratch_floats(cm->kernels) };
    s.expanded = arena_take(cm->arena, threads * KERNEL_PANEL, widest * sizeof *s.expanded);
    s.scratch = arena_take(cm->arena, threads, s.scratch_floats * sizeof *s.scratch);
    return s;
}

void pack_weight_rows(const struct compute *cm, float *packed, const struct matrix *w,
                      size_t first, size_t rows, const struct product_scratch *s)
{
    const struct kernels *kn = cm->kernels;
    float *expanded = s->expanded + (size_t)omp_get_thread_num() * KERNEL_PANEL * s->widest;
#pragma omp for schedule(static)
    for (size_t j = 0; j < rows; j += KERNEL_PANEL) {
        size_t count = size_min(KERNEL_PANEL, rows - j);
        for (size_t i = 0; i < count; i++)
            kn->expand_row(expanded + i * w->cols, w, first + j + i);
        kn->pack(kn, packed, &(struct operand){ expanded, 1, w->cols, rows, w->cols }, j, count);
    }
}

void multiply_packed(const struct compute *cm, float *out, size_t ldo, const float *x, size_t ldx,
                     size_t n, const float *packed, size_t rows, size_t k,
                     const struct product_scratch *s)
{
    cm->kernels->multiply(cm->kernels, &(struct product){
        .c = out, .ldc = ldo, .a = x, .step_m = ldx, .step_k = 1, .packed = packed, .m = n,
        .n = rows, .k = k,
        .scratch = s->scratch + (size_t)omp_get_thread_num() * s->scratch_floats });
}

/* Rows of a weight that are packed at once, in whole panels; a few even of the widest. */
static size_t rows_at_once(const struct matrix *w)
{
    size_t rows = WEIGHT_TILE_FLOATS / (w->cols ? w->cols : 1) / KERNEL_PANEL * KERNEL_PANEL;
    return size_min(rows < 2 * KERNEL_PANEL ? 2 * KERNEL_PANEL : rows, w->rows);
}

void linear(const struct compute *cm, float *out, size_t ldo, const float *x, size_t ldx,
            size_t n, const struct matrix *w)
{
    const struct kernels *kn = cm->kernels;
    size_t step = rows_at_once(w), mark = cm->arena->used;
    struct product_scratch scratch = product_scratch_take(cm, w->cols);
    float *packed = arena_take(cm->arena, kn->packed_floats(kn, step, w->cols), sizeof *packed);
    for (size_t first = 0; packed && first < w->rows; first += step) {
        size_t rows = size_min(step, w->rows - first);
#pragma omp parallel num_threads(cm->n_threads)
        {
            pack_weight_rows(cm, packed, w, first, rows, &scratch);
#pragma omp for schedule(dynamic)
            for (size_t t = 0; t < n; t += KERNEL_ROWS)
                multiply_packed(cm, out + t * ldo + first, ldo, x + t * ldx, ldx,
                                size_min(KERNEL_ROWS, n - t), packed, rows, w->cols, &scratch);
        }
    }
    cm->arena->used = mark;
}
