/* request.h - one request of a scheduler: what was asked for, and how far it has come. */
#ifndef SURPRISAL_DECODE_REQUEST_H
#define SURPRISAL_DECODE_REQUEST_H

#include "decode/prefix_cache.h"
#include "decode/scheduler.h"
#include "decode/speculation.h"

struct request {
    struct scheduler_request given;
    uint64_t ticket;
    struct request *next;               /* of the scheduler's list, as is: */
    bool cancelled;
    int32_t *answer;                    /* owned [n_answer]: tokens to be decoded */
    size_t n_answer, answer_capacity;
    size_t next_row;                    /* of the prompt: the first whose logits are to come */
    size_t places[PREFIX_CACHE_PLACES];
    bool has_started;
    struct sequence_state *state;       /* borrowed; NULL: it waits */
    struct drafter_state *slots;        /* borrowed; NULL: it waits, or nothing is drafted */
    struct speculation speculation;
    int32_t tokens[1 + DRAFTER_MOST];   /* to be decoded in a step: a token, */
    size_t n_drafts;                    /* and drafts of those that follow */
    int32_t chosen;                     /* the last token; -1: none was */
    bool is_over;                       /* it has ended, so: */
    enum scheduler_end end;
    struct error err;
};

struct request *request_new(const struct scheduler_request *given, const struct prefix_cache *cache,
                            struct error *err);
void request_free(struct request *r);

void request_end(struct request *r, enum scheduler_end end);

/* Of one that runs: is all of its prompt in its state? */
bool request_decodes(const struct request *r);
/* Where the next piece of its prompt ends, of at most so many tokens, and at each place worth
 * keeping. */
size_t request_piece_end(const struct request *r, size_t most);

/* Gives logits [n, V] of the prompt, from next_row on. */
bool request_give_rows(struct request *r, size_t n, float *logits, struct error *err);
/* Its next token, by logits [V].  Ends it if there is none, or as failed.  True: one was taken. */
bool request_choose(struct request *r, float *logits, size_t vocab_size, size_t context);

#endif
