/* running.h - the requests that run (scheduler.h): their states, the room that they need, and the
 * steps.  Used by the engine thread alone. */
#ifndef SURPRISAL_DECODE_RUNNING_H
#define SURPRISAL_DECODE_RUNNING_H

#include "decode/running_drafts.h"

/* Zero-initialise; release with running_close, without requests. */
struct running {
    const struct engine *engine;        /* borrowed */
    struct scheduler_options options;   /* without zeros that stand for something */
    struct scheduler_memory memory;
    struct scheduler_figures figures;
    struct decoder *decoder;
    struct kv_pool pool;
    struct prefix_cache cache;
    struct running_drafts drafts;
    struct sequence_state *states;      /* owned [max_sequences] */
    struct sequence_state **unused;     /* owned: the first max_sequences - n have no request */
    struct request **requests;          /* owned [n]: by age, the oldest first; borrowed */
    size_t n;
    struct request *prefilling;         /* in a piece; NULL: none is */
    size_t piece_end;                   /* of the last request, in this step */
    /* Of those that decode in a step: */
    struct request **decoding;          /* owned [max_sequences] */
    struct decoder_rows *rows;
    bool (*stop)(void *user);           /* is the request in a piece to be stopped? */
    void *user;
};

bool running_open(struct running *w, const struct engine *e, const struct scheduler_options *o,
                  bool (*stop)(void *user), void *user, struct error *err);
void running_close(struct running *w);

/* May a request start, the youngest of all?  Not before the others' prompts are done, and not
 * without room; where none runs, one may. */
bool running_may_start(struct running *w, const struct request *r);
void running_start(struct running *w, struct request *r);
/* One that has no state is not among them, which is fine. */
void running_leave(struct running *w, struct request *r);

/* Of the blocks that they have, shared ones counted once. */
size_t running_kv_tokens(const struct running *w);

/* A token for each request that decodes, with drafts some more, and a piece of the youngest's
 * prompt, if it has some left.  Requests may end by it (is_over), and the youngest may wait again
 * (without a state).  False: the engine has failed, and no state is of use any more. */
bool running_step(struct running *w, struct error *err);

#endif
