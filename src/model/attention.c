#include "model/attention.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "model/norm.h"
#include "model/rope.h"

/* Rows of queries that are multiplied with a block of keys: all heads that share the KV head, for
 * enough tokens that packing the keys is a small part of the work. */
#define QUERY_ROWS KERNEL_ROWS
#define KEY_BLOCK KV_BLOCK

/* ---- state ----------------------------------------------------------------- */

/* Floats of a token's keys; of its values as many. */
static size_t kv_dim(const struct config *c)
{
    return c->num_key_value_heads * c->head_dim;
}

size_t attention_state_bytes(const struct config *c, size_t n_tokens)
{
    size_t bytes;
    if (!size_product(&bytes, n_tokens, 2 * kv_dim(c) * sizeof(float)) || bytes > SIZE_MAX / 2)
        return SIZE_MAX;
    return 2 * buffer_bytes(bytes / 2);
}

void attention_state_init(struct attention_state *s, const struct config *c, size_t n_tokens,
                          void *memory)
{
    float *k = memory;
    size_t half = attention_state_bytes(c, n_tokens) / 2;
    *s = (struct attention_state){ .k = k, .v = k + half / sizeof *k, .capacity = n_tokens };
}

void attention_state_init_blocks(struct attention_state *s, const struct kv_table *blocks,
                                 size_t layer)
{
    *s = (struct attention_state){ .blocks = blocks, .layer = layer,
                                   .capacity = blocks->capacity * KV_BLOCK };
}

static bool in_blocks(struct attention_state *const *states)
{
    return states && states[0]->blocks;
}

static size_t n_past(struct attention_state *const *states, size_t window)
{
    return states ? states[window]->n_past : 0;
}

/* ---- buffers --------------------------------------------------------------- */

/* Heads that share one KV head, and the tokens of a block. */
static size_t group_size(const struct config *c)
{
    return c->num_attention_heads / c->num_key_value_heads;
}

static size_t tokens_of_block(const struct config *c)
{
    return QUERY_ROWS > group_size(c) ? QUERY_ROWS / group_size(c) : 1;
}

static struct attention_positions positions_take(struct arena *a, const struct compute *cm)
{
    const struct config *c = cm->config;
    return (struct attention_positions){
        .q_norm = arena_take(a, c->head_dim, sizeof(float)),
        .k_norm = arena_take(a, c->head_dim, sizeof(float)),
        .frequency = arena_take(a, c->rotary_dim / 2, sizeof(double)),
        .angles = thread_buffers_take(a, cm->n_threads, c->rotary_dim, sizeof(float)),
    };
}

/* Scores are not rounded in BF16 compute, so their products are those of f32: the factors are BF16
 * already. */
static const struct dots_ops *dots_of_scores(const struct compute *cm)
{
    return cm->kernels->dots[COMPUTE_F32];
}

static struct attention_blocks blocks_take(struct arena *a, const struct compute *cm)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t d = cm->config->head_dim, rows = tokens_of_block(cm->config) * group_size(cm->config);
    size_t keys = ops->packed_bytes(ops, KEY_BLOCK, d);
    size_t values = ops->packed_bytes(ops, d, KEY_BLOCK);
    const struct dots_ops *dots = dots_of_scores(cm);
    size_t few = cm->few_rows ? group_size(cm->config) : 0;
    int threads = cm->n_threads;
    return (struct attention_blocks){
        .few = thread_buffers_take(a, threads, few, dots->row_bytes(dots, d)),
        .query = thread_buffers_take(a, threads, rows * d, sizeof(float)),
        .score = thread_buffers_take(a, threads, rows * KEY_BLOCK, sizeof(float)),
        .value = thread_buffers_take(a, threads, rows * d, sizeof(float)),
        .max = thread_buffers_take(a, threads, rows, sizeof(float)),
        .sum = thread_buffers_take(a, threads, rows, sizeof(double)),
        .packed = thread_buffers_take(a, threads, 1, size_max(keys, values)),
        .scratch = thread_buffers_take(a, threads, 1, ops->scratch_bytes(ops)),
    };
}

