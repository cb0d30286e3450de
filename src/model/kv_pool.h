/* kv_pool.h - keys and values of full attention in blocks, which sequences take as they grow.
 *
 * A block holds KV_BLOCK tokens of one sequence in all layers with full attention:
 *
 *     for each layer:    keys [KV heads][KV_BLOCK][head_dim]
 *                        values, the same
 *
 * so a head's keys of a block are a matrix, and its values another.  They are stored as f32, or
 * rounded to BF16 once, when they are stored; whatever reads them reads what is stored.  In BF16
 * compute (compute.h) keys and values are BF16 before that, so both forms give the same bits.
 *
 * A pool has a fixed number of blocks.  Their addresses exist from the beginning, but the system
 * gives memory only to those that have been used.  A table is what one sequence has of a pool: the
 * block of tokens [0, KV_BLOCK), the next one, and so on.  Copies of a table share its blocks until
 * one of them writes to one.
 *
 * When a pool has no block left, kv_table_reserve fails and changes nothing.  kv_table_lacks tells
 * before how many blocks it will take; a caller with several sequences compares that with
 * pool->n_free, and closes or cuts another sequence first, or lets this one wait.
 *
 * A pool and its tables are used by one thread at a time; any number may read blocks. */
#ifndef SURPRISAL_MODEL_KV_POOL_H
#define SURPRISAL_MODEL_KV_POOL_H

#include <stdint.h>

#include "base/memory.h"
#include "formats/config.h"
#include "kernels/kernels.h"

/* Tokens of a block; attention multiplies queries with as many keys at a time. */
#define KV_BLOCK ((size_t)128)

struct kv_shape {
    enum dtype dtype;               /* DTYPE_F32 or DTYPE_BF16 */
    size_t layers;                  /* with full attention */
    size_t heads, head_dim;         /* of keys */
};

struct kv_shape kv_shape_of(const struct config *c, enum dtype dtype);
/* Of a token in all layers; SIZE_MAX when that is too many, as in the functions below. */
size_t kv_token_bytes(const struct kv_shape *s);

/* Zero-initialise; release with kv_pool_close, after its tables. */
struct kv_pool {
    struct kv_shape shape;
    size_t block_bytes, n_blocks;
    size_t n_free;
    struct arena memory;            /* owned: [n_blocks, block_bytes] */
    uint32_t *users;                /* owned [n_blocks]: tables that have the block */
    uint32_t *free;                 /* owned [n_blocks]: the first n_free are free blocks */
};

/* Blocks for one sequence of n tokens. */
size_t kv_pool_blocks(size_t n_tokens);
/* Memory of a pool whose blocks have all been used. */
size_t kv_pool_bytes(const struct kv_shape *s, size_t n_blocks);
/* n_blocks: at most UINT32_MAX. */
bool kv_pool_open(struct kv_pool *p, const struct kv_shape *s, size_t n_blocks, struct error *err);
void kv_pool_close(struct kv_pool *p);

/* Zero-initialise; release with kv_table_close, which gives its blocks back. */
struct kv_table {
    struct kv_pool *pool;           /* borrowed */
    uint32_t *block;                /* owned [capacity] */
    size_t n, capacity;             /* blocks */
};

/* For sequences of up to n_tokens. */
bool kv_table_open(struct kv_table *t, struct kv_pool *pool, size_t n_tokens, struct error *err);
void kv_table_close(struct kv_table *t);

/* Blocks that kv_table_reserve will take from the pool. */
size_t kv_table_lacks(const struct kv_table *t, size_t n_past, size_t n);
/* Makes tokens [n_past, n_past + n) writable: takes blocks that are missing, and copies those that
 * are shared. */
bool kv_table_reserve(struct kv_table *t, size_t n_past, size_t n, struct error *err);
/* Keeps the first n tokens; blocks that hold none of them go back. */
void kv_table_cut(struct kv_table *t, size_t n_tokens);
/* Makes `to`, of the same pool and for as many tokens, share the blocks of the first n tokens of
 * `from`; its own go back. */
void kv_table_copy(struct kv_table *to, const struct kv_table *from, size_t n_tokens);

/* Views of block i of a table, [KV_BLOCK, head_dim]; layer counts those with full attention. */
struct matrix kv_table_keys(const struct kv_table *t, size_t i, size_t layer, size_t head);
struct matrix kv_table_values(const struct kv_table *t, size_t i, size_t layer, size_t head);
/* Stores token `token`, which is reserved: k and v [heads * head_dim]. */
void kv_table_store(const struct kv_table *t, const struct row_kernels *rows, size_t layer,
                    size_t token, const float *k, const float *v);

#endif
