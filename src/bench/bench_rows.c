/* Row kernels, on rows as the model has them: streams of tokens from memory, blocks of an expert or
 * of the head in a cache. */
#include <string.h>

#include "bench/bench_work.h"
#include "engine/mixer_sample.h"
#include "kernels/mxfp4.h"
#include "model/buffers.h"
#include "model/vocabulary.h"

struct row_buffers {                    /* of one thread; both [rows, n] at least */
    float *x, *y;
    float *weight;                      /* [CONV_WIDTH, n] */
    uint8_t *scale;
};

struct row_kernel {
    const char *name;
    size_t rows, n;                     /* of one thread and call */
    double bytes;                       /* read and written for one value */
    void (*run)(const struct row_kernels *rows, const struct row_buffers *t, size_t i, size_t n);
};

struct row_work {
    const struct row_kernels *rows;
    const struct row_kernel *kernel;
    int n_threads;
    struct thread_buffers x, y, weight, scale;
};

#define BLOCK KERNEL_ROWS
enum { CONV_WIDTH = 4, CONV_CHANNELS = 512, DECODED = 256, KERNELS = 6 };

static void rms_norm(const struct row_kernels *rows, const struct row_buffers *t, size_t i,
                     size_t n)
{
    rows->rms_norm(t->y + i * n, t->x + i * n, t->weight, n, 1e-6);
}

/* The gate's SiLU is 1, so that values stay what they are however often this is called. */
static void mul_silu(const struct row_kernels *rows, const struct row_buffers *t, size_t i,
                     size_t n)
{
    rows->mul_silu(t->x + i * n, t->y + i * n, n);
}

/* Values between -1 and 1 come between 0 and 1 and stay there. */
static void exp_sum(const struct row_kernels *rows, const struct row_buffers *t, size_t i, size_t n)
{
    t->y[i] = (float)rows->exp_sum(t->x + i * n, 1, n);
}

static void conv_silu(const struct row_kernels *rows, const struct row_buffers *t, size_t i,
                      size_t n)
{
    const float *inputs[CONV_WIDTH];
    for (size_t j = 0; j < CONV_WIDTH; j++)
        inputs[j] = i + j + 1 < CONV_WIDTH ? NULL : t->x + (i + j + 1 - CONV_WIDTH) * n;
    rows->conv_silu(t->y + i * n, inputs, t->weight, CONV_WIDTH, n);
}

static void expand(const struct row_kernels *rows, const struct row_buffers *t, size_t i, size_t n,
                   enum dtype dtype)
{
    const struct matrix w = { .dtype = dtype, .data = (const uint8_t *)t->x, .scale = t->scale,
                              .rows = i + 1, .cols = n };
    rows->expand(t->y, &w, i, 0, n);
}

static void expand_bf16(const struct row_kernels *rows, const struct row_buffers *t, size_t i,
                        size_t n)
{
    expand(rows, t, i, n, DTYPE_BF16);
}

static void expand_mxfp4(const struct row_kernels *rows, const struct row_buffers *t, size_t i,
                         size_t n)
{
    expand(rows, t, i, n, DTYPE_MXFP4);
}

static void row_kernels(struct row_kernel list[KERNELS], const struct bench *b)
{
    const struct config *c = b->config;
    size_t stream = size_max(2 * BENCH_ROWS_MOST / (size_t)b->result->n_threads, BLOCK);
    size_t inner = c->num_experts ? c->moe_intermediate_size : c->intermediate_size;
    const struct row_kernel all[KERNELS] = {
        { "rms_norm, a stream", stream, c->hidden_size, 8, rms_norm },
        { "conv_silu", BLOCK, CONV_CHANNELS, 8, conv_silu },
        { "mul_silu, a block", BLOCK, inner, 12, mul_silu },
        { "exp_sum, logits", BLOCK, VOCABULARY_TILE, 8, exp_sum },
        { "expand BF16", 8 * stream, DECODED, 2 + 4, expand_bf16 },
        { "expand MXFP4", 8 * stream, DECODED, 0.5 + 1.0 / (double)mxfp4_block_size() + 4,
          expand_mxfp4 },
    };
    memcpy(list, all, sizeof all);
}

/* ---- measuring ------------------------------------------------------------------ */

static void take(struct row_work *w, struct arena *a)
{
    size_t values = w->kernel->rows * w->kernel->n;
    w->x = thread_buffers_take(a, w->n_threads, values, sizeof(float));
    w->y = thread_buffers_take(a, w->n_threads, values, sizeof(float));
    w->weight = thread_buffers_take(a, w->n_threads, CONV_WIDTH * w->kernel->n, sizeof(float));
    w->scale = thread_buffers_take(a, w->n_threads, values / mxfp4_block_size() + 1, 1);
}

/* The calling thread's. */
static struct row_buffers buffers_of(const struct row_work *w)
{
    return (struct row_buffers){ thread_buffer(&w->x), thread_buffer(&w->y),
                                 thread_buffer(&w->weight), thread_buffer(&w->scale) };
}

static void fill(const struct row_work *w)
{
    size_t rows = w->kernel->rows, n = w->kernel->n;
#pragma omp parallel num_threads(w->n_threads)
    {
        const struct row_buffers t = buffers_of(w);
        mixer_sample_fill(t.x, rows * n);
        mixer_sample_fill(t.weight, CONV_WIDTH * n);
        for (size_t i = 0; i < rows * n; i++)
            t.y[i] = 1.27846454f;
        memset(t.scale, 120, rows * n / mxfp4_block_size() + 1);
    }
}

static void run(void *user)
{
    const struct row_work *w = user;
    const struct row_kernel *k = w->kernel;
#pragma omp parallel num_threads(w->n_threads)
    {
        const struct row_buffers t = buffers_of(w);
        for (size_t i = 0; i < k->rows; i++)
            k->run(w->rows, &t, i, k->n);
    }
}

static bool measure(struct bench *b, const struct row_kernel *kernel, struct error *err)
{
    struct row_work w = { .rows = b->kernels->rows, .kernel = kernel,
                          .n_threads = b->result->n_threads };
    double values = (double)w.n_threads * (double)kernel->rows * (double)kernel->n;
    struct bench_figure f = { .kind = BENCH_ROWS, .m = kernel->rows, .n = kernel->n,
                              .values = values, .bytes = values * kernel->bytes };
    struct arena arena = { 0 };
    strncpy(f.name, kernel->name, sizeof f.name - 1);
    take(&w, &arena);
    bool ok = arena_allocate(&arena, err);
    if (ok) {
        take(&w, &arena);
        fill(&w);
        ok = bench_add(b, &f, run, &w, err);
    }
    arena_free(&arena);
    return ok;
}

bool bench_rows(struct bench *b, struct error *err)
{
    struct row_kernel list[KERNELS];
    bool ok = true;
    row_kernels(list, b);
    for (size_t i = 0; ok && i < KERNELS; i++)
        ok = measure(b, &list[i], err);
    return ok;
}

size_t bench_rows_count(void)
{
    return KERNELS;
}