static struct attention_chunks chunks_take(struct arena *a, const struct compute *cm, size_t rows)
{
    size_t n = cm->few_rows ? ATTENTION_CHUNKS * cm->config->num_attention_heads : 0;
    return (struct attention_chunks){
        .value = arena_take(a, rows, n * cm->config->head_dim * sizeof(float)),
        .max = arena_take(a, rows, n * sizeof(float)),
        .sum = arena_take(a, rows, n * sizeof(double)),
    };
}

struct attention_buffers attention_buffers_take(struct arena *a, const struct compute *cm,
                                                size_t rows, size_t output_rows, size_t key_tokens)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, q = c->num_attention_heads * c->head_dim, kv = kv_dim(c);
    const struct linear_shape linears[] = { { 2 * q, D }, { kv, D }, { D, q } };
    assert(key_tokens >= rows && rows >= output_rows);
    struct attention_buffers b = {
        .q = arena_take(a, output_rows, 2 * q * sizeof *b.q),
        .mixed = arena_take(a, output_rows, q * sizeof *b.mixed),
        .keys = arena_take(a, 1, attention_state_bytes(c, key_tokens)),
    };
    struct overlay o = overlay_begin(a);
    b.linear = linear_buffers_take(a, cm, linears, 3);
    overlay_next(&o, a);
    b.positions = positions_take(a, cm);
    overlay_next(&o, a);
    b.blocks = blocks_take(a, cm);
    b.chunks = chunks_take(a, cm, output_rows);
    overlay_end(&o, a);
    return b;
}

/* ---- scores ---------------------------------------------------------------- */

/* The calling thread's buffers; rows are (token, head) pairs, token by token. */
struct block {
    float scale;                    /* of the scores: 1 / sqrt(d) */
    float *query;                   /* [rows, d] */
    float *score;                   /* [rows, KEY_BLOCK] */
    float *value;                   /* [rows, d]: sum of exp(score - max) v so far */
    float *max;                     /* [rows] */
    double *sum;                    /* [rows]: of exp(score - max) so far */
    void *packed, *scratch;         /* of the products */
    char *few;                      /* [heads of a KV head]: queries of a row of few */
};

static struct block thread_block(const struct compute *cm, const struct attention_blocks *b)
{
    return (struct block){
        .scale = (float)(1 / sqrt((double)cm->config->head_dim)),
        .query = thread_buffer(&b->query), .score = thread_buffer(&b->score),
        .value = thread_buffer(&b->value), .max = thread_buffer(&b->max),
        .sum = thread_buffer(&b->sum), .packed = thread_buffer(&b->packed),
        .scratch = thread_buffer(&b->scratch), .few = thread_buffer(&b->few),
    };
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

/* The slots of a chain that one row of queries sees: KV head's columns, `ld` apart. */
struct own_keys {
    const float *k, *v;
    size_t n, ld;
};

/* Row i of queries against the slots of its own chain. */
static void attend_own(const struct compute *cm, const struct block *b, size_t i,
                       const struct own_keys *own)
{
    size_t d = cm->config->head_dim;
    const float *query = b->query + i * d;
    float *score = b->score + i * KEY_BLOCK, *value = b->value + i * d;
    for (size_t j = 0; j < own->n; j++) {
        double sum = 0;
        for (size_t x = 0; x < d; x++)
            sum += (double)query[x] * (double)own->k[j * own->ld + x];
        score[j] = (float)sum;
    }
    softmax_row(cm, b, i, own->n - 1, 0, own->n);
    for (size_t j = 0; j < own->n; j++)
        for (size_t x = 0; x < d; x++)
            value[x] += score[j] * own->v[j * own->ld + x];
}

/* Where one KV head's keys and values of a window are. */
struct key_rows {
    const struct attention_state *state;    /* in its blocks; NULL: */
    size_t kv_head;
    const float *k, *v;             /* its columns of the whole window, */
    size_t ld;                      /* from row to row */
    /* Of the chain of the first row of queries, those of the rows that follow ld apart; n == 0:
     * there are none. */
    struct own_keys own;
};

/* Keys [key, key + keys), of one block, as the operand of scores. */
static void pack_keys(const struct compute *cm, const struct block *b, const struct key_rows *from,
                      size_t key, size_t keys)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t d = cm->config->head_dim;
    if (!from->state) {
        ops->pack(ops, b->packed,
                  &(struct gemm_b){ from->k + key * from->ld, 1, from->ld, keys, d }, 0, keys,
                  b->scratch);
        return;
    }
    const struct matrix k = kv_table_keys(from->state->blocks, key / KV_BLOCK,
                                          from->state->layer, from->kv_head);
    const struct packed_b to = { .data = b->packed, .n = keys, .k = d };
    ops->pack_weight(ops, &to, &(struct weight_slice){ &k, 0, keys, 0 }, 0, keys, b->scratch);
}

