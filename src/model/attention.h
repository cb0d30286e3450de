/* attention.h - gated full attention (Qwen3_5MoeAttention): grouped-query, rotary, causal, and
 * its output times sigmoid(gate); q_proj gives, head by head, a query and a gate.
 *
 * Scores are computed in blocks of queries and keys with an online softmax (Milakov and
 * Gimelshein, arXiv 1805.02867; FlashAttention, arXiv 2205.14135), so no [T, T] matrix exists. */
#ifndef SURPRISAL_MODEL_ATTENTION_H
#define SURPRISAL_MODEL_ATTENTION_H

#include "formats/weights.h"
#include "model/compute.h"

/* Keys and values of the window whose pieces are being processed. */
struct attention_state;

/* Takes the state of one layer from the arena; `tokens`: of the longest window if windows are cut
 * into pieces, else of the largest tile. */
struct attention_state *attention_state_take(const struct compute *cm, size_t tokens);

/* out [n_output_rows, D] = attention of h [n, D], the normed input of the tile, which is used up.
 * Pieces of a window come in their order.  Scratch comes from the arena. */
void attention_forward(const struct compute *cm, float *out, float *h,
                       const struct attention_weights *w, const struct tile *tile,
                       struct attention_state *state);

#endif
