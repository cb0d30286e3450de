/* pass_cost.h - what passes cost: their work, and the weights that they read. */
#ifndef SURPRISAL_ENGINE_PASS_COST_H
#define SURPRISAL_ENGINE_PASS_COST_H

#include "engine/pass.h"

/* The passes that a plan makes of windows [first, end). */
struct pass_range {
    const struct plan *plan;
    const struct engine_window *windows;        /* of the job, from its first on */
    size_t first, end;
    const struct engine_state *from;    /* where the first layer begins; NULL: at the embedding */
    bool head;                          /* to the end, not only through the layers */
    bool hashed;                        /* the weights, while the first pass reads them */
    bool observed;                      /* inputs of linear layers, as calibration does */
};

/* Adds to everything in cost but least_bytes, memory_bytes and flop.  The first pass sets
 * n_threads. */
bool pass_cost_add(struct engine_cost *cost, const struct engine *e, const struct pass_range *range,
                   struct error *err);

#endif
