/* What mixers multiply within themselves: the delta rule of one head in each thread, and
 * attention's products of queries with keys and values. */
#include "bench/bench_work.h"
#include "model/buffers.h"

#define DELTA_TOKENS ((size_t)512)
#define KEYS ((size_t)128)              /* in a block of attention */

/* Of the threads; those of the other mixer are not taken. */
struct mixer_buffers {
    struct thread_buffers q, k, v, out, scratch;
    struct thread_buffers decay, beta, state;       /* of the delta rule */
    struct thread_buffers score, packed;            /* of attention */
};

struct mixer_work {
    const struct kernels *kernels;
    const struct config *config;
    const struct gemm_ops *gemm;
    int n_threads;
    size_t rows;                        /* queries */
    struct mixer_buffers buffers;
};

/* One mixer. */
struct mixer {
    void (*take)(struct mixer_work *w, struct arena *a);
    void (*fill)(const struct mixer_work *w);       /* the calling thread's buffers */
    void (*run)(void *user);
};

/* ---- delta rule ----------------------------------------------------------------- */

static void take_delta(struct mixer_work *w, struct arena *a)
{
    size_t dk = w->config->linear_key_head_dim, dv = w->config->linear_value_head_dim;
    size_t scratch = delta_rule_scratch(w->kernels, dk, dv);
    int threads = w->n_threads;
    w->buffers = (struct mixer_buffers){
        .q = thread_buffers_take(a, threads, DELTA_TOKENS * dk, sizeof(float)),
        .k = thread_buffers_take(a, threads, DELTA_TOKENS * dk, sizeof(float)),
        .v = thread_buffers_take(a, threads, DELTA_TOKENS * dv, sizeof(float)),
        .out = thread_buffers_take(a, threads, DELTA_TOKENS * dv, sizeof(float)),
        .decay = thread_buffers_take(a, threads, DELTA_TOKENS, sizeof(double)),
        .beta = thread_buffers_take(a, threads, DELTA_TOKENS, sizeof(float)),
        .state = thread_buffers_take(a, threads, dk * dv, sizeof(float)),
        .scratch = thread_buffers_take(a, threads, scratch, sizeof(float)),
    };
}

static void fill_delta(const struct mixer_work *w)
{
    const struct mixer_buffers *b = &w->buffers;
    size_t dk = w->config->linear_key_head_dim, dv = w->config->linear_value_head_dim;
    float *k = thread_buffer(&b->k), *beta = thread_buffer(&b->beta);
    double *decay = thread_buffer(&b->decay);
    bench_fill(thread_buffer(&b->q), DELTA_TOKENS * dk);
    bench_fill(k, DELTA_TOKENS * dk);
    for (size_t i = 0; i < DELTA_TOKENS * dk; i++)
        k[i] /= (float)dk;              /* short keys: the state stays bounded */
    bench_fill(thread_buffer(&b->v), DELTA_TOKENS * dv);
    bench_fill(thread_buffer(&b->state), dk * dv);
    for (size_t i = 0; i < DELTA_TOKENS; i++) {
        decay[i] = 0.95;
        beta[i] = 0.5f;
    }
}

static void run_delta(void *user)
{
    const struct mixer_work *w = user;
    const struct mixer_buffers *b = &w->buffers;
    size_t dk = w->config->linear_key_head_dim, dv = w->config->linear_value_head_dim;
#pragma omp parallel num_threads(w->n_threads)
    w->kernels->delta_rule(w->kernels, &(struct delta_rule){
        .n = DELTA_TOKENS, .dk = dk, .dv = dv, .q = thread_buffer(&b->q), .k = thread_buffer(&b->k),
        .v = thread_buffer(&b->v), .ldq = dk, .ldk = dk, .ldv = dv,
        .decay = thread_buffer(&b->decay), .beta = thread_buffer(&b->beta), .ld_scalar = 1,
        .state = thread_buffer(&b->state), .out = thread_buffer(&b->out), .ldo = dv,
        .scratch = thread_buffer(&b->scratch) });
}

/* Of one head's products for a token, as kernels/delta_rule.h has them; the triangular solve is
 * time without FLOP here. */
static double delta_flop(const struct config *c)
{
    size_t dk = c->linear_key_head_dim, dv = c->linear_value_head_dim;
    return 2 * (double)(2 * DELTA_CHUNK * dk + DELTA_CHUNK * dv + 3 * dk * dv);
}

/* ---- attention ------------------------------------------------------------------ */

