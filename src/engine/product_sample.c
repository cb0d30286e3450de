#include "engine/product_sample.h"

#include <omp.h>

#include "base/memory.h"
#include "engine/mixer_sample.h"
#include "engine/stopwatch.h"
#include "model/linear.h"

/* Columns of the narrower product, in which packing x is most of the work, and of the wider one. */
#define NARROW KERNEL_PANEL
#define WIDE   (10 * KERNEL_PANEL)

struct sample {
    const struct compute *cm;
    const struct matrix *w;
    size_t n, rows, most;           /* columns; rows in all; rows of a block, at most */
    float *x, *out;
    struct packed_b packed;
    struct thread_buffers own;      /* a piece of the weight, packed by one thread */
    char *scratch;
};

size_t product_sample_weight_rows(const struct matrix *w)
{
    return size_min(w->rows, WIDE);
}

static void take(struct sample *s, struct arena *a)
{
    const struct gemm_ops *ops = linear_gemm(s->cm);
    size_t k = s->w->cols, wide = product_sample_weight_rows(s->w);
    s->x = arena_take(a, s->rows, k * sizeof *s->x);
    s->out = arena_take(a, s->rows, wide * sizeof *s->out);
    s->packed = linear_packed_take(a, s->cm, s->w, wide);
    s->own = thread_buffers_take(a, s->cm->n_threads, 1, ops->packed_bytes(ops, NARROW, k));
    s->scratch = linear_scratch_take(a, s->cm);
}

/* Each thread packs a piece of the weight for itself. */
static void pack(void *user)
{
    const struct sample *s = user;
    size_t pieces = size_max(1, s->n / NARROW), rows = size_min(s->n, NARROW);
#pragma omp parallel num_threads(s->cm->n_threads)
    {
        struct packed_b own = s->packed;
        own.data = thread_buffer(&s->own);
        own.n = rows;
        size_t piece = (size_t)omp_get_thread_num() % pieces;
        linear_pack_piece(s->cm, &own, &(struct weight_slice){ s->w, piece * NARROW, rows, 0 }, 0,
                          s->scratch);
    }
}

static void multiply(void *user)
{
    const struct sample *s = user;
    const struct row_blocks blocks = linear_row_blocks(s->cm, s->rows, s->most);
    size_t k = s->w->cols;
    struct packed_b packed = s->packed;
    packed.n = s->n;
#pragma omp parallel for num_threads(s->cm->n_threads) schedule(dynamic)
    for (size_t i = 0; i < blocks.count; i++) {
        size_t t = linear_block_begin(&blocks, i), rows = linear_block_begin(&blocks, i + 1) - t;
        linear_multiply(s->cm, s->out + t * s->n, s->n, s->x + t * k, k, rows, &packed, NULL,
                        s->scratch);
    }
}

/* The first n columns are packed; seconds of the product with them. */
static double time_columns(struct sample *s, size_t n, double seconds)
{
    s->n = n;
    const struct weight_slice slice = { s->w, 0, n, 0 };
    struct packed_b packed = s->packed;
    packed.n = n;
#pragma omp parallel num_threads(s->cm->n_threads)
    linear_pack_weight(s->cm, &packed, &slice, s->scratch);
    multiply(s);
    return stopwatch_round(multiply, s, seconds);
}

/* In rounds that alternate: their difference counts, so both need the same conditions. */
static void time_both(struct sample *s, double *narrow, double *wide, double seconds)
{
    size_t most = product_sample_weight_rows(s->w);
    struct stopwatch_agreement a = { .seconds = seconds }, b = a;
    for (bool done = false; !done;) {
        done = stopwatch_agreed(&a, time_columns(s, size_min(most, NARROW), seconds));
        if (most > NARROW)
            done = stopwatch_agreed(&b, time_columns(s, most, seconds)) && done;
    }
    *narrow = a.best;
    *wide = b.best;
}

static void measure(struct product_sample *out, struct sample *s, double seconds)
{
    size_t wide = product_sample_weight_rows(s->w), narrow = size_min(wide, NARROW);
    double inputs = (double)s->rows * (double)s->w->cols, of_narrow, of_wide;
    time_both(s, &of_narrow, &of_wide, seconds);
    *out = (struct product_sample){ .flop = of_narrow / (2 * inputs * (double)narrow) };
    if (wide > narrow) {
        double more = of_wide - of_narrow;
        out->flop = more / (2 * inputs * (double)(wide - narrow));
        out->input_value = of_narrow / inputs - 2 * (double)narrow * out->flop;
        if (more <= 0 || out->input_value < 0) {    /* other work on the machine was timed, too */
            out->flop = of_wide / (2 * inputs * (double)wide);
            out->input_value = 0;
        }
    }
    pack(s);
    out->weight_value = stopwatch_confirmed(pack, s, seconds)
                      / ((double)s->cm->n_threads * (double)size_min(s->n, NARROW)
                         * (double)s->w->cols);
}

/* Fewer rows where the kernels are slow. */
#define CALL_SECONDS 6e-3
#define FIRST_ROWS   ((size_t)12)

static size_t rows_in_time(struct sample *s)
{
    size_t rows = s->rows;
    s->rows = size_min(rows, FIRST_ROWS * (size_t)s->cm->n_threads);
    double wide = (double)product_sample_weight_rows(s->w) / (double)NARROW;
    double a_row = time_columns(s, size_min(s->w->rows, NARROW), 0) * wide / (double)s->rows;
    double most = CALL_SECONDS / a_row;
    return most < (double)rows ? size_max(s->rows, (size_t)most) : rows;
}

bool product_sample_time(struct product_sample *out, const struct compute *cm,
                         const struct workload_product *p, size_t rows, double seconds,
                         struct error *err)
{
    struct arena arena = { 0 };
    size_t threads = (size_t)cm->n_threads;
    struct sample s = { .cm = cm, .w = p->w,
                        .rows = size_max(1, size_min(p->rows, rows * threads)),
                        .most = p->place == WORKLOAD_HEAD ? KERNEL_ROWS / 2 : KERNEL_ROWS };
    *out = (struct product_sample){ 0 };
    if (p->w->rows == 0 || p->w->cols == 0)
        return true;
    take(&s, &arena);
    if (!arena_allocate(&arena, err))
        return false;
    take(&s, &arena);
    mixer_sample_fill(s.x, s.rows * p->w->cols);
    s.rows = rows_in_time(&s);
    measure(out, &s, seconds);
    arena_free(&arena);
    return true;
}