/* Their values, as the operand of sums, a panel of columns at a time. */
static void pack_values(const struct compute *cm, const struct block *b,
                        const struct key_rows *from, size_t key, size_t keys)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t d = cm->config->head_dim;
    if (!from->state) {
        ops->pack(ops, b->packed,
                  &(struct gemm_b){ from->v + key * from->ld, from->ld, 1, d, keys }, 0, d,
                  b->scratch);
        return;
    }
    const struct matrix v = kv_table_values(from->state->blocks, key / KV_BLOCK,
                                            from->state->layer, from->kv_head);
    float panel[KEY_BLOCK * KERNEL_PANEL];
    for (size_t c = 0; c < d; c += KERNEL_PANEL) {
        size_t columns = size_min(d - c, KERNEL_PANEL);
        for (size_t j = 0; j < keys; j++)
            compute_rows(cm)->expand(panel + j * KERNEL_PANEL, &v, j, c, columns);
        ops->pack(ops, b->packed, &(struct gemm_b){ panel, KERNEL_PANEL, 1, d, keys }, c, columns,
                  b->scratch);
    }
}

static void begin_rows(const struct block *b, size_t rows, size_t d)
{
    for (size_t i = 0; i < rows; i++) {
        b->max[i] = -INFINITY;
        b->sum[i] = 0;
    }
    memset(b->value, 0, rows * d * sizeof *b->value);
}

/* The queries of n tokens from `first` on against all keys up to themselves, and those of their
 * chains.  The result goes to b->value. */
static void attend(const struct compute *cm, const struct block *b, const struct key_rows *from,
                   size_t first, size_t n)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    size_t d = cm->config->head_dim, group = group_size(cm->config), rows = n * group;
    begin_rows(b, rows, d);
    for (size_t key = 0; key < first + n; key += KEY_BLOCK) {
        size_t keys = size_min(first + n - key, KEY_BLOCK);
        pack_keys(cm, b, from, key, keys);
        ops->multiply(ops, &(struct gemm){
            .c = b->score, .ldc = KEY_BLOCK, .a = b->query, .stride_rows = d, .stride_k = 1,
            .packed = b->packed, .m = rows, .n = keys, .k = d, .scratch = b->scratch });
        for (size_t i = 0; i < rows; i++)
            softmax_row(cm, b, i, first + i / group, key, keys);
        pack_values(cm, b, from, key, keys);
        ops->multiply(ops, &(struct gemm){
            .c = b->value, .ldc = d, .a = b->score, .stride_rows = KEY_BLOCK, .stride_k = 1,
            .packed = b->packed, .m = rows, .n = d, .k = keys, .accumulate = true,
            .scratch = b->scratch });
    }
    for (size_t i = 0; i < rows && from->own.n; i++) {
        struct own_keys own = from->own;
        own.k += i / group * from->ld;
        own.v += i / group * from->ld;
        attend_own(cm, b, i, &own);
    }
    for (size_t i = 0; i < rows; i++) {
        compute_rows(cm)->scale(b->value + i * d, (float)(1 / b->sum[i]), d);
        compute_rows(cm)->round(b->value + i * d, d);
    }
}

/* ---- a tile ---------------------------------------------------------------- */

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

/* The position of the first row of a tile's window: after those that its state holds, or, in a
 * chain, by its place in the window and the slots before the new one. */
