/* plan.h - how a memory budget splits windows into passes.
 *
 * A pass holds the residual stream of its windows, their routing, scratch space, and the weights in
 * flight.  What the scratch space takes is found by running the layers on an arena that only
 * measures. */
#ifndef SURPRISAL_ENGINE_PLAN_H
#define SURPRISAL_ENGINE_PLAN_H

#include "engine/engine.h"
#include "engine/parts.h"
#include "model/head.h"

struct plan {
    size_t tile_tokens;             /* of the mixers */
    size_t pass_tokens;             /* at most, in one pass */
    size_t longest;                 /* tokens of the longest window */
    size_t ahead_bytes;             /* of weights in memory */
    size_t memory_bytes;            /* of the largest pass, weights in flight included */
    bool keep_all;                  /* rows that are not scored go through the last layer too */
};

/* Tokens of the window that go through the layers: the last one is a target only. */
size_t plan_window_tokens(const struct engine_window *w);
/* The same of n windows; SIZE_MAX when they are too many. */
size_t plan_tokens(const struct engine_window *windows, size_t n);

/* What the scoring of n rows takes beside head_forward. */
struct score_buffers {
    struct head_score *scores;
    struct engine_score *out;
    int32_t *targets;
};

struct score_buffers score_buffers_take(struct arena *a, size_t n);

/* Bytes of scratch that a pass of n_tokens takes, beside the residual stream and the routing. */
size_t plan_scratch(const struct compute *cm, const struct weights *w, const struct plan *p,
                    size_t n_tokens);

/* Chooses tiles, weights in flight and pass_tokens for a budget.  An error when not even the longest
 * window fits. */
bool plan_make(struct plan *p, const struct compute *cm, const struct weights *w,
               const struct parts *parts, const struct engine_window *windows, size_t n_windows,
               size_t memory_bytes, struct error *err);

/* The first window after the pass that starts with window `first`. */
size_t plan_pass_end(const struct plan *p, const struct engine_window *windows, size_t n_windows,
                     size_t first);

#endif
