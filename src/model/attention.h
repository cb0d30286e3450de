/* attention.h - gated full attention (Qwen3_5MoeAttention): grouped-query, rotary, causal, and
 * its output times sigmoid(gate); q_proj gives, head by head, a query and a gate.
 *
 * Scores are computed in blocks of queries and keys with an online softmax (Milakov and
 * Gimelshein, arXiv 1805.02867; FlashAttention, arXiv 2205.14135), so no [T, T] matrix exists.
 *
 * A sequence that is computed in several calls keeps its keys and values in a state, one for each
 * layer.  The caller owns the states and their memory, and chooses which sequences are in a
 * call.
 *
 * With few rows (struct compute) and keys in blocks, the keys that a row sees are split into at
 * most ATTENTION_CHUNKS chunks of whole key blocks, which the threads share.  Each chunk has an
 * online softmax of its own; then the chunks are added up in ascending order (Flash-Decoding, Dao
 * et al. 2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html).  The split depends on the
 * row's position alone: not on threads, nor on other rows and sequences. */
#ifndef SURPRISAL_MODEL_ATTENTION_H
#define SURPRISAL_MODEL_ATTENTION_H

#include "formats/weights.h"
#include "model/buffers.h"
#include "model/kv_pool.h"
#include "model/linear.h"

#define ATTENTION_CHUNKS ((size_t)32)

/* Of one sequence in one layer.  Keys and values are in blocks, or as f32 in one place, where a
 * window is that an evaluation computes in pieces. */
struct attention_state {
    const struct kv_table *blocks;  /* borrowed; NULL: */
    float *k, *v;                   /* [capacity, KV * d]: borrowed */
    size_t layer;                   /* in the blocks */
    size_t n_past;                  /* tokens of the sequence so far */
    size_t capacity;
};

/* Memory for up to n_tokens; SIZE_MAX when they are too many. */
size_t attention_state_bytes(const struct config *c, size_t n_tokens);
/* No tokens yet; memory [attention_state_bytes], 64-byte aligned. */
void attention_state_init(struct attention_state *s, const struct config *c, size_t n_tokens,
                          void *memory);
/* The same in blocks.  The caller reserves the blocks of new tokens before attention_forward. */
void attention_state_init_blocks(struct attention_state *s, const struct kv_table *blocks,
                                 size_t layer);

struct attention_buffers {
    float *q;                       /* [output_rows, H * 2 * d] */
    float *mixed;                   /* [output_rows, H * d] */
    void *keys;                     /* memory of a state of key_tokens */
    /* One after the other: */
    struct linear_buffers linear;
    struct attention_positions {
        float *q_norm, *k_norm;     /* [d] */
        double *frequency;          /* [rotary_dim / 2] */
        struct thread_buffers angles;       /* [rotary_dim]: cosines, sines */
    } positions;
    struct attention_blocks {       /* of the threads; rows are (token, head) pairs */
        struct thread_buffers query, score, value, max, sum, packed, scratch;
        struct thread_buffers few;  /* with few rows: queries of a KV head */
    } blocks;
    struct attention_chunks {       /* [output_rows, KV, ATTENTION_CHUNKS, heads of a KV head], of
                                       each: as in blocks */
        float *value;               /* [d] */
        float *max;
        double *sum;
    } chunks;                       /* with few rows */
};

/* For tiles of up to `rows` tokens.  key_tokens >= rows: forward writes keys and values of a tile
 * to b->keys, unless the tile is one sequence with a state in one place. */
struct attention_buffers attention_buffers_take(struct arena *a, const struct compute *cm,
                                                size_t rows, size_t output_rows,
                                                size_t key_tokens);

/* out [n_output_rows, D] = attention of h [n, D], the normed input of the tile, which is used up.
 * states [tile->n_windows]: rows of window w continue the sequence of states[w], which then holds
 * them too; all of them are in blocks, or none.  NULL: each window is a whole sequence. */
void attention_forward(const struct compute *cm, const struct attention_buffers *b, float *out,
                       float *h, const struct attention_weights *w, const struct tile *tile,
                       struct attention_state *const *states);

/* Rows that each begin a chain of their own: row i of a window continues rows [0, i] of its
 * sequence by slots that no other row sees (model/mtp.h). */
struct attention_chain {
    float *k, *v;                   /* [n, rows, KV * d]: of slot j of all rows of the batch */
    size_t rows;                    /* of the batch */
    size_t n;                       /* slots, the new one included; 0: no chain.  At most KEY_BLOCK
                                       of attention.c */
};

/* As attention_forward of slot chain->n - 1 of each row of the tile, all of which are output rows.
 * states [tile->n_windows] hold the keys of whole windows, and stay as they are. */
void attention_chain_forward(const struct compute *cm, const struct attention_buffers *b,
                             float *out, const float *h, const struct attention_weights *w,
                             const struct tile *tile, struct attention_state *const *states,
                             const struct attention_chain *chain);

#endif
