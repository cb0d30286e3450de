#include "model/linear.h"

#include <omp.h>

/* Packed weights: 16 MB at a time.  Smaller tiles would repack x more often.  The weights need not
 * stay in the cache, since each panel is multiplied with many rows before the next. */
#define WEIGHT_TILE_FLOATS ((size_t)1 << 22)

const struct gemm_ops *linear_gemm(const struct compute *cm)
{
    return cm->kernels->gemm[cm->type];
}

struct row_blocks linear_row_blocks(const struct compute *cm, size_t n, size_t rows)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t threads = (size_t)cm->n_threads, tile = ops->mr(ops), tiles = (n + tile - 1) / tile;
    size_t most = rows / tile * threads;            /* tiles in a round of all threads */
    size_t count = (tiles + most - 1) / most * threads;
    return (struct row_blocks){ n, size_min(count, tiles), tiles, tile };
}

size_t linear_block_begin(const struct row_blocks *b, size_t i)
{
    return size_min(b->n, i * b->tiles / b->count * b->tile);
}

char *linear_scratch_take(struct arena *a, const struct compute *cm)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    return arena_take(a, (size_t)cm->n_threads, ops->scratch_bytes(ops));
}

static char *of_this_thread(const struct gemm_ops *ops, char *scratch)
{
    return scratch + (size_t)omp_get_thread_num() * ops->scratch_bytes(ops);
}

struct packed_b linear_packed_take(struct arena *a, const struct compute *cm,
                                   const struct matrix *w, size_t n)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    return (struct packed_b){ .data = arena_take(a, 1, ops->packed_bytes(ops, n, w->cols)),
                              .n = n, .k = w->cols, .bf16_pairs = ops->takes_bf16_pairs(ops, w) };
}

size_t linear_pack_pieces(const struct weight_slice *b)
{
    return (b->rows + KERNEL_PANEL - 1) / KERNEL_PANEL;
}

void linear_pack_piece(const struct compute *cm, const struct packed_b *to,
                       const struct weight_slice *b, size_t piece, char *scratch)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t first = piece * KERNEL_PANEL;
    ops->pack_weight(ops, to, b, first, size_min(KERNEL_PANEL, b->rows - first),
                     of_this_thread(ops, scratch));
}

void linear_pack_weight(const struct compute *cm, const struct packed_b *to,
                        const struct weight_slice *b, char *scratch)
{
#pragma omp for schedule(static)
    for (size_t i = 0; i < linear_pack_pieces(b); i++)
        linear_pack_piece(cm, to, b, i, scratch);
}

void linear_prefetch_add(struct prefetch *prefetch, const struct matrix *w, size_t first,
                         size_t rows, size_t i, size_t count)
{
    size_t s = prefetch->span[0].bytes > 0, row_bytes = stored_row_bytes(w);
    first = size_min(first, w->rows);
    size_t bytes = size_min(rows, w->rows - first) * row_bytes;
    size_t begin = bytes * i / count, end = bytes * (i + 1) / count;
    prefetch->span[s].at = w->data + first * row_bytes + begin;
    prefetch->span[s].bytes = end - begin;
}

void linear_multiply(const struct compute *cm, float *out, size_t ldo, const float *x, size_t ldx,
                     size_t n, const struct packed_b *w, const struct prefetch *prefetch,
                     char *scratch)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    ops->multiply(ops, &(struct gemm){
        .c = out, .ldc = ldo, .a = x, .stride_rows = ldx, .stride_k = 1, .packed = w->data,
        .bf16_pairs = w->bf16_pairs, .m = n, .n = w->n, .k = w->k,
        .scratch = of_this_thread(ops, scratch), .prefetch = prefetch });
    for (size_t i = 0; cm->type == COMPUTE_BF16 && i < n; i++)
        cm->kernels->rows_bf16->round(out + i * ldo, w->n);
}

/* Rows of a weight that are packed at once, in whole panels; a few even of the widest. */
static size_t rows_at_once(size_t rows, size_t cols)
{
    size_t most = WEIGHT_TILE_FLOATS / (cols ? cols : 1) / KERNEL_PANEL * KERNEL_PANEL;
    return size_min(size_max(most, 2 * KERNEL_PANEL), rows);
}

