/* Products of a few rows, as decoding has them: every weight comes from memory, is decoded and
 * meets all rows at once.  Weights of one width stand for all shapes. */
#include <string.h>

#include "bench/bench_work.h"
#include "kernels/mxfp4.h"
#include "kernels/stored.h"
#include "model/linear.h"

#define COLS ((size_t)2048)
/* What a call multiplies; calls walk through a pool that no cache holds. */
#define PIECE_BYTES ((size_t)16 << 20)

static const size_t row_counts[] = { 1, 4, 8, DOTS_ROWS };
static const enum dtype formats[] = { DTYPE_BF16, DTYPE_F32, DTYPE_F16, DTYPE_FP8, DTYPE_MXFP4 };
enum { COUNTS = sizeof row_counts / sizeof *row_counts, SIDE_OF_BLOCK = 128, SCALE_BYTE = 120,
       FORMATS = sizeof formats / sizeof *formats };

struct few_work {
    struct compute cm;
    struct matrix w;                /* the piece of this call */
    uint8_t *pool, *scale;
    size_t pool_bytes, at;          /* at: the next piece in the pool */
    size_t n;                       /* rows of x */
    float *x, *out;
    struct linear_buffers linear;
};

static size_t scale_bytes(const struct few_work *p)
{
    return p->pool_bytes / (mxfp4_block_size() / 2);
}

/* From the start of an arena that may only measure. */
static void take(struct few_work *p, struct arena *a)
{
    size_t most_rows = PIECE_BYTES / (COLS / 2);                /* MXFP4 */
    const struct linear_shape shape = { most_rows, COLS };
    a->used = 0;
    p->pool = arena_take(a, p->pool_bytes, 1);
    p->scale = arena_take(a, scale_bytes(p), 1);
    p->x = arena_take(a, DOTS_ROWS * COLS, sizeof *p->x);
    p->out = arena_take(a, DOTS_ROWS * most_rows, sizeof *p->out);
    p->linear = linear_buffers_take(a, &p->cm, &shape, 1);
}

/* Halves that are finite and not denormal as BF16, F16, the upper half of an F32, or two FP8. */
static void fill(struct few_work *p)
{
    for (size_t i = 0; i + 2 <= p->pool_bytes; i += 2) {
        uint16_t half = (uint16_t)((i * 40503 >> 3 & 0x803F) | 0x3C00);
        memcpy(p->pool + i, &half, sizeof half);
    }
    memset(p->scale, SCALE_BYTE, scale_bytes(p));
    bench_fill(p->x, DOTS_ROWS * COLS);
}

static void multiply(void *user)
{
    struct few_work *p = user;
    size_t bytes = p->w.rows * stored_row_bytes(&p->w);
    p->w.data = p->pool + p->at;
    p->at = p->at + 2 * bytes <= p->pool_bytes ? p->at + bytes : 0;
    linear_forward(&p->cm, &p->linear, p->out, p->w.rows, p->x, COLS, p->n, &p->w);
}

static bool measure(struct bench *b, struct few_work *p, enum dtype format, struct error *err)
{
    const char *name = p->n == 1 ? "decoding, one row" : "decoding, a few rows";
    struct stored_span span[STORED_SPANS];
    p->at = 0;
    p->w = (struct matrix){ .dtype = format, .cols = COLS };
    p->w.rows = PIECE_BYTES / stored_row_bytes(&p->w);
    if (dtype_is_packed(format))
        p->w.scale = p->scale;
    if (format == DTYPE_FP8) {
        p->w.scale_dtype = DTYPE_F8_E8M0;
        p->w.block_rows = p->w.block_cols = SIDE_OF_BLOCK;
    }
    double values = (double)p->w.rows * (double)COLS;
    struct bench_figure f = {
        .kind = BENCH_FEW_ROWS, .type = p->cm.type, .weights = dtype_name(format), .m = p->n,
        .n = p->w.rows, .k = COLS, .flop = 2 * (double)p->n * values,
    };
    for (size_t i = 0; i < stored_spans(span, &p->w, 0, p->w.rows); i++)
        f.bytes += (double)span[i].n;
    memcpy(f.name, name, strlen(name) + 1);
    return bench_add(b, &f, multiply, p, err);
}

bool bench_few(struct bench *b, struct error *err)
{
    struct arena arena = { 0 };
    struct few_work p = { .cm = { .config = b->config, .kernels = b->kernels, .few_rows = true,
                                  .n_threads = b->result->n_threads },
                          .pool_bytes = size_max(b->result->memory[0].bytes, PIECE_BYTES) };
    take(&p, &arena);
    bool ok = arena_allocate(&arena, err);
    if (ok) {
        take(&p, &arena);
        fill(&p);
    }
    for (size_t i = 0; ok && i < bench_few_count(); i++) {
        p.cm.type = (enum compute_type)(i / (COUNTS * FORMATS));
        p.n = row_counts[i % COUNTS];
        take(&p, &arena);
        ok = measure(b, &p, formats[i / COUNTS % FORMATS], err);
    }
    arena_free(&arena);
    return ok;
}

size_t bench_few_count(void)
{
    return COMPUTE_TYPES * COUNTS * FORMATS;
}
