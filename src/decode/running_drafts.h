/* running_drafts.h - drafts of the requests that run (running.h): one drafter for all of them
 * (drafter.h), and a state of it beside each of their states.  Used by the engine thread alone. */
#ifndef SURPRISAL_DECODE_RUNNING_DRAFTS_H
#define SURPRISAL_DECODE_RUNNING_DRAFTS_H

#include "decode/request.h"

/* Zero-initialise: nothing is drafted. */
struct running_drafts {
    struct drafter *drafter;            /* owned; NULL: none */
    struct drafter_state *states;       /* owned [max_sequences] */
    struct draft_request *asked;        /* owned [max_sequences]: the first n_asked, */
    struct request **who;               /* owned: and whose they are; borrowed */
    size_t n_asked, hidden_size;
    const struct scheduler_options *options;    /* borrowed */
};

/* Memory of drafts beside pools for kv_tokens, and that of the MTP layer's weights; 0 where nothing
 * is drafted, SIZE_MAX when it cannot be had. */
size_t running_drafts_bytes(const struct engine *e, const struct scheduler_options *o,
                            size_t kv_tokens);
size_t running_drafts_weight_bytes(const struct engine *e, const struct scheduler_options *o);
/* Takes the memory, and lets the requests' states [max_sequences] take rows back. */
bool running_drafts_open(struct running_drafts *d, const struct engine *e,
                         const struct scheduler_options *o, size_t kv_tokens,
                         struct sequence_state *states, struct error *err);
void running_drafts_close(struct running_drafts *d);

/* A request gets place i; it leaves it.  kept: of the beginning of its prompt; NULL: nothing is. */
void running_drafts_start(struct running_drafts *d, struct request *r, size_t i,
                          const struct drafter_state *kept);
void running_drafts_leave(struct running_drafts *d, struct request *r);

/* Its state of drafts, to be kept; NULL: it makes none. */
const struct drafter_state *running_drafts_state(const struct request *r);
/* Blocks that a step with so many tokens of a request takes from the drafter's pool, at most; and
 * those that are free. */
size_t running_drafts_lacks(const struct request *r, size_t tokens);
size_t running_drafts_free(const struct running_drafts *d);

/* The next n tokens of a request's prompt, and the states after them [n, D]. */
bool running_drafts_prefill(struct running_drafts *d, struct request *r, const int32_t *ids,
                            const float *hidden, size_t n, struct error *err);
/* After a step, of whose rows with the states `hidden` [rows, D] `rows` were right; or after the
 * prompt: NULL, and 1.  The request wants drafts of what follows its last token. */
void running_drafts_ask(struct running_drafts *d, struct request *r, const float *hidden,
                        size_t rows);
/* Makes the drafts that were asked for: r->tokens and r->n_drafts.  `hidden` is read here. */
bool running_drafts_make(struct running_drafts *d, struct error *err);

#endif
