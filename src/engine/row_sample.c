#include "engine/row_sample.h"

#include <string.h>

#include "base/memory.h"
#include "engine/squares.h"
#include "engine/stopwatch.h"
#include "model/moe.h"
#include "model/rope.h"
#include "model/vocabulary.h"

enum { CHANNELS = 512, WIDTH = 4 };     /* of a convolution */
#define CALL_VALUES ((size_t)1 << 15)   /* of a thread, in a call */

struct row_sample_kind {
    size_t (*n)(const struct config *c);        /* values of a row; NULL: none of this file's */
    /* x and y: rows of the pool, or of the thread's cache. */
    void (*run)(const struct row_sample *s, float *x, float *y);
    bool cached;
};

/* ---- the rows ------------------------------------------------------------------ */

static size_t hidden_size(const struct config *c)
{
    return c->hidden_size;
}

static size_t head_dim(const struct config *c)
{
    return c->head_dim;
}

static size_t angles_n(const struct config *c)
{
    return c->rotary_dim / 2;
}

static size_t keys_n(const struct config *c)
{
    (void)c;
    return ATTENTION_KEYS;
}

static size_t channels_n(const struct config *c)
{
    (void)c;
    return CHANNELS;
}

static size_t key_head_dim(const struct config *c)
{
    return c->linear_key_head_dim;
}

static size_t value_heads(const struct config *c)
{
    return c->linear_num_value_heads;
}

static size_t value_head_dim(const struct config *c)
{
    return c->linear_value_head_dim;
}

static size_t experts_n(const struct config *c)
{
    return c->num_experts;
}

static size_t intermediate_n(const struct config *c)
{
    return c->num_experts ? c->moe_intermediate_size : c->intermediate_size;
}

static size_t vocabulary_n(const struct config *c)
{
    return size_min(c->vocab_size, VOCABULARY_TILE);
}

static size_t observed_n(const struct config *c)
{
    (void)c;
    return SQUARES_CHANNELS;
}

/* ---- the work ------------------------------------------------------------------ */

static const struct row_kernels *kernels_of(const struct row_sample *s)
{
    return compute_rows(s->cm);
}

static void norm(const struct row_sample *s, float *x, float *y)
{
    kernels_of(s)->rms_norm(x, y, s->weight, s->n, 1e-6);
}

static void residual(const struct row_sample *s, float *x, float *y)
{
    kernels_of(s)->add(x, y, s->n);
    y[0] += !kernels_of(s)->all_finite(x, s->n);
}

static void check(const struct row_sample *s, float *x, float *y)
{
    y[0] += !kernels_of(s)->all_finite(x, s->n);
}

static void head_norm(const struct row_sample *s, float *x, float *y)
{
    const struct config *c = s->cm->config;
    (void)y;
    kernels_of(s)->rms_norm(x, x, s->weight, s->n, 1e-6);
    rope_apply(x, s->weight, s->weight, c->rotary_dim, s->cm->type);
}

static void angles(const struct row_sample *s, float *x, float *y)
{
    rope_angles(x, y, s->frequency, s->cm->config->rotary_dim, 1000);
}

static void softmax(const struct row_sample *s, float *x, float *y)
{
    kernels_of(s)->scale(x, 0.0625f, s->n);
    y[0] = (float)kernels_of(s)->exp_sum(x, kernels_of(s)->max(x, s->n), s->n);
}

static void sigmoid(const struct row_sample *s, float *x, float *y)
{
    kernels_of(s)->mul_sigmoid(x, y, s->n);
}

static void convolution(const struct row_sample *s, float *x, float *y)
{
    const float *inputs[WIDTH] = { y, y, y, x };
    kernels_of(s)->conv_silu(x, inputs, s->weight, WIDTH, s->n);
}

static void key_norm(const struct row_sample *s, float *x, float *y)
{
    (void)y;
    kernels_of(s)->l2_norm(x, s->n, 1);
}

static void gates(const struct row_sample *s, float *x, float *y)
{
    delta_net_gates_of_token(s->cm, thread_buffer(&s->doubles), x, y, y, &s->gates);
}

