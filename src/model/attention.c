#include "model/attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "model/linear.h"
#include "model/norm.h"
#include "model/rope.h"

#define QUERY_BLOCK ((size_t)64)
#define KEY_BLOCK ((size_t)128)

struct attention_state {
    float *k, *v;                   /* [tokens, KV * d] */
};

struct attention_state *attention_state_take(const struct compute *cm, size_t tokens)
{
    size_t kv = cm->config->num_key_value_heads * cm->config->head_dim;
    struct attention_state *s = arena_take(cm->arena, 1, sizeof *s);
    float *k = arena_take(cm->arena, tokens, kv * sizeof *k);
    float *v = arena_take(cm->arena, tokens, kv * sizeof *v);
    if (s)
        *s = (struct attention_state){ k, v };
    return s;
}

/* Scratch of one thread. */
struct block {
    float *score;                   /* [QUERY_BLOCK, KEY_BLOCK] */
    float *value;                   /* [QUERY_BLOCK, d]: sum of exp(score - max) v so far */
    float max[QUERY_BLOCK];
    double sum[QUERY_BLOCK];        /* of exp(score - max) so far */
};

/* Scores of query i against `keys` keys from `key` on -> exp(score - max), masked, with the sum
 * and the values so far rescaled when the maximum grows. */
static void softmax_row(const struct compute *cm, struct block *b, size_t i, size_t position,
                        size_t key, size_t keys)
{
    float *score = b->score + i * KEY_BLOCK;
    size_t d = cm->config->head_dim;
    size_t seen = position < key ? 0 : position - key + 1;              /* causal */
    seen = seen < keys ? seen : keys;
    for (size_t j = seen; j < keys; j++)
        score[j] = 0;
    if (seen == 0)
        return;
    float max = cm->kernels->max(score, seen);
    if (max > b->max[i]) {
        float rescale = expf(b->max[i] - max);
        b->sum[i] *= (double)rescale;
        for (size_t c = 0; c < d; c++)
            b->value[i * d + c] *= rescale;
        b->max[i] = max;
    }
    /* A NaN that the maximum passed over reaches the sum, so it is not lost. */
    b->sum[i] += cm->kernels->exp_sum(score, b->max[i], seen);
}

/* One head's queries [first, first + n) of a window against all keys up to themselves.
 * q: n rows ldq apart; k, v: the head's columns of the whole window, rows ldkv apart.  The result
 * goes to b->value. */
static void attend(const struct compute *cm, struct block *b, const float *q, size_t ldq,
                   const float *k, const float *v, size_t ldkv, size_t first, size_t n)
{
    const struct kernels *kn = cm->kernels;
    size_t d = cm->config->head_dim;
    for (size_t i = 0; i < n; i++) {
        b->max[i] = -INFINITY;
        b->sum[i] = 0;
    }
    memset(b->value, 0, n * d * sizeof *b->value);
    for (size_t key = 0; key < first + n; key += KEY_BLOCK) {
        size_t keys = first + n - key < KEY_BLOCK ? first + n - key : KEY_BLOCK;
        kn->gemm(&(struct gemm){ GEMM_NT, false, n, keys, d, b->score, KEY_BLOCK, q, ldq,
                                 k + key * ldkv, ldkv }, kn);
        for (size_t i = 0; i < n; i++)
            softmax_row(cm, b, i, first + i, key, keys);
        kn->gemm(&(struct gemm){ GEMM_NN, true, n, d, keys, b->value, d, b->score, KEY_BLOCK,
                                 v + key * ldkv, ldkv }, kn);
    }
    for (size_t i = 0; i < n; i++) {
        float scale = (float)(1 / b->sum[i]);
        for (size_t c = 0; c < d; c++)
            b->value[i * d + c] *= scale;
    }
}

/* Norm and rotary of one token's heads; x: n_heads heads, `stride` floats apart. */
static void norm_and_turn(const struct compute *cm, float *x, size_t n_heads, size_t stride,
                          const float *norm, const float *cosine, const float *sine, float scale)
{
    const struct config *c = cm->config;
    for (size_t h = 0; h < n_heads; h++) {
        float *head = x + h * stride;
        cm->kernels->rms_norm(head, head, norm, c->head_dim, c->rms_norm_eps);
        rope_apply(head, cosine, sine, c->rotary_dim);
        for (size_t i = 0; i < c->head_dim && scale != 1; i++)
            head[i] *= scale;
    }
}

