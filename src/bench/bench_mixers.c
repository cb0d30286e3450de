/* What mixers multiply within themselves: the delta rule of one head in each thread, and
 * attention's products of queries with keys and values. */
#include <omp.h>

#include "bench/bench_work.h"

#define DELTA_TOKENS ((size_t)512)
#define KEYS ((size_t)128)              /* in a block of attention */

/* Buffers of one thread; of the other mixer unused. */
struct mixer_buffers {
    float *q, *k, *v, *out;
    double *decay;
    float *beta, *state, *score;
    void *packed, *scratch;
};

struct mixer_work {
    const struct kernels *kernels;
    const struct config *config;
    const struct gemm_ops *gemm;
    int n_threads;
    size_t rows;                        /* queries */
    struct mixer_buffers *of_thread;
};

/* ---- delta rule ----------------------------------------------------------------- */

static void take_delta(struct mixer_work *w, struct arena *a)
{
    size_t dk = w->config->linear_key_head_dim, dv = w->config->linear_value_head_dim;
    w->of_thread = arena_take(a, (size_t)w->n_threads, sizeof *w->of_thread);
    for (int i = 0; i < w->n_threads; i++) {
        struct mixer_buffers t = {
            .q = arena_take(a, DELTA_TOKENS * dk, sizeof(float)),
            .k = arena_take(a, DELTA_TOKENS * dk, sizeof(float)),
            .v = arena_take(a, DELTA_TOKENS * dv, sizeof(float)),
            .out = arena_take(a, DELTA_TOKENS * dv, sizeof(float)),
            .decay = arena_take(a, DELTA_TOKENS, sizeof(double)),
            .beta = arena_take(a, DELTA_TOKENS, sizeof(float)),
            .state = arena_take(a, dk * dv, sizeof(float)),
            .scratch = arena_take(a, delta_rule_scratch(w->kernels, dk, dv), sizeof(float)),
        };
        if (!w->of_thread)
            continue;
        bench_fill(t.q, DELTA_TOKENS * dk);
        bench_fill(t.k, DELTA_TOKENS * dk);
        for (size_t j = 0; j < DELTA_TOKENS * dk; j++)
            t.k[j] /= (float)dk;        /* short keys: the state stays bounded */
        bench_fill(t.v, DELTA_TOKENS * dv);
        bench_fill(t.state, dk * dv);
        for (size_t j = 0; j < DELTA_TOKENS; j++) {
            t.decay[j] = 0.95;
            t.beta[j] = 0.5f;
        }
        w->of_thread[i] = t;
    }
}

static void run_delta(void *user)
{
    const struct mixer_work *w = user;
    size_t dk = w->config->linear_key_head_dim, dv = w->config->linear_value_head_dim;
#pragma omp parallel num_threads(w->n_threads)
    {
        const struct mixer_buffers *t = &w->of_thread[omp_get_thread_num()];
        w->kernels->delta_rule(w->kernels, &(struct delta_rule){
            .n = DELTA_TOKENS, .dk = dk, .dv = dv, .q = t->q, .k = t->k, .v = t->v, .ldq = dk,
            .ldk = dk, .ldv = dv, .decay = t->decay, .beta = t->beta, .ld_scalar = 1,
            .state = t->state, .out = t->out, .ldo = dv, .scratch = t->scratch });
    }
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
    size_t d = w->config->head_dim;
    w->of_thread = arena_take(a, (size_t)w->n_threads, sizeof *w->of_thread);
    for (int i = 0; i < w->n_threads; i++) {
        struct mixer_buffers t = {
            .q = arena_take(a, w->rows * d, sizeof(float)),
            .k = arena_take(a, KEYS * d, sizeof(float)),
            .v = arena_take(a, KEYS * d, sizeof(float)),
            .score = arena_take(a, w->rows * KEYS, sizeof(float)),
            .out = arena_take(a, w->rows * d, sizeof(float)),
            .packed = arena_take(a, 1, size_max(ops->packed_bytes(ops, KEYS, d),
                                                ops->packed_bytes(ops, d, KEYS))),
            .scratch = arena_take(a, 1, ops->scratch_bytes(ops)),
        };
        if (!w->of_thread)
            continue;
        bench_fill(t.q, w->rows * d);
        bench_fill(t.k, KEYS * d);
        bench_fill(t.v, KEYS * d);
        w->of_thread[i] = t;
    }
}

/* One block of queries and keys as in model/attention.c, but for the softmax between the products
 * (a row kernel). */
static void run_attention(void *user)
{
    const struct mixer_work *w = user;
    const struct gemm_ops *ops = w->gemm;
    size_t d = w->config->head_dim, rows = w->rows;
#pragma omp parallel num_threads(w->n_threads)
    {
        const struct mixer_buffers *t = &w->of_thread[omp_get_thread_num()];
        const struct gemm_b keys = { t->k, 1, d, KEYS, d }, values = { t->v, d, 1, d, KEYS };
        ops->pack(ops, t->packed, &keys, 0, KEYS, t->scratch);
        ops->multiply(ops, &(struct gemm){ .c = t->score, .ldc = KEYS, .a = t->q, .stride_rows = d,
                                           .stride_k = 1, .packed = t->packed, .m = rows, .n = KEYS,
                                           .k = d, .scratch = t->scratch });
        ops->pack(ops, t->packed, &values, 0, d, t->scratch);
        ops->multiply(ops, &(struct gemm){ .c = t->out,
                                           .ldc = d,
                                           .a = t->score,
                                           .stride_rows = KEYS,
                                           .stride_k = 1,
                                           .packed = t->packed,
                                           .m = rows,
                                           .n = d,
                                           .k = KEYS,
                                           .scratch = t->scratch });
    }
}

/* ---- both ----------------------------------------------------------------------- */

static bool measure(struct bench *b, struct mixer_work *w, const struct bench_figure *f,
                    void (*take)(struct mixer_work *w, struct arena *a), void (*run)(void *user),
                    struct error *err)
{
    struct arena arena = { 0 };
    take(w, &arena);
    bool ok = arena_allocate(&arena, err);
    if (ok) {
        take(w, &arena);
        ok = bench_add(b, f, run, w, err);
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
    return measure(b, w, &f, take_delta, run_delta, err);
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
    return measure(b, w, &f, take_attention, run_attention, err);
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
