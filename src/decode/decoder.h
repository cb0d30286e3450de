/* decoder.h - runs sequences token by token: prefill of a prompt, then steps of one token each, or
 * of a few.
 *
 * Prefill takes a prompt through the layers in pieces that begin at multiples of DELTA_CHUNK, so
 * that its results have the bits of an evaluation, however long the pieces are.  A step takes one
 * token of each of several sequences, or as many of each as the caller likes: a token and drafts of
 * the next ones.  Sequences join and leave between steps.  The results of a sequence have the same
 * bits alone and beside any others, in steps of one token and of several, with any number of
 * threads.
 * Prefill and steps agree within the noise of f32, not in bits: a step's delta rule goes token by
 * token, and its products have an order of summation of their own (kernels/dots.h).
 *
 * Weights stay mapped: the system brings them in when they are first used.  With a budget that has
 * no room for all, those stay that are used most often (kept_weights.h).  A decoder borrows an
 * engine; it is used by one thread at a time. */
#ifndef SURPRISAL_DECODE_DECODER_H
#define SURPRISAL_DECODE_DECODER_H

#include "decode/sequence_state.h"
#include "engine/engine.h"

struct decoder;

/* Sees what prefill computes: ids [n] of a sequence, piece by piece, and their states after the
 * last norm [n, D].  False stops the work with an error of its own. */
struct decoder_observer {
    bool (*prefilled)(void *user, const struct sequence_state *s, const int32_t *ids,
                      const float *hidden, size_t n, struct error *err);
    void *user;
};

struct decoder_options {
    size_t piece_tokens;        /* of prefill, at most; 0: 2048.  Rounded up to whole chunks. */
    size_t max_sequences;       /* in one step, at least 1 */
    size_t max_rows;            /* of a step, of all sequences; 0: max_sequences */
    struct decoder_observer observer;   /* prefilled may be NULL: the last layer is then left out
                                           for rows whose logits nobody wants */
    /* For the budget: what the caller's sequences and buffers will take, whether weights in memory
     * count as well, and whether the caller uses embedding and head, too. */
    size_t other_bytes;
    bool count_weights, shares_vocabulary;
    /* Asked several times a layer; true: the work ends as interrupted.  NULL: nobody is asked. */
    bool (*stop)(void *user);
    void *user;
};

/* Takes the memory of its steps.  Pieces of prefill become shorter where the engine's budget asks
 * for that, then not all weights stay in memory; a budget that is too small for the shortest pieces
 * and the weights that are in use at once is refused with the sum that suffices. */
struct decoder *decoder_open(const struct engine *e, const struct decoder_options *options,
                             struct error *err);
void decoder_close(struct decoder *d);
/* Of its buffers. */
size_t decoder_bytes(const struct decoder *d);
/* Of weights that are in memory at a time, at most, and of those that were read: 0 where all stay,
 * as the system reads them then. */
size_t decoder_weight_bytes(const struct decoder *d);
size_t decoder_bytes_read(const struct decoder *d);
/* Tokens rounded up to whole chunks of prefill. */
size_t decoder_whole_chunks(size_t tokens);
/* The length of pieces, whole chunks. */
size_t decoder_piece_tokens(const struct decoder *d);

/* Receives logits [n, V] of rows [row, row + n); they may be overwritten.  False stops the work
 * with an error of its own. */
struct decoder_sink {
    bool (*consume)(void *user, size_t row, size_t n, float *logits, struct error *err);
    void *user;
};

/* The functions below add tokens to states.  They refuse ids outside the vocabulary, more tokens
 * than a state holds, and tokens for which the states' pool lacks blocks (sequence_state_lacks
 * tells it before), and then the states are what they were.  After any other failure, or an
 * interruption, they are of no use. */

/* Adds ids [n].  The sink gets the logits that follow ids[first] .. ids[n - 1], in order. */
bool decoder_prefill(struct decoder *d, struct sequence_state *s, const int32_t *ids, size_t n,
                     size_t first, const struct decoder_sink *sink, struct error *err);

/* Tokens of one sequence in a step. */
struct decoder_rows {
    struct sequence_state *state;
    const int32_t *ids;         /* [n] */
    size_t n;                   /* at least 1 */
};

/* Adds one or several tokens to each of n_sequences states, no two of them the same.  *logits [rows
 * of all, V] of the first one's rows, then the next one's, borrows from the decoder until its next
 * use.  A state that will take rows back keeps them (sequence_state.h), and has then at most one
 * row more than it keeps.  *hidden (may be NULL) [rows of all, D]: the states after the last norm,
 * borrowed likewise. */
bool decoder_step_rows(struct decoder *d, const struct decoder_rows *rows, size_t n_sequences,
                       float **logits, const float **hidden, struct error *err);

#endif
