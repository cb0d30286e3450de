/* drafter.h - the MTP layer (model/mtp.h) beside a decoder: it drafts the tokens that follow.
 *
 *     position            0     1     2    ...   p     p + 1
 *     token               t0    t1    t2         tp    drawn, not yet in the decoder's state
 *     state of the model  h0    h1    h2         hp
 *     slot sees           t1    t2    t3         drawn
 *
 * Slot i has the model's state after token i and sees token i + 1, so the last slot waits until a
 * token is drawn.  The slots of tokens are computed once and their keys stay: those of a prompt in
 * pieces, as prefill computes its states; after a step those of the tokens that were accepted, when
 * the next drafts are made.  Then the last slot drafts the token after the drawn one, and a chain
 * of slots the ones after that, each from the layer's own state and the draft before.  The chain's
 * keys are forgotten.  A draft is the most probable token, the lowest id among equals.
 *
 * Several sequences draft at once.  A sequence's drafts are the same alone and beside others, with
 * any number of threads.  A drafter borrows an engine that has an MTP layer; it is used by one
 * thread at a time. */
#ifndef SURPRISAL_DECODE_DRAFTER_H
#define SURPRISAL_DECODE_DRAFTER_H

#include "engine/engine.h"
#include "model/kv_pool.h"

#define DRAFTER_MOST ((size_t)8)        /* drafts of a sequence at once */

struct drafter;

struct drafter_options {
    size_t max_sequences;       /* at once, at least 1 */
    size_t n_drafts;            /* of each, 1 to DRAFTER_MOST */
    size_t pool_tokens;         /* of all sequences, for keys and values */
    enum dtype kv;              /* DTYPE_F32 or DTYPE_BF16 */
};

struct drafter *drafter_open(const struct engine *e, const struct drafter_options *options,
                             struct error *err);
void drafter_close(struct drafter *d);
/* Memory of a drafter; SIZE_MAX when it cannot be had.  And of its layer's weights. */
size_t drafter_bytes(const struct engine *e, const struct drafter_options *options);
size_t drafter_weight_bytes(const struct engine *e);

/* Of one sequence.  Zero-initialise; release with drafter_state_close, before the drafter. */
struct drafter_state {
    struct kv_table keys;
    size_t n_past;              /* slots */
    float *hidden;              /* owned [D]: the state of the slot that waits */
    bool waits;                 /* slot n_past waits for its token */
};

/* For up to `capacity` tokens; and its memory beside the drafter's. */
bool drafter_state_open(struct drafter_state *s, struct drafter *d, size_t capacity,
                        struct error *err);
void drafter_state_close(struct drafter_state *s);
size_t drafter_state_bytes(const struct config *c, size_t capacity);
/* As it was after the first n_tokens tokens of a prompt, whose last one left `hidden` [D]; NULL: no
 * tokens. */
void drafter_state_go_back(struct drafter_state *s, size_t n_tokens, const float *hidden, size_t D);

/* `to` becomes what `from` is, of the same drafter; they share blocks until one writes to one. */
void drafter_state_copy(struct drafter_state *to, const struct drafter_state *from, size_t D);
/* The next n tokens of a prompt and the states after them [n, D].  The last one's slot waits. */
bool drafter_prefill(struct drafter *d, struct drafter_state *s, const int32_t *ids,
                     const float *hidden, size_t n, struct error *err);

struct draft_request {
    struct drafter_state *state;
    /* n new slots: the states after n tokens that were accepted, [n, D], and the tokens after each
     * of them, the drawn one last.  NULL: the slot that waits, and n is 1. */
    const float *hidden;
    const int32_t *ids;         /* [n], n at most n_drafts + 1 */
    size_t n;
    size_t n_drafts;            /* wanted; 0: slots alone */
    int32_t *drafts;            /* [n_drafts] */
};

/* Requests of n sequences, each its own.  Tokens are in the vocabulary, and slots in the capacity:
 * n_drafts - 1 more than the new ones.  When the pool lacks blocks, or after any other failure,
 * states are of no use. */
bool drafter_draft(struct drafter *d, const struct draft_request *requests, size_t n,
                   struct error *err);

#endif