static void gated_norm(const struct row_sample *s, float *x, float *y)
{
    kernels_of(s)->gated_rms_norm(x, y, s->weight, s->n, 1e-6);
}

static void routing(const struct row_sample *s, float *x, float *y)
{
    int32_t *expert = (int32_t *)thread_buffer(&s->others);
    moe_route(expert, x, thread_buffer(&s->doubles), y, s->n, s->cm->config->num_experts_per_tok);
}

/* BF16 compute keeps the shared expert's output aside and adds it later. */
static void shared(const struct row_sample *s, float *x, float *y)
{
    const struct row_kernels *k = kernels_of(s);
    k->scale(x, 0.5f, s->n);
    k->round(x, s->n);
    if (s->cm->type != COMPUTE_BF16)
        return;
    k->to_bf16(thread_buffer(&s->others), x, s->n);
    k->round(x, s->n);
    k->add(x, y, s->n);
}

static void gather(const struct row_sample *s, float *x, float *y)
{
    (void)x;
    kernels_of(s)->rms_norm(thread_buffer(&s->values), y, s->weight, s->n, 1e-6);
}

static void silu(const struct row_sample *s, float *x, float *y)
{
    kernels_of(s)->mul_silu(x, y, s->n);
}

static void scatter(const struct row_sample *s, float *x, float *y)
{
    const float *out = thread_buffer(&s->values);
    y[0] += !kernels_of(s)->all_finite(out, s->n);
    kernels_of(s)->add_scaled(x, out, 0.125f, s->n);
}

static void logits(const struct row_sample *s, float *x, float *y)
{
    y[0] = (float)kernels_of(s)->exp_sum(x, kernels_of(s)->max(x, s->n), s->n);
}

static void divergence(const struct row_sample *s, float *x, float *y)
{
    const struct row_kernels *k = kernels_of(s);
    struct exp_sums sums = { .max = { k->max(x, s->n), k->max(y, s->n) } };
    k->add_exp_sums(&sums, x, y, s->n);
    x[0] = sums.max[0];
}

static void observation(const struct row_sample *s, float *x, float *y)
{
    (void)y;
    squares_add(thread_buffer(&s->doubles), x, s->n);
}

static void squares(const struct row_sample *s, float *x, float *y)
{
    x[0] = (float)squares_of_difference(x, y, s->n);
}

static const struct row_sample_kind kinds[WORKLOAD_KINDS] = {
    [WORKLOAD_NORM] = { hidden_size, norm, false },
    [WORKLOAD_RESIDUAL] = { hidden_size, residual, false },
    [WORKLOAD_CHECK] = { hidden_size, check, false },
    [WORKLOAD_HEAD_NORM] = { head_dim, head_norm, false },
    [WORKLOAD_ANGLES] = { angles_n, angles, true },
    [WORKLOAD_SOFTMAX] = { keys_n, softmax, true },
    [WORKLOAD_SIGMOID] = { head_dim, sigmoid, false },
    [WORKLOAD_CONVOLUTION] = { channels_n, convolution, false },
    [WORKLOAD_KEY_NORM] = { key_head_dim, key_norm, false },
    [WORKLOAD_GATES] = { value_heads, gates, true },
    [WORKLOAD_GATED_NORM] = { value_head_dim, gated_norm, false },
    [WORKLOAD_ROUTING] = { experts_n, routing, true },
    [WORKLOAD_SHARED] = { hidden_size, shared, false },
    [WORKLOAD_GATHER] = { hidden_size, gather, false },
    [WORKLOAD_SILU] = { intermediate_n, silu, true },
    [WORKLOAD_SCATTER] = { hidden_size, scatter, false },
    [WORKLOAD_LOGITS] = { vocabulary_n, logits, true },
    [WORKLOAD_DIVERGENCE] = { vocabulary_n, divergence, true },
    [WORKLOAD_OBSERVATION] = { observed_n, observation, false },
    [WORKLOAD_SQUARES] = { hidden_size, squares, false },
};

/* ---- memory --------------------------------------------------------------------- */

