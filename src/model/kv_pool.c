#include "model/kv_pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- sizes ----------------------------------------------------------------- */

struct kv_shape kv_shape_of(const struct config *c, enum dtype dtype)
{
    struct kv_shape s = { .dtype = dtype, .heads = c->num_key_value_heads,
                          .head_dim = c->head_dim };
    assert(dtype == DTYPE_F32 || dtype == DTYPE_BF16);
    for (size_t i = 0; i < c->num_hidden_layers; i++)
        s.layers += c->layer_types[i] == FULL_ATTENTION;
    return s;
}

size_t kv_token_bytes(const struct kv_shape *s)
{
    size_t bytes;
    return size_product(&bytes, s->heads, s->head_dim)
        && size_product(&bytes, bytes, 2 * dtype_bytes(s->dtype))
        && size_product(&bytes, bytes, s->layers) ? bytes : SIZE_MAX;
}

/* Of the keys, or the values, of one head. */
static size_t head_bytes(const struct kv_shape *s)
{
    return KV_BLOCK * s->head_dim * dtype_bytes(s->dtype);
}

static size_t block_bytes(const struct kv_shape *s)
{
    size_t bytes;
    return size_product(&bytes, kv_token_bytes(s), KV_BLOCK) ? bytes : SIZE_MAX;
}

size_t kv_pool_blocks(size_t n_tokens)
{
    return n_tokens / KV_BLOCK + (n_tokens % KV_BLOCK > 0);
}

size_t kv_pool_bytes(const struct kv_shape *s, size_t n_blocks)
{
    size_t bytes, lists;
    return size_product(&bytes, block_bytes(s), n_blocks)
        && size_product(&lists, n_blocks, 2 * sizeof(uint32_t)) && size_sum(&bytes, bytes, lists)
        && bytes <= SIZE_MAX / 2 ? bytes : SIZE_MAX;
}

/* ---- the pool --------------------------------------------------------------- */

bool kv_pool_open(struct kv_pool *p, const struct kv_shape *s, size_t n_blocks, struct error *err)
{
    *p = (struct kv_pool){ .shape = *s, .block_bytes = block_bytes(s), .n_blocks = n_blocks,
                           .n_free = n_blocks };
    size_t bytes = kv_pool_bytes(s, n_blocks);
    if (n_blocks > UINT32_MAX || bytes == SIZE_MAX)
        return error_lack(err, "out of memory: %zu blocks of keys and values", n_blocks);
    p->users = mem_array(n_blocks, sizeof *p->users, "blocks of keys and values", err);
    p->free = mem_array(n_blocks, sizeof *p->free, "blocks of keys and values", err);
    if (!p->users || !p->free
        || !arena_reserve(&p->memory, n_blocks * p->block_bytes, err)) {
        kv_pool_close(p);
        return false;
    }
    arena_take(&p->memory, n_blocks, p->block_bytes);
    for (size_t i = 0; i < n_blocks; i++)           /* the first block goes first */
        p->free[i] = (uint32_t)(n_blocks - 1 - i);
    return true;
}

void kv_pool_close(struct kv_pool *p)
{
    arena_free(&p->memory);
    free(p->users);
    free(p->free);
    *p = (struct kv_pool){ 0 };
}

static char *block_at(const struct kv_pool *p, uint32_t block)
{
    return p->memory.block + block * p->block_bytes;
}

static uint32_t take(struct kv_pool *p)
{
    assert(p->n_free > 0);
    uint32_t block = p->free[--p->n_free];
    p->users[block] = 1;
    return block;
}

static void give_back(struct kv_pool *p, uint32_t block)
{
    if (--p->users[block] == 0)
        p->free[p->n_free++] = block;
}

/* ---- tables ----------------------------------------------------------------- */

bool kv_table_open(struct kv_table *t, struct kv_pool *pool, size_t n_tokens, struct error *err)
{
    size_t capacity = kv_pool_blocks(n_tokens);
    *t = (struct kv_table){ .pool = pool, .capacity = capacity };
    t->block = mem_array(capacity, sizeof *t->block, "the keys and values of a sequence", err);
    return t->block != NULL;
}

