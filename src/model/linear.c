#include "model/linear.h"

/* Tokens a product: enough that OpenBLAS's own packing of the weights is a small part. */
#define TOKEN_BLOCK ((size_t)512)
/* Expanded weights: 2 MB at a time stay in the cache that the threads share. */
#define WEIGHT_TILE_FLOATS ((size_t)1 << 19)

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void expand_matrix(const struct compute *cm, float *out, const struct matrix *w)
{
    const struct kernels *kn = cm->kernels;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t row = 0; row < w->rows; row++)
        kn->expand_row(out + row * w->cols, w, row);
}

/* Rows of a weight that are expanded at once; at least 64, so that wide layers work too. */
static size_t tile_rows_of(const struct matrix *w)
{
    size_t rows = WEIGHT_TILE_FLOATS / (w->cols ? w->cols : 1);
    return smaller(rows < 64 ? 64 : rows, w->rows);
}

void linear(const struct compute *cm, float *out, size_t ldo, const float *x, size_t ldx,
            size_t n, const struct matrix *w)
{
    const struct kernels *kn = cm->kernels;
    size_t step = tile_rows_of(w), mark = cm->arena->used;
    float *tile = arena_take(cm->arena, step * w->cols, sizeof *tile);
    /* Few tokens are split finer, or one thread would have them all. */
    size_t block = n >= 4 * TOKEN_BLOCK ? TOKEN_BLOCK : n >= 512 ? n / 4 : 128;
    for (size_t first = 0; tile && first < w->rows; first += step) {
        size_t rows = smaller(step, w->rows - first);
#pragma omp parallel num_threads(cm->n_threads)
        {
#pragma omp for schedule(static)
            for (size_t r = 0; r < rows; r++)
                kn->expand_row(tile + r * w->cols, w, first + r);
#pragma omp for schedule(dynamic)
            for (size_t t = 0; t < n; t += block)
                kn->gemm(&(struct gemm){ .form = GEMM_NT, .m = smaller(block, n - t), .n = rows,
                                         .k = w->cols, .c = out + t * ldo + first, .ldc = ldo,
                                         .a = x + t * ldx, .lda = ldx, .b = tile,
                                         .ldb = w->cols }, kn);
        }
    }
    cm->arena->used = mark;
}
