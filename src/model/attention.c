#include "model/attention.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "model/linear.h"
#include "model/norm.h"
#include "model/rope.h"

/* Rows of queries that are multiplied with a block of keys: all heads that share the KV head, for enough
 * tokens that packing the keys is a small part of the work. */
#define QUERY_ROWS KERNEL_ROWS
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

/* Scratch of one thread; rows are (token, head) pairs, token by token. */
struct block {
    float scale;                    /* of the scores: 1 / sqrt(d) */
    float *query;                   /* [rows, d] */
    float *score;                   /* [rows, KEY_BLOCK] */
    float *value;                   /* [rows, d]: sum of exp(score - max) v so far */
    float *max;                     /* [rows] */
    double *sum;                    /* [rows]: of exp(score - max) so far */
    void *packed, *scratch;         /* of the products */
};

/* Heads that share one KV head, and the tokens a block has of each. */
static size_t group_size(const struct config *c)
{
    return c->num_attention_heads / c->num_key_value_heads;
}

static size_t tokens_of_block(const struct config *c)
{
    return QUERY_ROWS > group_size(c) ? QUERY_ROWS / group_size(c) : 1;
}

static struct block *blocks_take(const struct compute *cm)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t d = cm->config->head_dim, rows = tokens_of_block(cm->config) * group_size(cm->config);
    size_t keys = ops->packed_bytes(ops, KEY_BLOCK, d), values = ops->packed_bytes(ops, d, KEY_BLOCK);
    struct block *blocks = arena_take(cm->arena, (size_t)cm->n_threads, sizeof *blocks);
    for (int i = 0; i < cm->n_threads; i++) {
        struct block b = {
            .scale = (float)(1 / sqrt((double)d)),
            .query = arena_take(cm->arena, rows, d * sizeof *b.query),
            .score = arena_take(cm->arena, rows, KEY_BLOCK * sizeof *b.score),
            .value = arena_take(cm->arena, rows, d * sizeof *b.value),
            .max = arena_take(cm->arena, rows, sizeof *b.max),
            .sum = arena_take(cm->arena, rows, sizeof *b.sum),
            .packed = arena_take(cm->arena, 1, size_max(keys, values)),
            .scratch = arena_take(cm->arena, 1, ops->scratch_bytes(ops)),
        };
        if (blocks)
            blocks[i] = b;
    }
    return blocks;
}

/* Scores of row i, at `position` of its window, against keys [key, key + keys) -> exp(score -
 * max), masked; the sum and the values so far are rescaled when the maximum grows. */
static void softmax_row(const struct compute *cm, const struct block *b, size_t i,
                        size_t position, size_t key, size_t keys)
{
    float *score = b->score + i * KEY_BLOCK;
    const struct row_kernels *rows = compute_rows(cm);
    size_t d = cm->config->head_dim;
    size_t seen = position < key ? 0 : position - key + 1;              /* causal */
    seen = size_min(seen, keys);
    for (size_t j = seen; j < keys; j++)
        score[j] = 0;
    if (seen == 0)
        return;
    rows->scale(score, b->scale, seen);
    float max = rows->max(score, seen);
    if (max > b->max[i]) {
        float rescale = expf(b->max[i] - max);
        b->sum[i] *= (double)rescale;
        rows->scale(b->value + i * d, rescale, d);
        b->max[i] = max;
    }
    /* A NaN that the maximum passed over reaches the sum, so it is not lost. */
    b->sum[i] += rows->exp_sum(score, b->max[i], seen);
}

/* The queries of n tokens from `first` on against all keys up to themselves.  k, v: the KV head's
 * columns of the whole window, rows ldkv apart.  The result goes to b->value. */
static void attend(const struct compute *cm, const struct block *b, const float *k,
                   const float *v, size_t ldkv, size_t first, size_t n)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t d = cm->config->head_dim, group = group_size(cm->config), rows = n * group;
    for (size_t i = 0; i < rows; i++) {
        b->max[i] = -INFINITY;
        b->sum[i] = 0;
    }
    memset(b->value, 0, rows * d * sizeof *b->value);
    for (size_t key = 0; key < first + n; key += KEY_BLOCK) {
        size_t keys = size_min(first + n - key, KEY_BLOCK);
        ops->pack(ops, b->packed, &(struct gemm_b){ k + key * ldkv, 1, ldkv, keys, d }, 0, keys,
                  b->scratch);
        ops->multiply(ops, &(struct gemm){ .c = b->score, .ldc = KEY_BLOCK, .a = b->query, .stride_rows = d,
                                           .stride_k = 1, .packed = b->packed, .m = rows, .n = keys,
                                           .k = d, .scratch = b->scratch });
        for (size_t i = 0; i < rows; i++)
            softmax_row(cm, b, i, first + i / group, key, keys);
        ops->pack(ops, b->packed, &(struct gemm_b){ v + key * ldkv, ldkv, 1, d, keys }, 0, d,
                  b->scratch);
        ops->multiply(ops, &(struct gemm){ .c = b->value, .ldc = d, .a = b->score, .stride_rows = KEY_BLOCK,
                                           .stride_k = 1, .packed = b->packed, .m = rows, .n = d,
                                           .k = keys, .accumulate = true, .scratch = b->scratch });
    }
    for (size_t i = 0; i < rows; i++) {
        compute_rows(cm)->scale(b->value + i * d, (float)(1 / b->sum[i]), d);
        compute_rows(cm)->round(b->value + i * d, d);
    }
}