static size_t first_position(const struct tile *tile, size_t window,
                             struct attention_state *const *states,
                             const struct attention_chain *chain)
{
    return !chain ? n_past(states, window)
         : chain->n + (tile->is_piece ? tile->row - tile->start[0] : 0);
}

/* Queries (of the output rows) and keys of the tile get their norms and positions. */
static void position_tile(const struct compute *cm, const struct attention_positions *b, float *q,
                          float *k, const struct attention_weights *w, const struct tile *tile,
                          struct attention_state *const *states,
                          const struct attention_chain *chain)
{
    const struct config *c = cm->config;
    size_t d = c->head_dim, H = c->num_attention_heads, KV = c->num_key_value_heads;
    size_t half = c->rotary_dim / 2;
    norm_weight(cm, b->q_norm, &w->q_norm);
    norm_weight(cm, b->k_norm, &w->k_norm);
    rope_frequencies(b->frequency, c->rotary_dim, c->rope_theta);
#pragma omp parallel num_threads(cm->n_threads)
    for (size_t s = 0; s < tile->n_windows; s++) {
        const struct tile_window rows = tile_window(tile, s);
        size_t past = first_position(tile, s, states, chain);
#pragma omp for schedule(static) nowait
        for (size_t t = rows.begin; t < rows.end; t++) {
            float *cosine = thread_buffer(&b->angles), *sine = cosine + half;
            rope_angles(cosine, sine, b->frequency, c->rotary_dim, past + t - rows.begin);
            compute_rows(cm)->round(cosine, 2 * half);
            if (t >= rows.first_output)
                norm_and_rotate(cm, q + (rows.out + t - rows.first_output) * H * 2 * d, H, 2 * d,
                                b->q_norm, cosine, sine);
            norm_and_rotate(cm, k + t * KV * d, KV, d, b->k_norm, cosine, sine);
        }
    }
}

/* Where keys and values of a tile are computed: in the state of its one sequence, if that is in one
 * place, or in a buffer of the tile. */
static struct attention_state tile_keys(const struct config *c, const struct attention_buffers *b,
                                        const struct tile *tile,
                                        struct attention_state *const *states)
{
    struct attention_state keys;
    for (size_t w = 0; states && w < tile->n_windows; w++)
        assert(tile_window_rows(tile, w) <= states[w]->capacity - states[w]->n_past);
    if (!states || in_blocks(states) || tile->n_windows > 1) {
        attention_state_init(&keys, c, tile->n, b->keys);
        return keys;
    }
    keys = *states[0];
    keys.k += keys.n_past * kv_dim(c);
    keys.v += keys.n_past * kv_dim(c);
    return keys;
}

/* The rows of each sequence go to its state. */
static void append_keys(const struct config *c, struct attention_state *const *states,
                        const struct attention_state *keys, const struct tile *tile)
{
    size_t kv = kv_dim(c);
    for (size_t w = 0; w < tile->n_windows; w++) {
        struct attention_state *s = states[w];
        size_t from = tile_window(tile, w).begin * kv, to = s->n_past * kv;
        size_t bytes = tile_window_rows(tile, w) * kv * sizeof *s->k;
        memcpy(s->k + to, keys->k + from, bytes);
        memcpy(s->v + to, keys->v + from, bytes);
    }
}

/* The same with blocks. */
static void store_keys(const struct compute *cm, struct attention_state *const *states,
                       const struct attention_state *keys, const struct tile *tile)
{
    size_t kv = kv_dim(cm->config);
#pragma omp parallel num_threads(cm->n_threads)
    for (size_t w = 0; w < tile->n_windows; w++) {
        const struct attention_state *s = states[w];
        const struct tile_window rows = tile_window(tile, w);
#pragma omp for schedule(static) nowait
        for (size_t t = rows.begin; t < rows.end; t++)
            kv_table_store(s->blocks, compute_rows(cm), s->layer, s->n_past + t - rows.begin,
                           keys->k + t * kv, keys->v + t * kv);
    }
}

/* mixed [d] = the result of a head times the sigmoid of its gate; query: the head's query, before
 * its gate. */
