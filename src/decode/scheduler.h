/* scheduler.h - runs the requests of many clients on one engine: continuous batching.
 *
 * One thread, the engine thread, does the work in steps.  In a step every request whose prompt is
 * done gets its next token, all in one step of the decoder; then one piece of one prompt is
 * prefilled.  A piece has at most decoding_piece tokens while others decode, so that the time
 * between their tokens grows by no more than that, and otherwise as many as the decoder takes.
 * Requests join and leave between steps.  They start in the order in which they were added.
 *
 * Keys and values are taken from one pool in blocks, as tokens come.  When the pool has too few,
 * the prefix cache gives its blocks back (prefix_cache.h), and then the youngest of the running
 * requests waits again: it leaves its blocks, and is the next to start when there is room.  Then
 * its prompt is prefilled again, and its answer so far goes through the same steps again, with the
 * tokens that are known.  A request starts when there is room for all its tokens so far, and for
 * some more of each running one.
 *
 * With drafts (speculation.h) a step computes a request's next token and drafts of those after it,
 * and the request takes as many tokens as its drafts were right, and one.
 *
 * So an answer has the same bits alone and in any batch, with any number of threads, however long
 * pieces are, after waiting again, after a hit in the prefix cache, and with drafts.
 *
 * Borrows the engine, whose progress is reported by the engine thread; a report that stops the work
 * is a failure of the engine. */
#ifndef SURPRISAL_DECODE_SCHEDULER_H
#define SURPRISAL_DECODE_SCHEDULER_H

#include "decode/decoder.h"
#include "decode/drafter.h"

struct scheduler;

struct scheduler_options {
    size_t context;             /* tokens of one request, prompt and answer, at most */
    size_t max_sequences;       /* that run at once; 0: 8 */
    size_t max_queue;           /* requests beyond those; 0: 1024 */
    size_t piece_tokens;        /* of prefill while nobody decodes; 0: the decoder's choice */
    size_t decoding_piece;      /* and while others do; 0: 512.  Rounded up to whole chunks. */
    /* Tokens whose keys and values all requests hold together; 0: max_sequences full contexts, or
     * as many as the engine's budget leaves beside the weights.  At least one context. */
    size_t kv_tokens;
    enum dtype kv_dtype;        /* DTYPE_F32 or DTYPE_BF16 */
    size_t prefix_cache_bytes;  /* of states that are kept; 0: none.  Their keys and values stay in
                                   the pool, as long as no request needs the room. */
    int32_t turn_id;            /* of <|im_start|>, before which states are worth keeping; -1: the
                                   tokenizer has none */
    bool count_weights;         /* the budget counts weights in memory as well */
    /* Drafts of the engine's MTP layer for each request in a step, at most (drafter.h); 0: none. */
    size_t n_drafts;
    /* For tests, which decide how many are accepted: replaces a request's drafts [n], the first of
     * which is for the token at `position`.  user: the request's.  NULL: they stay. */
    void (*replace_drafts)(void *user, size_t position, int32_t *drafts, size_t n);
};

/* What the budget is spent on. */
struct scheduler_memory {
    size_t kv_tokens, kv_bytes;             /* the pool */
    size_t state_bytes;                     /* of max_sequences requests */
    size_t prefix_cache_bytes;
    size_t draft_bytes;                     /* of drafts: the layer's keys and values and buffers,
                                               and states to go back to */
    size_t buffer_bytes;                    /* of the decoder */
    size_t weight_bytes;                    /* of the model */
    size_t weight_memory_bytes;             /* of them in memory at a time */
    size_t bytes;                           /* all of it but the weights */
};

/* Takes the memory and starts the engine thread.  A budget that is too small is refused with the
 * sum that suffices. */
struct scheduler *scheduler_open(const struct engine *e, const struct scheduler_options *options,
                                 struct error *err);
/* Ends what is left as cancelled, also in the middle of a prompt.  NULL is fine.  Not to be called
 * by a callback. */
void scheduler_close(struct scheduler *s);
void scheduler_memory(const struct scheduler *s, struct scheduler_memory *memory);

enum scheduler_end { SCHEDULER_DONE, SCHEDULER_CANCELLED, SCHEDULER_FAILED };

/* The struct itself is copied; prompt and cache_salt stay borrowed until `ended`.  All callbacks
 * are called by the engine thread, one at a time: none may wait for anything.  They may call the
 * functions below. */
struct scheduler_request {
    const int32_t *prompt;      /* [n_prompt], at least one */
    size_t n_prompt;
    /* Logits are wanted that follow prompt[first_logits] and later tokens of the prompt.
     * n_prompt - 1, or no prompt_logits: only those of the last token, which go to choose. */
    size_t first_logits;
    size_t max_answer;          /* no drafts are made for tokens after so many; 0: as many as the
                                   context leaves */
    const char *cache_salt;     /* prefixes are shared by requests of equal salt; NULL: "" */
    void *user;
    /* Its prefill begins, after n_cached tokens that need none.  Once, also if it waits again. */
    void (*started)(void *user, size_t n_cached);
    /* Logits [n, V] that follow prompt[row] .. prompt[row + n - 1], in order, each row once; those
     * that follow the last token are not among them.  They may be overwritten.  False, with an
     * error, ends the request as failed.  NULL: not wanted. */
    bool (*prompt_logits)(void *user, size_t row, size_t n, float *logits, struct error *err);
    /* The token at `position` (n_prompt: the first of the answer) from logits [V], which may be
     * overwritten; called once for each position.  *id is -1 before.  *more is true before; false
     * ends the answer, and *id is then only counted, unless it is -1: no token was taken.  Returns
     * false, with an error, to end the request as failed. */
    bool (*choose)(void *user, float *logits, size_t position, int32_t *id, bool *more,
                   struct error *err);
    /* Exactly once for each request that was added.  err: why it failed; else NULL.  Then the
     * scheduler knows nothing of the request any more. */
    void (*ended)(void *user, enum scheduler_end end, const struct error *err);
};

/* The functions below may be called by any thread. */

/* Refuses a prompt without tokens, with ids outside the vocabulary, or longer than the context; one
 * of just that length is taken.  Refuses others with err->lacking when max_queue requests are there
 * beyond max_sequences, and with err->interrupted when the scheduler is closing or the engine has
 * failed.  What is refused gets no callback. */
bool scheduler_add(struct scheduler *s, const struct scheduler_request *r, uint64_t *ticket,
                   struct error *err);
/* The request ends soon: in the middle of its prompt, or after the token in work.  Nothing happens
 * if it has ended. */
void scheduler_cancel(struct scheduler *s, uint64_t ticket);

struct scheduler_figures {
    size_t running, waiting;
    size_t kv_used, kv_total;               /* tokens, in whole blocks: of running requests, and of
                                               the pool */
    size_t cached_states;                   /* in the prefix cache */
    size_t prompt_tokens;                   /* of requests that started, looked for in the cache */
    size_t generated_tokens;
    size_t cache_hits;                      /* those of them that were found */
    size_t steps;
    size_t prefilled_tokens;                /* those of requests that waited again, again */
    size_t waited_again;
    size_t n_drafts;                        /* of the options */
    size_t drafts;                          /* steps of a request with drafts, */
    size_t drafted_tokens;                  /* the drafts, */
    size_t accepted_tokens[DRAFTER_MOST];   /* and those that were right: first ones, second ... */
    bool failed;                            /* the engine; nothing runs any more */
};

void scheduler_read_figures(struct scheduler *s, struct scheduler_figures *figures);

#endif