/* Norm and rotary of one token's heads; x: n_heads heads, `stride` floats apart. */
static void norm_and_rotate(const struct compute *cm, float *x, size_t n_heads, size_t stride,
                            const float *norm, const float *cosine, const float *sine)
{
    const struct config *c = cm->config;
    for (size_t h = 0; h < n_heads; h++) {
        float *head = x + h * stride;
        compute_rows(cm)->rms_norm(head, head, norm, c->head_dim, c->rms_norm_eps);
        rope_apply(head, cosine, sine, c->rotary_dim, cm->type);
    }
}

/* Queries (of the output rows) and keys of the tile get their norms and positions. */
static void position_tile(const struct compute *cm, float *q, float *k,
                          const struct attention_weights *w, const struct tile *tile)
{
    const struct config *c = cm->config;
    size_t d = c->head_dim, H = c->num_attention_heads, KV = c->num_key_value_heads;
    size_t half = c->rotary_dim / 2, mark = cm->arena->used;
    float *q_norm = norm_weight(cm, &w->q_norm), *k_norm = norm_weight(cm, &w->k_norm);
    double *frequency = arena_take(cm->arena, half, sizeof *frequency);
    size_t threads = (size_t)cm->n_threads;
    float *angles = arena_take(cm->arena, threads * 2 * half, sizeof *angles);
    if (q) {
        rope_frequencies(frequency, c->rotary_dim, c->rope_theta);
        for (size_t s = 0; s < tile->n_windows; s++) {
            const struct tile_window rows = tile_window(tile, s);
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
            for (size_t t = rows.begin; t < rows.end; t++) {
                float *cosine = angles + (size_t)omp_get_thread_num() * 2 * half;
                rope_angles(cosine, cosine + half, frequency, c->rotary_dim,
                            tile->offset + t - rows.begin);
                compute_rows(cm)->round(cosine, 2 * half);
                if (t >= rows.first_output)
                    norm_and_rotate(cm, q + (rows.out + t - rows.first_output) * H * 2 * d, H, 2 * d,
                                    q_norm, cosine, cosine + half);
                norm_and_rotate(cm, k + t * KV * d, KV, d, k_norm, cosine, cosine + half);
            }
        }
    }
    cm->arena->used = mark;
}

/* One KV head's queries of n tokens: rows [t, t + n) of q and mixed.  The first is at `position` of
 * the window whose keys and values are k and v. */
static void attend_rows(const struct compute *cm, const struct block *b, float *mixed,
                        const float *q, const float *k, const float *v, size_t kv_head,
                        size_t position, size_t t, size_t n)
{
    const struct config *c = cm->config;
    size_t d = c->head_dim, H = c->num_attention_heads, group = group_size(c);
    const float *first = q + (t * H + kv_head * group) * 2 * d;
    for (size_t i = 0; i < n * group; i++)
        memcpy(b->query + i * d, first + (i / group * H + i % group) * 2 * d, d * sizeof *q);
    attend(cm, b, k + kv_head * d, v + kv_head * d, c->num_key_value_heads * d, position, n);
    for (size_t i = 0; i < n * group; i++) {
        size_t head = (t + i / group) * H + kv_head * group + i % group;
        float *out = mixed + head * d;
        memcpy(out, b->value + i * d, d * sizeof *out);
        compute_rows(cm)->mul_sigmoid(out, q + head * 2 * d + d, d);
    }
}

static void attend_tile(const struct compute *cm, float *mixed, const float *q,
                        const struct attention_state *state, const struct tile *tile)
{
    const struct config *c = cm->config;
    size_t d = c->head_dim, H = c->num_attention_heads, KV = c->num_key_value_heads;
    size_t mark = cm->arena->used, step = tokens_of_block(c);
    struct block *blocks = blocks_take(cm);
    if (blocks) {
#pragma omp parallel num_threads(cm->n_threads)
        for (size_t w = 0; w < tile->n_windows; w++) {
            const struct tile_window rows = tile_window(tile, w);
            size_t position = tile->offset + rows.first_output - rows.begin;
#pragma omp for collapse(2) schedule(dynamic) nowait
            for (size_t kv_head = 0; kv_head < KV; kv_head++)
                for (size_t t = 0; t < rows.end - rows.first_output; t += step)
                    attend_rows(cm, &blocks[omp_get_thread_num()], mixed + rows.out * H * d,
                                q + rows.out * H * 2 * d, state->k + rows.begin * KV * d,
                                state->v + rows.begin * KV * d, kv_head, position + t, t,
                                size_min(rows.end - rows.first_output - t, step));
        }
    }
    cm->arena->used = mark;
}

void attention_forward(const struct compute *cm, float *out, float *h,
                       const struct attention_weights *w, const struct tile *tile,
                       struct attention_state *state)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, d = c->head_dim, H = c->num_attention_heads;
    size_t kv = c->num_key_value_heads * d, n = tile->n, n_out = tile->n_output_rows;
    size_t mark = cm->arena->used;
    float *q = arena_take(cm->arena, n_out, H * 2 * d * sizeof *q);
    float *mixed = arena_take(cm->arena, n_out, H * d * sizeof *mixed);
    float *k = state ? state->k + tile->offset * kv : NULL;
    float *v = state ? state->v + tile->offset * kv : NULL;
    linear(cm, k, kv, h, D, n, &w->k_proj);
    linear(cm, v, kv, h, D, n, &w->v_proj);
    if (h)
        tile_keep_output_rows(tile, h, D);
    linear(cm, q, H * 2 * d, h, D, n_out, &w->q_proj);
    position_tile(cm, q, k, w, tile);
    attend_tile(cm, mixed, q, state, tile);
    linear(cm, out, D, mixed, H * d, n_out, &w->o_proj);
    cm->arena->used = mark;
}