void kv_table_close(struct kv_table *t)
{
    kv_table_cut(t, 0);
    free(t->block);
    *t = (struct kv_table){ 0 };
}

size_t kv_table_lacks(const struct kv_table *t, size_t n_past, size_t n)
{
    size_t lacks = 0;
    for (size_t i = n_past / KV_BLOCK; n > 0 && i <= (n_past + n - 1) / KV_BLOCK; i++)
        lacks += i >= t->n || t->pool->users[t->block[i]] > 1;
    return lacks;
}

bool kv_table_reserve(struct kv_table *t, size_t n_past, size_t n, struct error *err)
{
    struct kv_pool *p = t->pool;
    size_t end = n_past + n, lacks = kv_table_lacks(t, n_past, n);
    assert(kv_pool_blocks(end) <= t->capacity && n_past <= t->n * KV_BLOCK);
    if (lacks > p->n_free)
        return error_lack(err, "the keys and values of %zu tokens after %zu need %zu blocks of %zu "
                          "tokens, %zu of %zu are free", n, n_past, lacks, KV_BLOCK, p->n_free,
                          p->n_blocks);
    for (size_t i = n_past / KV_BLOCK; n > 0 && i <= (end - 1) / KV_BLOCK; i++) {
        if (i >= t->n) {
            t->block[t->n++] = take(p);
        } else if (p->users[t->block[i]] > 1) {
            uint32_t own = take(p);
            memcpy(block_at(p, own), block_at(p, t->block[i]), p->block_bytes);
            give_back(p, t->block[i]);
            t->block[i] = own;
        }
    }
    return true;
}

void kv_table_cut(struct kv_table *t, size_t n_tokens)
{
    while (t->n > kv_pool_blocks(n_tokens))
        give_back(t->pool, t->block[--t->n]);
}

void kv_table_copy(struct kv_table *to, const struct kv_table *from, size_t n_tokens)
{
    size_t n = size_min(from->n, kv_pool_blocks(n_tokens));
    assert(to->pool == from->pool && n <= to->capacity);
    for (size_t i = 0; i < n; i++)              /* first, for a block that both have */
        from->pool->users[from->block[i]]++;
    kv_table_cut(to, 0);
    for (size_t i = 0; i < n; i++)
        to->block[i] = from->block[i];
    to->n = n;
}

/* ---- what blocks hold --------------------------------------------------------- */

static struct matrix view(const struct kv_table *t, size_t i, size_t layer, size_t part)
{
    const struct kv_shape *s = &t->pool->shape;
    assert(i < t->n && layer < s->layers);
    const char *at = block_at(t->pool, t->block[i])
                   + (layer * 2 * s->heads + part) * head_bytes(s);
    return (struct matrix){ .dtype = s->dtype, .data = (const uint8_t *)at, .rows = KV_BLOCK,
                            .cols = s->head_dim };
}

struct matrix kv_table_keys(const struct kv_table *t, size_t i, size_t layer, size_t head)
{
    return view(t, i, layer, head);
}

struct matrix kv_table_values(const struct kv_table *t, size_t i, size_t layer, size_t head)
{
    return view(t, i, layer, t->pool->shape.heads + head);
}

/* A row for each head. */
static void store(const struct kv_table *t, const struct row_kernels *rows, size_t layer,
                  size_t token, size_t part, const float *x)
{
    const struct kv_shape *s = &t->pool->shape;
    size_t d = s->head_dim;
    for (size_t h = 0; h < s->heads; h++) {
        const struct matrix m = view(t, token / KV_BLOCK, layer, part + h);
        size_t at = token % KV_BLOCK * d * dtype_bytes(s->dtype);
        void *to = (void *)(uintptr_t)(m.data + at);
        if (s->dtype == DTYPE_BF16)
            rows->to_bf16(to, x + h * d, d);
        else
            memcpy(to, x + h * d, d * sizeof *x);
    }
}

void kv_table_store(const struct kv_table *t, const struct row_kernels *rows, size_t layer,
                    size_t token, const float *k, const float *v)
{
    store(t, rows, layer, token, 0, k);
    store(t, rows, layer, token, t->pool->shape.heads, v);
}
