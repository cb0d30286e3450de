/* plan.h - how a memory budget splits windows into passes.
 *
 * A pass holds the residual stream of its windows, their routing, and scratch space; what the
 * scratch space takes is found by running the layers on an arena that only measures. */
#ifndef SURPRISAL_ENGINE_PLAN_H
#define SURPRISAL_ENGINE_PLAN_H

#include "engine/engine.h"
#include "model/compute.h"

struct plan {
    size_t tile_tokens;             /* of the mixers */
    size_t head_rows;               /* scored tokens that go through the head at once */
    size_t pass_tokens;             /* at most, in one pass */
    size_t longest;                 /* tokens of the longest window */
};

/* Tokens of the window that go through the layers: the last one is a target only. */
size_t plan_window_tokens(const struct engine_window *w);

/* Bytes of scratch that a pass of n_tokens takes, beside the residual stream and the routing. */
size_t plan_scratch(const struct compute *cm, const struct weights *w, const struct plan *p,
                    size_t n_tokens);

/* Chooses tiles and pass_tokens for a budget.  An error when not even the longest window fits. */
bool plan_make(struct plan *p, const struct compute *cm, const struct weights *w,
               const struct engine_window *windows, size_t n_windows, size_t memory_bytes,
               struct error *err);

/* The first window after the pass that starts with window `first`. */
size_t plan_pass_end(const struct plan *p, const struct engine_window *windows, size_t n_windows,
                     size_t first);

#endif
