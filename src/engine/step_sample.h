/* step_sample.h - how fast a step of the model runs here: a moment of it, timed.
 *
 * The step itself runs, with the kernels, threads, compute type and weights of the job, on rows
 * that are made up: so norms, gates, softmax, delta rule, routing and log-sum-exp take their share
 * of the time.  Where a step is large, it has fewer heads, experts or ids of the vocabulary; the
 * first rows and columns of the stored weights then stand for all. */
#ifndef SURPRISAL_ENGINE_STEP_SAMPLE_H
#define SURPRISAL_ENGINE_STEP_SAMPLE_H

#include "engine/pass.h"

enum step_kind { STEP_DELTA_NET, STEP_ATTENTION, STEP_MLP, STEP_HEAD, STEP_KINDS };

/* Seconds of all threads together. */
struct step_rates {
    double weight;                  /* for a weight, each time that it is packed */
    double flop;                    /* for a FLOP of products with weights, and all beside it */
    double pair;                    /* attention: for a query, a head and a key further back than
                                       most in `rows` rows; 0: not measured */
};

/* How large a sample is. */
struct step_effort {
    size_t rows;                    /* of each thread */
    size_t window;                  /* tokens of a window, at most */
    size_t past;                    /* keys that attention sees before them, too */
    double weights;                 /* at most, if the step can be divided */
    int rounds;                     /* at least, */
    double seconds;                 /* and so long */
};

/* FLOP of one row in the sample of a step; 0: the model has no such step. */
double step_sample_flop(const struct engine *e, enum step_kind kind, double weights);
/* False if there is not enough memory, or the budget is too small. */
bool step_sample(struct step_rates *rates, const struct engine *e, enum step_kind kind,
                 const struct step_effort *effort);

#endif
