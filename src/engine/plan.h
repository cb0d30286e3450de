/* plan.h - how a memory budget splits windows into passes.
 *
 * A pass holds the residual stream of its windows, their routing, the buffers of each step, and the
 * weights in flight.  The size of the buffers is found by taking them from an arena that only
 * measures. */
#ifndef SURPRISAL_ENGINE_PLAN_H
#define SURPRISAL_ENGINE_PLAN_H

#include "engine/engine.h"
#include "engine/weight_schedule.h"
#include "model/acceptance.h"
#include "model/head.h"
#include "model/mtp.h"

/* The windows and weights to plan for; borrows everything. */
struct plan_task {
    const struct compute *cm;
    const struct weights *w;
    const struct weight_schedule *parts;
    const struct engine_window *windows;
    size_t n_windows;
    size_t copies;                  /* of each window, side by side in one pass */
    size_t n_drafts;                /* of the MTP layer; 0: none */
    const struct weight_schedule *draft_parts;  /* of one draft; NULL: none */
};

struct plan {
    size_t tile_tokens;             /* of the mixers */
    size_t pass_tokens;             /* at most, in one pass */
    size_t n_windows;
    size_t longest, shortest;       /* tokens of the longest and the shortest window */
    size_t ahead_bytes;             /* of weights in memory */
    size_t memory_bytes;            /* of the largest pass, weights in flight included */
    bool keep_all;                  /* rows that are not scored go through the last layer too */
    size_t n_drafts;                /* of the MTP layer, which sees all rows */
};

/* Tokens of the window that go through the layers: the last one is a target only. */
size_t plan_window_tokens(const struct engine_window *w);
/* The same of n windows; SIZE_MAX when they are too many. */
size_t plan_tokens(const struct engine_window *windows, size_t n);

/* To score n rows. */
struct score_buffers {
    struct head_score *scores;
    struct engine_score *out;
    int32_t *targets;
    struct head_buffers head;
};

struct score_buffers plan_score_buffers_take(struct arena *a, const struct compute *cm,
                                             const struct matrix *lm_head, size_t n);

/* What drafts need beside the pass, from the last layer on.  n_rows: scored targets. */
struct draft_buffers {
    size_t *start;                  /* [n_windows + 1]: first row of each window, of all rows */
    float *hidden, *x;              /* [n_tokens, D]: states that go in, and those that come out */
    float *drafted;                 /* [n_rows, D]: states that drafted the scored targets */
    int32_t *ids;                   /* [n_tokens]: tokens of the slots; [n_rows]: targets */
    struct engine_score *scores;    /* [n_rows]: the model's */
    struct engine_draft *drafts;    /* [n_rows] */
    struct head_score *head_scores; /* [n_rows]: of the drafts */
    float *logsumexp[VOCABULARY_SIDES];     /* [n_rows]: of model and drafts */
    double *accepted;               /* [n_rows] */
    struct attention_state *states, **state_list;       /* [n_windows] */
    char *keys;                     /* memory of the states */
    float *chain_k, *chain_v;       /* [n_drafts - 1, n_tokens, KV * d] */
};

struct draft_buffers plan_draft_buffers_take(struct arena *a, const struct config *c,
                                             const struct plan *p, size_t n_tokens,
                                             size_t n_windows);

/* What a pass holds from its beginning to its end.  Taken from an arena first; the buffers of its
 * steps come after it, one after the other in one place. */
struct pass_buffers {
    size_t *start, *skipped, *scored;   /* [n_windows + 1] */
    float *x;                       /* [n_tokens, D] */
    struct routing routing;
};

struct pass_buffers plan_pass_buffers_take(struct arena *a, const struct config *c, size_t n_tokens,
                                           size_t n_windows);

/* Bytes of the arena of such a pass. */
size_t plan_arena_bytes(const struct compute *cm, const struct weights *w, const struct plan *p,
                        size_t n_tokens, size_t n_windows);

/* The smallest budget with which plan_make works; it works with any larger one. */
size_t plan_least_bytes(const struct plan_task *t);
/* Chooses tiles, weights in flight and pass_tokens for a budget that is not below that. */
void plan_make(struct plan *p, const struct plan_task *t, size_t memory_bytes);

/* The first window after the pass that starts with window `first`. */
size_t plan_pass_end(const struct plan *p, const struct engine_window *windows, size_t n_windows,
                     size_t first);

#endif