static void gate_head(const struct compute *cm, float *mixed, const float *value,
                      const float *query)
{
    size_t d = cm->config->head_dim;
    memcpy(mixed, value, d * sizeof *mixed);
    compute_rows(cm)->mul_sigmoid(mixed, query + d, d);
}

/* One KV head's queries of n tokens: rows [t, t + n) of q and mixed.  The first is at `position` of
 * its window. */
static void attend_rows(const struct compute *cm, const struct block *b, float *mixed,
                        const float *q, const struct key_rows *from, size_t position, size_t t,
                        size_t n)
{
    const struct config *c = cm->config;
    size_t d = c->head_dim, H = c->num_attention_heads, group = group_size(c);
    size_t kv_head = from->kv_head;
    const float *first = q + (t * H + kv_head * group) * 2 * d;
    for (size_t i = 0; i < n * group; i++)
        memcpy(b->query + i * d, first + (i / group * H + i % group) * 2 * d, d * sizeof *q);
    attend(cm, b, from, position, n);
    for (size_t i = 0; i < n * group; i++) {
        size_t head = (t + i / group) * H + kv_head * group + i % group;
        gate_head(cm, mixed + head * d, b->value + i * d, q + head * 2 * d);
    }
}

/* One KV head of window w. */
static struct key_rows keys_of(const struct config *c, const struct attention_state *keys,
                               const struct tile_window *rows,
                               const struct attention_state *state, size_t kv_head)
{
    size_t kv = kv_dim(c), column = kv_head * c->head_dim;
    struct key_rows from = { .kv_head = kv_head, .ld = kv };
    if (state && state->blocks) {
        from.state = state;
        return from;
    }
    from.k = (state ? state->k : keys->k + rows->begin * kv) + column;
    from.v = (state ? state->v : keys->v + rows->begin * kv) + column;
    return from;
}

/* The keys of a chain's rows, from `row` of the pass on: the new slot's are its own, and no other
 * row's. */
static struct own_keys own_keys_of(const struct config *c, const struct attention_chain *chain,
                                   size_t row, size_t kv_head)
{
    size_t kv = kv_dim(c), first = row * kv + kv_head * c->head_dim;
    return (struct own_keys){ chain->k + first, chain->v + first, chain->n, chain->rows * kv };
}

/* b->mixed = attention of b->q, both of the output rows. */
static void attend_tile(const struct compute *cm, const struct attention_buffers *b,
                        const struct attention_state *keys, const struct tile *tile,
                        struct attention_state *const *states, const struct attention_chain *chain)
{
    const struct config *c = cm->config;
    size_t q = c->num_attention_heads * c->head_dim, step = tokens_of_block(c);
#pragma omp parallel num_threads(cm->n_threads)
    for (size_t w = 0; w < tile->n_windows; w++) {
        const struct block block = thread_block(cm, &b->blocks);
        const struct tile_window rows = tile_window(tile, w);
        size_t n = rows.end - rows.first_output;
        size_t first = first_position(tile, w, states, chain) + rows.first_output - rows.begin;
        const struct attention_state *state = states ? states[w] : NULL;
        if (chain)                              /* the slots of the chain are not the window's */
            first -= chain->n;
#pragma omp for collapse(2) schedule(dynamic) nowait
        for (size_t kv_head = 0; kv_head < c->num_key_value_heads; kv_head++)
            for (size_t t = 0; t < n; t += step) {
                struct key_rows from = keys_of(c, keys, &rows, state, kv_head);
                if (chain)
                    from.own = own_keys_of(c, chain, tile->row + rows.begin + t, kv_head);
                attend_rows(cm, &block, b->mixed + rows.out * q, b->q + rows.out * 2 * q, &from,
                            first + t, t, size_min(n - t, step));
            }
    }
}

/* ---- a few rows --------------------------------------------------------------- */

/* Keys of a chunk for a row that sees n. */
static size_t chunk_keys(size_t n)
{
    size_t blocks = kv_pool_blocks(n);
    return (blocks + ATTENTION_CHUNKS - 1) / ATTENTION_CHUNKS * KV_BLOCK;
}