static void take(struct row_sample *s, struct arena *a)
{
    const struct config *c = s->cm->config;
    size_t HV = c->linear_num_value_heads, value = sizeof(float);
    int threads = s->cm->n_threads;
    s->x = arena_take(a, s->pool, value);
    s->y = arena_take(a, s->pool, value);
    s->weight = arena_take(a, size_max(s->widest, WIDTH * CHANNELS), value);
    s->frequency = arena_take(a, c->rotary_dim / 2, sizeof(double));
    s->gates = (struct delta_net_gates){ .A_log = arena_take(a, HV, value),
                                         .dt_bias = arena_take(a, HV, value) };
    s->values = thread_buffers_take(a, threads, s->widest, value);
    s->others = thread_buffers_take(a, threads, s->widest, value);
    size_t doubles = size_max(SQUARES_CHANNELS, size_max(HV, c->num_experts));
    s->doubles = thread_buffers_take(a, threads, doubles, sizeof(double));
}

/* SiLU of this is 1, so that products with it stay what they are. */
#define UNIT_GATE 1.27846454f

static void fill_rows(float *x, float value, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = value + (float)(i % 64) * 0x1p-10f;
}

static void fill(const struct row_sample *s)
{
    const struct config *c = s->cm->config;
    fill_rows(s->weight, 0.5f, size_max(s->widest, WIDTH * CHANNELS));
    if (c->rotary_dim)
        rope_frequencies(s->frequency, c->rotary_dim, c->rope_theta);
    for (size_t h = 0; h < c->linear_num_value_heads; h++)
        s->gates.A_log[h] = s->gates.dt_bias[h] = 0.5f;
#pragma omp parallel num_threads(s->cm->n_threads)
    {
        fill_rows(thread_buffer(&s->values), 1, s->widest);
        fill_rows(thread_buffer(&s->others), UNIT_GATE, s->widest);
#pragma omp for schedule(static)
        for (size_t i = 0; i < s->pool; i++) {
            s->x[i] = 1;
            s->y[i] = UNIT_GATE;
        }
    }
}

bool row_sample_open(struct row_sample *s, const struct compute *cm, size_t pool,
                     struct error *err)
{
    *s = (struct row_sample){ .cm = cm };
    for (size_t i = 0; i < WORKLOAD_KINDS; i++)
        if (kinds[i].n)
            s->widest = size_max(s->widest, kinds[i].n(cm->config));
    s->pool = size_max(pool, (size_t)cm->n_threads * s->widest);
    take(s, &s->arena);
    if (!arena_allocate(&s->arena, err))
        return false;
    take(s, &s->arena);
    fill(s);
    return true;
}

void row_sample_close(struct row_sample *s)
{
    arena_free(&s->arena);
}

/* ---- timing --------------------------------------------------------------------- */

static void run(void *user)
{
    struct row_sample *s = user;
    if (s->at + s->rows * s->n > s->pool)
        s->at = 0;
    float *x = s->x + s->at, *y = s->y + s->at;
    s->at += s->rows * s->n;
#pragma omp parallel for num_threads(s->cm->n_threads) schedule(static)
    for (size_t i = 0; i < s->rows; i++)
        if (s->kind->cached)
            s->kind->run(s, thread_buffer(&s->values), thread_buffer(&s->others));
        else
            s->kind->run(s, x + i * s->n, y + i * s->n);
}

bool row_sample_has(enum workload_kind kind)
{
    return kinds[kind].n != NULL;
}

double row_sample_seconds(struct row_sample *s, enum workload_kind kind, double seconds)
{
    size_t threads = (size_t)s->cm->n_threads;
    s->kind = &kinds[kind];
    s->n = s->kind->n(s->cm->config);
    if (s->n == 0)
        return 0;
    s->rows = size_max(1, size_min(CALL_VALUES, s->pool / 4 / threads) / s->n) * threads;
    run(s);                         /* wakes the threads */
    double took = stopwatch_confirmed(run, s, seconds) / (double)(s->rows * s->n);
#pragma omp parallel num_threads(s->cm->n_threads)
    {                               /* other kinds expect values of size one */
        fill_rows(thread_buffer(&s->values), 1, s->widest);
        fill_rows(thread_buffer(&s->others), UNIT_GATE, s->widest);
    }
    return took;
}
