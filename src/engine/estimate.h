/* estimate.h - how long a job will take, from what it consists of and how fast each step runs here.
 *
 *     seconds = sum over the kinds of steps of   weights packed x seconds of one
 *                                              + FLOP x seconds of one
 *             + pairs of queries and keys that are far apart x seconds of one
 *             + what is hashed, and what the disk takes longer than all of this
 *
 * The rates are measured by samples of the steps (step_sample.h).  They take at most some hundredth
 * of the estimate, or some milliseconds where that is less, and never more than half a second. */
#ifndef SURPRISAL_ENGINE_ESTIMATE_H
#define SURPRISAL_ENGINE_ESTIMATE_H

#include "engine/engine.h"

/* Of a job on these windows with the cost that is known: where its FLOP differ from those of the
 * windows, the time does as well.  0: not known, as there is no memory to measure in. */
double estimate_seconds(const struct engine *e, const struct engine_window *windows,
                        size_t n_windows, const struct engine_cost *cost);

#endif
