/* drafting.h - the drafts of one sequence: from the checkpoint's MTP layer to the tokens that a
 * step checks (decode/drafter.h), and what became of them (decode/speculation.h). */
#ifndef SURPRISAL_GENERATE_DRAFTING_H
#define SURPRISAL_GENERATE_DRAFTING_H

#include "decode/decoder.h"
#include "decode/speculation.h"
#include "formats/weights.h"
#include "generate/continuation.h"

/* Replaces the layer's drafts [n], the first of which is for token `number` of the answer: for
 * tests, which decide how many are accepted. */
struct drafting_source {
    void (*draft)(void *user, size_t number, int32_t *drafts, size_t n);
    void *user;
};

/* Zero-initialise: nothing is drafted.  The struct stays where it is. */
struct drafting {
    size_t n_drafts;                    /* of a step, at most; 0: none, and nothing below is used */
    const struct config *config;        /* borrowed */
    struct mtp_weights mtp;             /* owned, like the next three */
    struct drafter *drafter;
    struct drafter_state state;
    float *kept;                        /* [D]: the state after the last token of a snapshot */
    struct speculation speculation;     /* of the answer in work */
    size_t stopped;                     /* tokens of the answer when drafts were given up; 0: they
                                           were not */
    const float *hidden;                /* of the accepted rows of the last step [rows, D], */
    size_t rows;                        /* borrowed; NULL: the prompt's last slot waits */
    struct drafting_source source;      /* draft is NULL but in tests */
};

/* Binds the MTP layer, which a checkpoint without one refuses.  n_drafts 0: nothing. */
bool drafting_open(struct drafting *d, const struct checkpoint *ck, size_t n_drafts,
                   struct error *err);
void drafting_close(struct drafting *d);

/* What drafting adds for a sequence of up to `capacity` tokens: memory, SIZE_MAX when it cannot be
 * had, and weights.  The engine has d->mtp. */
size_t drafting_bytes(const struct drafting *d, const struct engine *e, enum dtype kv,
                      size_t capacity);
size_t drafting_weight_bytes(const struct drafting *d, const struct engine *e);
/* Takes the memory, and lets `state` take rows back. */
bool drafting_reserve(struct drafting *d, const struct engine *e, enum dtype kv, size_t capacity,
                      struct sequence_state *state, struct error *err);
/* What the decoder tells while it computes a prompt. */
struct decoder_observer drafting_observer(struct drafting *d);

/* A snapshot is taken, and the prompt goes on from it after n_tokens tokens; 0: from nothing. */
void drafting_keep(struct drafting *d);
void drafting_go_back(struct drafting *d, size_t n_tokens);

/* An answer begins. */
void drafting_begin(struct drafting *d);
/* Drafts what may follow the answer's last token: *n of them, at most n_drafts. */
bool drafting_next(struct drafting *d, const struct continuation *answer, int32_t *drafts,
                   size_t *n, struct error *err);
/* Of a step's rows with the states `hidden` `rows` were right, the token itself and accepted
 * drafts.  n: of the drafts.  last_drafted: the answer's last token was one of them. */
void drafting_add(struct drafting *d, const struct continuation *answer, const float *hidden,
                  size_t rows, size_t n, bool last_drafted);
/* What became of the steps' draft i, from 0. */
struct surprisal_draft_count drafting_count(const struct drafting *d, size_t i);

#endif