/* Queries (scaled by 1 / sqrt(d)) and keys of the tile get their norms and positions. */
static void position_tile(const struct compute *cm, float *q, float *k,
                          const struct attention_weights *w, const struct tile *tile)
{
    const struct config *c = cm->config;
    size_t d = c->head_dim, H = c->num_attention_heads, KV = c->num_key_value_heads;
    size_t half = c->rotary_dim / 2, mark = cm->arena->used;
    float *q_norm = vector_take(cm, &w->q_norm, 1), *k_norm = vector_take(cm, &w->k_norm, 1);
    double *frequency = arena_take(cm->arena, half, sizeof *frequency);
    size_t threads = (size_t)cm->n_threads;
    float *angles = arena_take(cm->arena, threads * 2 * half, sizeof *angles);
    if (q) {
        float scale = (float)(1 / sqrt((double)d));
        rope_frequencies(frequency, c->rotary_dim, c->rope_theta);
        for (size_t s = 0; s < tile->n_windows; s++) {
            size_t begin, end;
            tile_rows(tile, s, &begin, &end);
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
            for (size_t t = begin; t < end; t++) {
                float *cosine = angles + (size_t)omp_get_thread_num() * 2 * half;
                rope_angles(cosine, cosine + half, frequency, c->rotary_dim,
                            tile->offset + t - begin);
                norm_and_turn(cm, q + t * H * 2 * d, H, 2 * d, q_norm, cosine, cosine + half, scale);
                norm_and_turn(cm, k + t * KV * d, KV, d, k_norm, cosine, cosine + half, 1);
            }
        }
    }
    cm->arena->used = mark;
}

/* All heads and query blocks of one window of the tile; called by every thread.
 * q: [rows, H, 2, d], query then gate; k, v: [keys, KV, d] from the window's start. */
static void attend_window(const struct compute *cm, struct block *b, float *mixed, const float *q,
                          const float *k, const float *v, size_t offset, size_t rows)
{
    const struct config *c = cm->config;
    size_t d = c->head_dim, H = c->num_attention_heads, KV = c->num_key_value_heads;
#pragma omp for collapse(2) schedule(dynamic) nowait
    for (size_t h = 0; h < H; h++)
        for (size_t t = 0; t < rows; t += QUERY_BLOCK) {
            size_t n = rows - t < QUERY_BLOCK ? rows - t : QUERY_BLOCK;
            size_t kv_head = h / (H / KV);
            const float *query = q + t * H * 2 * d + h * 2 * d;
            attend(cm, b, query, H * 2 * d, k + kv_head * d, v + kv_head * d, KV * d, offset + t, n);
            for (size_t i = 0; i < n; i++) {
                float *out = mixed + (t + i) * H * d + h * d;
                memcpy(out, b->value + i * d, d * sizeof *out);
                cm->kernels->mul_sigmoid(out, query + i * H * 2 * d + d, d);
            }
        }
}

static void attend_tile(const struct compute *cm, float *mixed, const float *q,
                        const struct attention_state *state, const struct tile *tile)
{
    const struct config *c = cm->config;
    size_t d = c->head_dim, H = c->num_attention_heads, kv = c->num_key_value_heads * d;
    size_t mark = cm->arena->used, threads = (size_t)cm->n_threads;
    struct block *blocks = arena_take(cm->arena, threads, sizeof *blocks);
    float *score = arena_take(cm->arena, threads * QUERY_BLOCK * KEY_BLOCK, sizeof *score);
    float *value = arena_take(cm->arena, threads * QUERY_BLOCK * d, sizeof *value);
    if (blocks) {
#pragma omp parallel num_threads(cm->n_threads)
        {
            size_t me = (size_t)omp_get_thread_num();
            struct block *b = &blocks[me];
            b->score = score + me * QUERY_BLOCK * KEY_BLOCK;
            b->value = value + me * QUERY_BLOCK * d;
            for (size_t w = 0; w < tile->n_windows; w++) {
                size_t begin, end;
                tile_rows(tile, w, &begin, &end);
                attend_window(cm, b, mixed + begin * H * d, q + begin * H * 2 * d,
                              state->k + begin * kv, state->v + begin * kv, tile->offset,
                              end - begin);
            }
        }
    }
    cm->arena->used = mark;
}

void attention_forward(const struct compute *cm, float *out, const float *h,
                       const struct attention_weights *w, const struct tile *tile,
                       struct attention_state *state)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, d = c->head_dim, H = c->num_attention_heads;
    size_t kv = c->num_key_value_heads * d, n = tile->n, mark = cm->arena->used;
    float *q = arena_take(cm->arena, n, H * 2 * d * sizeof *q);
    float *mixed = arena_take(cm->arena, n, H * d * sizeof *mixed);
    float *k = state ? state->k + tile->offset * kv : NULL;
    float *v = state ? state->v + tile->offset * kv : NULL;
    linear(cm, q, H * 2 * d, h, D, n, &w->q_proj);
    linear(cm, k, kv, h, D, n, &w->k_proj);
    linear(cm, v, kv, h, D, n, &w->v_proj);
    position_tile(cm, q, k, w, tile);
    attend_tile(cm, mixed, q, state, tile);
    linear(cm, out, D, mixed, H * d, n, &w->o_proj);
    cm->arena->used = mark;
}
