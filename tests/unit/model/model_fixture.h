/* model_fixture.h - random weights in memory for tests of the model: no files needed. */
#ifndef SURPRISAL_TESTS_MODEL_FIXTURE_H
#define SURPRISAL_TESTS_MODEL_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "formats/weights.h"
#include "model/compute.h"
#include "tests/random.h"

/* Gives [rows, cols] of normal numbers times scale as F32; released with free((void *)m.data). */
__attribute__((unused))
static struct matrix random_matrix(struct random *r, size_t rows, size_t cols, float scale)
{
    float *x = malloc(rows * cols * sizeof *x);
    for (size_t i = 0; i < rows * cols; i++)
        x[i] = scale * random_normal(r);
    return (struct matrix){
        .dtype = DTYPE_F32, .data = (const uint8_t *)x, .rows = rows, .cols = cols
    };
}

__attribute__((unused))
static float matrix_at(const struct matrix *m, size_t row, size_t col)
{
    float x;
    memcpy(&x, m->data + (row * m->cols + col) * sizeof x, sizeof x);
    return x;
}

/* y [rows] = M x in double. */
__attribute__((unused))
static void matrix_times(double *y, const struct matrix *m, const double *x)
{
    for (size_t i = 0; i < m->rows; i++) {
        y[i] = 0;
        for (size_t j = 0; j < m->cols; j++)
            y[i] += (double)matrix_at(m, i, j) * x[j];
    }
}

/* A batch of windows with these lengths; start is released with free. */
__attribute__((unused))
static struct batch batch_of(const size_t *lengths, size_t n)
{
    size_t *start = calloc(n + 1, sizeof *start);
    struct batch b = { .n_windows = n, .start = start };
    for (size_t i = 0; i < n; i++) {
        start[i + 1] = start[i] + lengths[i];
        b.longest = lengths[i] > b.longest ? lengths[i] : b.longest;
    }
    b.n_tokens = start[n];
    return b;
}

enum { FIXTURE_HIDDEN = 24 };

/* A model of small odd sizes, with a mixture of experts or a dense MLP. */
__attribute__((unused))
static struct config fixture_config(bool experts)
{
    return (struct config){
        .hidden_size = FIXTURE_HIDDEN, .rms_norm_eps = 1e-6,
        .num_attention_heads = 4, .num_key_value_heads = 2, .head_dim = 16, .rotary_dim = 4,
        .rope_theta = 1e4,
        .linear_num_key_heads = 2, .linear_num_value_heads = 4, .linear_key_head_dim = 8,
        .linear_value_head_dim = 12, .linear_conv_kernel_dim = 4,
        .num_experts = experts ? 5 : 0, .num_experts_per_tok = experts ? 2 : 0,
        .moe_intermediate_size = experts ? 20 : 0,
        .shared_expert_intermediate_size = experts ? 12 : 0,
        .intermediate_size = experts ? 0 : 40,
    };
}

__attribute__((unused))
static struct mlp_weights random_mlp(struct random *r, size_t D, size_t I)
{
    return (struct mlp_weights){ random_matrix(r, I, D, 0.3f), random_matrix(r, I, D, 0.3f),
                                 random_matrix(r, D, I, 0.3f) };
}

__attribute__((unused))
static void free_mlp(struct mlp_weights *w)
{
    free((void *)(uintptr_t)w->gate.data);
    free((void *)(uintptr_t)w->up.data);
    free((void *)(uintptr_t)w->down.data);
}

/* Both mixers and the MLP of the config. */
__attribute__((unused))
static struct layer_weights random_layer(struct random *r, const struct config *c)
{
    size_t D = c->hidden_size, E = c->num_experts;
    size_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    size_t key = c->linear_num_key_heads * c->linear_key_head_dim, HV = c->linear_num_value_heads;
    size_t value = HV * c->linear_value_head_dim, all = 2 * key + value;
    struct layer_weights w = {
        .input_layernorm = random_matrix(r, 1, D, 0.3f),
        .post_attention_layernorm = random_matrix(r, 1, D, 0.3f),
        .attention = { .q_proj = random_matrix(r, 2 * q, D, 0.3f),
                       .k_proj = random_matrix(r, kv, D, 0.3f),
                       .v_proj = random_matrix(r, kv, D, 0.3f),
                       .o_proj = random_matrix(r, D, q, 0.3f),
                       .q_norm = random_matrix(r, 1, c->head_dim, 0.3f),
                       .k_norm = random_matrix(r, 1, c->head_dim, 0.3f) },
        .delta_net = { .in_proj_qkv = random_matrix(r, all, D, 0.3f),
                       .in_proj_z = random_matrix(r, value, D, 0.3f),
                       .in_proj_a = random_matrix(r, HV, D, 0.3f),
                       .in_proj_b = random_matrix(r, HV, D, 0.3f),
                       .conv1d = random_matrix(r, all, c->linear_conv_kernel_dim, 0.3f),
                       .A_log = random_matrix(r, 1, HV, 0.3f),
                       .dt_bias = random_matrix(r, 1, HV, 0.3f),
                       .norm = random_matrix(r, 1, c->linear_value_head_dim, 0.3f),
                       .out_proj = random_matrix(r, D, value, 0.3f) },
        .router = random_matrix(r, E, D, 1),
        .mlp = random_mlp(r, D, c->intermediate_size),
        .shared_expert = random_mlp(r, D, c->shared_expert_intermediate_size),
        .shared_expert_gate = random_matrix(r, 1, D, 0.5f),
        .experts = malloc((E + 1) * sizeof *w.experts),
    };
    for (size_t e = 0; e <= E; e++)             /* one more than there are, for a dense model too */
        w.experts[e] = random_mlp(r, D, c->moe_intermediate_size);
    return w;
}

__attribute__((unused))
static void free_layer(struct layer_weights *w)
{
    const struct matrix *all[] = {
        &w->input_layernorm, &w->post_attention_layernorm, &w->attention.q_proj,
        &w->attention.k_proj, &w->attention.v_proj, &w->attention.o_proj, &w->attention.q_norm,
        &w->attention.k_norm, &w->delta_net.in_proj_qkv, &w->delta_net.in_proj_z,
        &w->delta_net.in_proj_a, &w->delta_net.in_proj_b, &w->delta_net.conv1d,
        &w->delta_net.A_log, &w->delta_net.dt_bias, &w->delta_net.norm, &w->delta_net.out_proj,
        &w->router, &w->shared_expert_gate };
    size_t E = w->router.rows;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free((void *)(uintptr_t)all[i]->data);
    for (size_t e = 0; e <= E; e++)
        free_mlp(&w->experts[e]);
    free_mlp(&w->mlp);
    free_mlp(&w->shared_expert);
    free(w->experts);
}

/* 256 MB of scratch: more than any test needs; arena_free releases it. */
__attribute__((unused))
static struct arena test_arena(void)
{
    struct arena a = { .peak = (size_t)256 << 20 };
    if (!arena_allocate(&a, NULL))
        abort();
    return a;
}

#endif