/* Chunk `chunk` of a row and KV head, as softmax_row takes it. */
static struct block chunk_of(const struct compute *cm, const struct attention_buffers *b,
                             size_t row, size_t kv_head, size_t chunk)
{
    size_t group = group_size(cm->config), KV = cm->config->num_key_value_heads;
    size_t first = ((row * KV + kv_head) * ATTENTION_CHUNKS + chunk) * group;
    struct block of = thread_block(cm, &b->blocks);
    of.value = b->chunks.value + first * cm->config->head_dim;
    of.max = b->chunks.max + first;
    of.sum = b->chunks.sum + first;
    return of;
}

/* The scores of a group against keys k, from what attend_chunk arranged. */
static void score_keys(const struct compute *cm, const struct block *b, const struct matrix *k,
                       size_t keys)
{
    const struct dots_ops *dots = dots_of_scores(cm);
    size_t group = group_size(cm->config), row_bytes = dots->row_bytes(dots, k->cols);
    for (size_t g = 0; g < group; g += DOTS_ROWS)
        dots->multiply(dots, b->score + g * KEY_BLOCK, KEY_BLOCK, b->few + g * row_bytes,
                       size_min(DOTS_ROWS, group - g), k, 0, keys);
}

/* The queries of a KV head's group, q [group, 2 d], at `position` against the keys of one chunk. */
static void attend_chunk(const struct compute *cm, const struct block *b, const float *q,
                         const struct key_rows *from, size_t position, size_t chunk)
{
    const struct row_kernels *rows = cm->kernels->rows;
    const struct dots_ops *dots = dots_of_scores(cm);
    size_t d = cm->config->head_dim, group = group_size(cm->config);
    size_t size = chunk_keys(position + 1), key = chunk * size;
    size_t end = size_min(key + size, position + 1);
    begin_rows(b, group, d);
    dots->arrange(dots, b->few, q, 2 * d, group, d);
    for (; key < end; key += KV_BLOCK) {
        size_t keys = size_min(end - key, KV_BLOCK), i = key / KV_BLOCK;
        const struct matrix k =
            kv_table_keys(from->state->blocks, i, from->state->layer, from->kv_head);
        const struct matrix v =
            kv_table_values(from->state->blocks, i, from->state->layer, from->kv_head);
        score_keys(cm, b, &k, keys);
        for (size_t g = 0; g < group; g++)
            softmax_row(cm, b, g, position, key, keys);
        rows->add_weighted(b->value, d, b->score, KEY_BLOCK, group, &v, 0, keys);
    }
}

/* value [d], the first chunk's, = the result of one head of a group from its n chunks. */
static void add_chunks(const struct compute *cm, const struct block *first, size_t head, size_t n)
{
    size_t d = cm->config->head_dim, group = group_size(cm->config);
    float *value = first->value + head * d, max = -INFINITY;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        max = fmaxf(max, first->max[i * group + head]);
    for (size_t i = 0; i < n; i++) {
        size_t row = i * group + head;
        float factor = expf(first->max[row] - max);
        sum += first->sum[row] * (double)factor;
        if (i == 0)
            cm->kernels->rows->scale(value, factor, d);
        else
            cm->kernels->rows->add_scaled(value, first->value + row * d, factor, d);
    }
    compute_rows(cm)->scale(value, (float)(1 / sum), d);
    compute_rows(cm)->round(value, d);
}

