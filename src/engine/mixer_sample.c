#include "engine/mixer_sample.h"

#include "base/memory.h"
#include "model/attention.h"
#include "model/linear.h"

#define KEYS ATTENTION_KEYS

void mixer_sample_fill(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = (float)((int)(i * 37 % 255) - 127) * 0x1p-7f;
}

void mixer_sample_close(struct mixer_sample *s)
{
    arena_free(&s->arena);
}

/* ---- delta rule ----------------------------------------------------------------- */

static void take_delta(struct mixer_sample *s)
{
    const struct config *c = s->cm->config;
    size_t dk = c->linear_key_head_dim, dv = c->linear_value_head_dim, tokens = s->rows;
    size_t scratch = delta_rule_scratch(s->cm->kernels, dk, dv);
    int threads = s->cm->n_threads;
    struct arena *a = &s->arena;
    s->buffers = (struct mixer_sample_buffers){
        .q = thread_buffers_take(a, threads, tokens * dk, sizeof(float)),
        .k = thread_buffers_take(a, threads, tokens * dk, sizeof(float)),
        .v = thread_buffers_take(a, threads, tokens * dv, sizeof(float)),
        .out = thread_buffers_take(a, threads, tokens * dv, sizeof(float)),
        .decay = thread_buffers_take(a, threads, tokens, sizeof(double)),
        .beta = thread_buffers_take(a, threads, tokens, sizeof(float)),
        .state = thread_buffers_take(a, threads, dk * dv, sizeof(float)),
        .scratch = thread_buffers_take(a, threads, scratch, sizeof(float)),
    };
}

static void fill_delta(const struct mixer_sample *s)
{
    const struct mixer_sample_buffers *b = &s->buffers;
    const struct config *c = s->cm->config;
    size_t dk = c->linear_key_head_dim, dv = c->linear_value_head_dim, tokens = s->rows;
    float *k = thread_buffer(&b->k), *beta = thread_buffer(&b->beta);
    double *decay = thread_buffer(&b->decay);
    mixer_sample_fill(thread_buffer(&b->q), tokens * dk);
    mixer_sample_fill(k, tokens * dk);
    for (size_t i = 0; i < tokens * dk; i++)
        k[i] /= (float)dk;              /* short keys: the state stays bounded */
    mixer_sample_fill(thread_buffer(&b->v), tokens * dv);
    mixer_sample_fill(thread_buffer(&b->state), dk * dv);
    for (size_t i = 0; i < tokens; i++) {
        decay[i] = 0.95;
        beta[i] = 0.5f;
    }
}

bool mixer_sample_delta_rule(struct mixer_sample *s, const struct compute *cm, size_t tokens,
                             struct error *err)
{
    *s = (struct mixer_sample){ .cm = cm, .rows = tokens };
    take_delta(s);
    if (!arena_allocate(&s->arena, err))
        return false;
    take_delta(s);
#pragma omp parallel num_threads(cm->n_threads)
    fill_delta(s);
    return true;
}

void mixer_sample_run_delta_rule(void *sample)
{
    const struct mixer_sample *s = sample;
    const struct mixer_sample_buffers *b = &s->buffers;
    const struct kernels *kn = s->cm->kernels;
    size_t dk = s->cm->config->linear_key_head_dim, dv = s->cm->config->linear_value_head_dim;
#pragma omp parallel num_threads(s->cm->n_threads)
    kn->delta_rule(kn, &(struct delta_rule){
        .n = s->rows, .dk = dk, .dv = dv, .q = thread_buffer(&b->q), .k = thread_buffer(&b->k),
        .v = thread_buffer(&b->v), .ldq = dk, .ldk = dk, .ldv = dv,
        .decay = thread_buffer(&b->decay), .beta = thread_buffer(&b->beta), .ld_scalar = 1,
        .state = thread_buffer(&b->state), .out = thread_buffer(&b->out), .ldo = dv,
        .scratch = thread_buffer(&b->scratch) });
}

double mixer_sample_delta_flop(const struct config *c)
{
    size_t dk = c->linear_key_head_dim, dv = c->linear_value_head_dim;
    return 2 * (double)(2 * DELTA_CHUNK * dk + DELTA_CHUNK * dv + 3 * dk * dv);
}

/* ---- attention ------------------------------------------------------------------ */

static void take_attention(struct mixer_sample *s)
{
    const struct gemm_ops *ops = linear_gemm(s->cm);
    size_t d = s->cm->config->head_dim, keys = ops->packed_bytes(ops, KEYS, d);
    size_t values = ops->packed_bytes(ops, d, KEYS);
    int threads = s->cm->n_threads;
    struct arena *a = &s->arena;
    s->buffers = (struct mixer_sample_buffers){
        .q = thread_buffers_take(a, threads, s->rows * d, sizeof(float)),
        .k = thread_buffers_take(a, threads, KEYS * d, sizeof(float)),
        .v = thread_buffers_take(a, threads, KEYS * d, sizeof(float)),
        .score = thread_buffers_take(a, threads, s->rows * KEYS, sizeof(float)),
        .out = thread_buffers_take(a, threads, s->rows * d, sizeof(float)),
        .packed = thread_buffers_take(a, threads, 1, size_max(keys, values)),
        .scratch = thread_buffers_take(a, threads, 1, ops->scratch_bytes(ops)),
    };
}

static void fill_attention(const struct mixer_sample *s)
{
    size_t d = s->cm->config->head_dim;
    mixer_sample_fill(thread_buffer(&s->buffers.q), s->rows * d);
    mixer_sample_fill(thread_buffer(&s->buffers.k), KEYS * d);
    mixer_sample_fill(thread_buffer(&s->buffers.v), KEYS * d);
}

bool mixer_sample_attention(struct mixer_sample *s, const struct compute *cm, struct error *err)
{
    *s = (struct mixer_sample){ .cm = cm, .rows = attention_block_rows(cm->config) };
    take_attention(s);
    if (!arena_allocate(&s->arena, err))
        return false;
    take_attention(s);
#pragma omp parallel num_threads(cm->n_threads)
    fill_attention(s);
    return true;
}

void mixer_sample_run_attention(void *sample)
{
    const struct mixer_sample *s = sample;
    const struct mixer_sample_buffers *b = &s->buffers;
    const struct gemm_ops *ops = linear_gemm(s->cm);
    size_t d = s->cm->config->head_dim, rows = s->rows;
#pragma omp parallel num_threads(s->cm->n_threads)
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

double mixer_sample_attention_flop(const struct mixer_sample *s)
{
    return 4.0 * (double)(s->rows * KEYS) * (double)s->cm->config->head_dim;
}