static void take_attention(struct mixer_work *w, struct arena *a)
{
    const struct gemm_ops *ops = w->gemm;
    size_t d = w->config->head_dim, keys = ops->packed_bytes(ops, KEYS, d);
    size_t values = ops->packed_bytes(ops, d, KEYS);
    int threads = w->n_threads;
    w->buffers = (struct mixer_buffers){
        .q = thread_buffers_take(a, threads, w->rows * d, sizeof(float)),
        .k = thread_buffers_take(a, threads, KEYS * d, sizeof(float)),
        .v = thread_buffers_take(a, threads, KEYS * d, sizeof(float)),
        .score = thread_buffers_take(a, threads, w->rows * KEYS, sizeof(float)),
        .out = thread_buffers_take(a, threads, w->rows * d, sizeof(float)),
        .packed = thread_buffers_take(a, threads, 1, size_max(keys, values)),
        .scratch = thread_buffers_take(a, threads, 1, ops->scratch_bytes(ops)),
    };
}

static void fill_attention(const struct mixer_work *w)
{
    size_t d = w->config->head_dim;
    bench_fill(thread_buffer(&w->buffers.q), w->rows * d);
    bench_fill(thread_buffer(&w->buffers.k), KEYS * d);
    bench_fill(thread_buffer(&w->buffers.v), KEYS * d);
}

/* One block of queries and keys as in model/attention.c, except for the softmax between the
 * products (a row kernel). */
static void run_attention(void *user)
{
    const struct mixer_work *w = user;
    const struct mixer_buffers *b = &w->buffers;
    const struct gemm_ops *ops = w->gemm;
    size_t d = w->config->head_dim, rows = w->rows;
#pragma omp parallel num_threads(w->n_threads)
    {
        const struct gemm_b keys = { thread_buffer(&b->k), 1, d, KEYS, d };
        const struct gemm_b values = { thread_buffer(&b->v), d, 1, d, KEYS };
        float *score = thread_buffer(&b->score);
        void *packed = thread_buffer(&b->packed), *scratch = thread_buffer(&b->scratch);
        ops->pack(ops, packed, &keys, 0, KEYS, scratch);
        ops->multiply(ops, &(struct gemm){
            .c = score, .ldc = KEYS, .a = thread_buffer(&b->q), .stride_rows = d, .stride_k = 1,
            .packed = packed, .m = rows, .n = KEYS, .k = d, .scratch = scratch });
        ops->pack(ops, packed, &values, 0, d, scratch);
        ops->multiply(ops, &(struct gemm){
            .c = thread_buffer(&b->out), .ldc = d, .a = score, .stride_rows = KEYS, .stride_k = 1,
            .packed = packed, .m = rows, .n = d, .k = KEYS, .scratch = scratch });
    }
}

/* ---- both ----------------------------------------------------------------------- */

static bool measure(struct bench *b, struct mixer_work *w, const struct bench_figure *f,
                    const struct mixer *mixer, struct error *err)
{
    struct arena arena = { 0 };
    mixer->take(w, &arena);
    bool ok = arena_allocate(&arena, err);
    if (ok) {
        mixer->take(w, &arena);
#pragma omp parallel num_threads(w->n_threads)
        mixer->fill(w);
        ok = bench_add(b, f, mixer->run, w, err);
    }
    arena_free(&arena);
    return ok;
}

static bool delta(struct bench *b, struct mixer_work *w, struct error *err)
{
    const struct config *c = b->config;
    const struct bench_figure f = {
        .kind = BENCH_MIXER, .name = "delta rule, a head", .type = COMPUTE_F32, .m = DELTA_TOKENS,
        .n = c->linear_value_head_dim, .k = c->linear_key_head_dim,
        .flop = (double)w->n_threads * DELTA_TOKENS * delta_flop(c),
    };
    static const struct mixer mixer = { take_delta, fill_delta, run_delta };
    return measure(b, w, &f, &mixer, err);
}

static bool attention(struct bench *b, struct mixer_work *w, enum compute_type type,
                      struct error *err)
{
    const struct config *c = b->config;
    size_t group = c->num_attention_heads / c->num_key_value_heads;
    w->rows = group * size_max(KERNEL_ROWS / group, 1);
    w->gemm = w->kernels->gemm[type];
    const struct bench_figure f = {
        .kind = BENCH_MIXER, .name = "attention, a block of keys", .type = type, .m = w->rows,
        .n = KEYS, .k = c->head_dim,
        .flop = 4.0 * w->n_threads * (double)(w->rows * KEYS) * (double)c->head_dim,
    };
    static const struct mixer mixer = { take_attention, fill_attention, run_attention };
    return measure(b, w, &f, &mixer, err);
}

bool bench_mixers(struct bench *b, struct error *err)
{
    struct mixer_work w = { .kernels = b->kernels, .config = b->config,
                            .n_threads = b->result->n_threads };
    bool ok = !bench_has(b->config, LINEAR_ATTENTION) || delta(b, &w, err);
    for (int type = 0; ok && bench_has(b->config, FULL_ATTENTION) && type < COMPUTE_TYPES; type++)
        ok = attention(b, &w, (enum compute_type)type, err);
    return ok;
}

size_t bench_mixers_count(const struct config *c)
{
    return bench_has(c, LINEAR_ATTENTION) + (bench_has(c, FULL_ATTENTION) ? COMPUTE_TYPES : 0u);
}
