/* sequence_state.h - what a model remembers of one sequence: keys and values of its full attention,
 * in blocks of a pool that sequences share, and matrices and windows of its delta nets
 * (model/kv_pool.h, model/attention.h, model/delta_net.h).
 *
 * Owned by whoever runs the sequence; a decoder (decoder.h) adds tokens to it, and takes blocks for
 * them.  A copy is a snapshot: it shares the blocks of the original until one of the two writes to
 * one, and has delta nets of its own.
 *
 * A state that keeps rows can forget the last tokens of a step, as drafts need it: its delta nets
 * are in memory as they were after each row of the step (model/delta_net.h). */
#ifndef SURPRISAL_DECODE_SEQUENCE_STATE_H
#define SURPRISAL_DECODE_SEQUENCE_STATE_H

#include "base/memory.h"
#include "model/attention.h"
#include "model/delta_net.h"
#include "model/kv_pool.h"

/* A pool for sequences of n_tokens together, in whole blocks; and its memory,
 * SIZE_MAX when it cannot be had.  Keys and values are DTYPE_F32 or DTYPE_BF16. */
size_t sequence_state_pool_bytes(const struct config *c, enum dtype dtype, size_t n_tokens);
bool sequence_state_pool_open(struct kv_pool *pool, const struct config *c, enum dtype dtype,
                              size_t n_tokens, struct error *err);
void sequence_state_pool_close(struct kv_pool *pool);

/* Zero-initialise; release with sequence_state_close, before its pool. */
struct sequence_state {
    struct attention_state *attention;      /* owned [L]; zero in layers of the other type */
    struct delta_net_state *delta_net;      /* owned [L]; the same */
    struct kv_table *keys;                  /* owned */
    struct arena memory;                    /* of the delta nets */
    struct delta_net_state *before;         /* owned [L, n_before]: after earlier rows of a step */
    struct arena before_memory;
    size_t n_layers;                        /* L */
    size_t n_past;                          /* tokens so far */
    size_t capacity;
};

/* Memory of a state without its keys and values; SIZE_MAX when it cannot be had. */
size_t sequence_state_bytes(const struct config *c, size_t capacity);
/* For up to `capacity` tokens, with keys and values in blocks of the pool, which stays borrowed. */
bool sequence_state_open(struct sequence_state *s, const struct config *c, struct kv_pool *pool,
                         size_t capacity, struct error *err);
void sequence_state_close(struct sequence_state *s);

/* Makes room for forgetting up to n tokens of a step, and its memory; SIZE_MAX when it cannot be
 * had.  Once, before the first token. */
size_t sequence_state_rows_bytes(const struct config *c, size_t n);
bool sequence_state_keep_rows(struct sequence_state *s, const struct config *c, size_t n,
                              struct error *err);
/* Forgets the last n tokens of the last step; n is less than its rows. */
void sequence_state_take_back(struct sequence_state *s, size_t n);

/* No tokens again; its blocks go back to the pool. */
void sequence_state_clear(struct sequence_state *s, const struct config *c);

/* Blocks that n more tokens will take from the pool, */
size_t sequence_state_lacks(const struct sequence_state *s, size_t n);
/* and takes them.  If the pool has too few, nothing changes, and err->lacking is set. */
bool sequence_state_reserve(struct sequence_state *s, size_t n, struct error *err);

/* `to` becomes what `from` is.  Both were opened with the same model, pool and capacity. */
void sequence_state_copy(struct sequence_state *to, const struct sequence_state *from,
                         const struct config *c);
/* Forgets the keys and values of tokens from n_tokens on; their blocks go back.  A delta net cannot
 * go back: where the model has some, snapshot_restore is what to call (snapshot.h), or
 * sequence_state_take_back. */
void sequence_state_cut(struct sequence_state *s, size_t n_tokens);

#endif