/* attend_tile for few rows, of sequences in blocks. */
static void attend_few_rows(const struct compute *cm, const struct attention_buffers *b,
                            const struct tile *tile, struct attention_state *const *states)
{
    const struct config *c = cm->config;
    size_t d = c->head_dim, H = c->num_attention_heads, KV = c->num_key_value_heads;
    size_t group = group_size(c);
#pragma omp parallel num_threads(cm->n_threads)
    for (size_t w = 0; w < tile->n_windows; w++) {
        const struct tile_window rows = tile_window(tile, w);
        size_t n = rows.end - rows.first_output;
        size_t first = states[w]->n_past + rows.first_output - rows.begin;
#pragma omp for collapse(3) schedule(dynamic) nowait
        for (size_t t = 0; t < n; t++)
            for (size_t kv_head = 0; kv_head < KV; kv_head++)
                for (size_t chunk = 0; chunk < ATTENTION_CHUNKS; chunk++) {
                    const struct block of = chunk_of(cm, b, rows.out + t, kv_head, chunk);
                    const struct key_rows from = { .state = states[w], .kv_head = kv_head };
                    if (chunk * chunk_keys(first + t + 1) <= first + t)
                        attend_chunk(cm, &of, b->q + ((rows.out + t) * H + kv_head * group) * 2 * d,
                                     &from, first + t, chunk);
                }
    }
#pragma omp parallel num_threads(cm->n_threads)
    for (size_t w = 0; w < tile->n_windows; w++) {
        const struct tile_window rows = tile_window(tile, w);
        size_t n = rows.end - rows.first_output;
        size_t first = states[w]->n_past + rows.first_output - rows.begin;
#pragma omp for collapse(2) schedule(static) nowait
        for (size_t t = 0; t < n; t++)
            for (size_t head = 0; head < H; head++) {
                size_t keys = first + t + 1, size = chunk_keys(keys), row = rows.out + t;
                const struct block of = chunk_of(cm, b, row, head / group, 0);
                add_chunks(cm, &of, head % group, (keys + size - 1) / size);
                gate_head(cm, b->mixed + (row * H + head) * d, of.value + head % group * d,
                          b->q + (row * H + head) * 2 * d);
            }
    }
}

/* ---- the whole ------------------------------------------------------------------ */

void attention_forward(const struct compute *cm, const struct attention_buffers *b, float *out,
                       float *h, const struct attention_weights *w, const struct tile *tile,
                       struct attention_state *const *states)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, q = c->num_attention_heads * c->head_dim, kv = kv_dim(c);
    size_t n = tile->n, n_out = tile->n_output_rows;
    const struct attention_state keys = tile_keys(c, b, tile, states);
    linear_forward(cm, &b->linear, keys.k, kv, h, D, n, &w->k_proj);
    linear_forward(cm, &b->linear, keys.v, kv, h, D, n, &w->v_proj);
    tile_keep_output_rows(tile, h, D);
    linear_forward(cm, &b->linear, b->q, 2 * q, h, D, n_out, &w->q_proj);
    position_tile(cm, &b->positions, b->q, keys.k, w, tile, states, NULL);
    if (in_blocks(states))
        store_keys(cm, states, &keys, tile);
    else if (states && tile->n_windows > 1)
        append_keys(c, states, &keys, tile);
    if (cm->few_rows && in_blocks(states))
        attend_few_rows(cm, b, tile, states);
    else
        attend_tile(cm, b, &keys, tile, states, NULL);
    for (size_t i = 0; states && i < tile->n_windows; i++)
        states[i]->n_past += tile_window_rows(tile, i);
    linear_forward(cm, &b->linear, out, D, b->mixed, q, n_out, &w->o_proj);
}

void attention_chain_forward(const struct compute *cm, const struct attention_buffers *b,
                             float *out, const float *h, const struct attention_weights *w,
                             const struct tile *tile, struct attention_state *const *states,
                             const struct attention_chain *chain)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, q = c->num_attention_heads * c->head_dim, kv = kv_dim(c);
    size_t n = tile->n, slot = (chain->n - 1) * chain->rows + tile->row;
    float *k = chain->k + slot * kv, *v = chain->v + slot * kv;
    assert(chain->n > 0 && chain->n <= KEY_BLOCK && tile->n_output_rows == n);
    linear_forward(cm, &b->linear, k, kv, h, D, n, &w->k_proj);
    linear_forward(cm, &b->linear, v, kv, h, D, n, &w->v_proj);
    linear_forward(cm, &b->linear, b->q, 2 * q, h, D, n, &w->q_proj);
    position_tile(cm, &b->positions, b->q, k, w, tile, states, chain);
    attend_tile(cm, b, NULL, tile, states, chain);
    linear_forward(cm, &b->linear, out, D, b->mixed, q, n, &w->o_proj);
}