struct linear_buffers linear_buffers_take(struct arena *a, const struct compute *cm,
                                          const struct linear_shape *shapes, size_t n)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t packed_bytes = 0, cols = 0;
    for (size_t i = 0; i < n; i++)
        cols = size_max(cols, shapes[i].cols);
    if (cm->few_rows)
        return (struct linear_buffers){ .few = linear_few_rows_take(a, cm, cols) };
    for (size_t i = 0; i < n; i++) {
        size_t rows = rows_at_once(shapes[i].rows, shapes[i].cols);
        packed_bytes = size_max(packed_bytes, ops->packed_bytes(ops, rows, shapes[i].cols));
    }
    return (struct linear_buffers){ .scratch = linear_scratch_take(a, cm),
                                    .packed = arena_take(a, 1, packed_bytes) };
}

/* ---- a few rows -------------------------------------------------------------- */

struct thread_buffers linear_few_rows_take(struct arena *a, const struct compute *cm, size_t cols)
{
    const struct dots_ops *dots = cm->kernels->dots[cm->type];
    return thread_buffers_take(a, cm->n_threads, DOTS_ROWS, dots->row_bytes(dots, cols));
}

/* Rows of w for one thread at a time: some 64 KB, so that large weights go in few turns, but a
 * share of small ones for each thread. */
static size_t few_rows_step(const struct compute *cm, const struct matrix *w)
{
    size_t most = ((size_t)64 << 10) / size_max(stored_row_bytes(w), 1);
    size_t share = (w->rows + (size_t)cm->n_threads - 1) / (size_t)cm->n_threads;
    return size_max(1, size_min(most, share));
}

void linear_few_rows(const struct compute *cm, const struct thread_buffers *few, float *out,
                     size_t ldo, const float *x, size_t ldx, size_t n, const struct matrix *w)
{
    const struct dots_ops *dots = cm->kernels->dots[cm->type];
    size_t step = few_rows_step(cm, w);
    char *own = thread_buffer(few);
    for (size_t t = 0; t < n; t += DOTS_ROWS) {
        size_t rows = size_min(n - t, DOTS_ROWS);
        dots->arrange(dots, own, x + t * ldx, ldx, rows, w->cols);
#pragma omp for schedule(dynamic) nowait
        for (size_t first = 0; first < w->rows; first += step)
            dots->multiply(dots, out + t * ldo + first, ldo, own, rows, w, first,
                           size_min(step, w->rows - first));
    }
}

/* ---- all rows ------------------------------------------------------------------ */

void linear_forward(const struct compute *cm, const struct linear_buffers *b, float *out,
                    size_t ldo, const float *x, size_t ldx, size_t n, const struct matrix *w)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    const struct row_blocks blocks = linear_row_blocks(cm, n, KERNEL_ROWS);
    size_t step = rows_at_once(w->rows, w->cols);
    struct packed_b packed = { .data = b->packed, .k = w->cols,
                               .bf16_pairs = ops->takes_bf16_pairs(ops, w) };
    if (n == 0)
        return;
    if (cm->observer)
        cm->observer->observe(cm->observer->user, w, x, ldx, n, cm->n_threads);
    if (cm->few_rows) {
#pragma omp parallel num_threads(cm->n_threads)
        linear_few_rows(cm, &b->few, out, ldo, x, ldx, n, w);
        return;
    }
    for (size_t first = 0; first < w->rows; first += step) {
        packed.n = size_min(step, w->rows - first);
        const struct weight_slice slice = { w, first, packed.n, 0 };
#pragma omp parallel num_threads(cm->n_threads)
        {
            linear_pack_weight(cm, &packed, &slice, b->scratch);
#pragma omp for schedule(dynamic)
            for (size_t i = 0; i < blocks.count; i++) {
                size_t t = linear_block_begin(&blocks, i),
                       rows = linear_block_begin(&blocks, i + 1) - t;
                struct prefetch prefetch = { 0 };
                linear_prefetch_add(&prefetch, w, first + step, step, i, blocks.count);
                linear_multiply(cm, out + t * ldo + first, ldo, x + t * ldx, ldx, rows, &packed,
                                &prefetch, b->scratch);
            }
        }
    }
}
