/* attention.h - gated full attention (Qwen3_5MoeAttention): grouped-query, rotary, causal, and
 * its output times sigmoid(gate); q_proj gives, head by head, a query and a gate.
 *
 * Scores are computed in blocks of queries and keys with an online softmax (Milakov and
 * Gimelshein, arXiv 1805.02867; FlashAttention, arXiv 2205.14135), so no [T, T] matrix exists.
 *
 * A sequence that is computed in several calls keeps its keys and values in a state, one for each
 * layer.  The caller owns the states and their memory, and chooses which sequences are in a
 * call. */
#ifndef SURPRISAL_MODEL_ATTENTION_H
#define SURPRISAL_MODEL_ATTENTION_H

#include "formats/weights.h"
#include "model/buffers.h"
#include "model/linear.h"

/* Of one sequence in one layer. */
struct attention_state {
    float *k, *v;                   /* [capacity, KV * d]: borrowed */
    size_t n_past;                  /* tokens that they hold */
    size_t capacity;
};

/* Memory for up to n_tokens; SIZE_MAX when they are too many. */
size_t attention_state_bytes(const struct config *c, size_t n_tokens);
/* No tokens yet; memory [attention_state_bytes], 64-byte aligned. */
void attention_state_init(struct attention_state *s, const struct config *c, size_t n_tokens,
                          void *memory);

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
    } blocks;
};

/* For tiles of up to `rows` tokens.  key_tokens >= rows: forward writes keys and values of a tile
 * to b->keys, unless the tile is one sequence with a state. */
struct attention_buffers attention_buffers_take(struct arena *a, const struct compute *cm,
                                                size_t rows, size_t output_rows,
                                                size_t key_tokens);

/* out [n_output_rows, D] = attention of h [n, D], the normed input of the tile, which is used up.
 * states [tile->n_windows]: rows of window w continue the sequence of states[w], which then holds
 * them too; NULL: each window is a whole sequence. */
void attention_forward(const struct compute *cm, const struct attention_buffers *b, float *out,
                       float *h, const struct attention_weights *w, const struct tile *tile,
                       struct attention_state *const *states);

/* ---- how much it is -------------------------------------------------------- */

#define ATTENTION_KEYS ((size_t)128)        /* in a block */
/* Rows of a whole block of queries: (token, head) pairs. */
size_t attention_block_rows(const struct config *c);

/* Of the products of blocks, keys after a query in its last blocks included; and the scores that
 * are left when those keys are masked. */
struct attention_amount {
    double flop, scores;
};

/* Adds the queries of n tokens, the first at position `first` of its window. */
void attention_count(struct attention_amount *sum, const struct config *c, size_t first, size_t n);

#endif
