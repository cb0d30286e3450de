/* calibration.h - mean square of each input channel of each linear layer, over the tokens of
 * windows.
 *
 * With x_t the input of a linear layer at token t, the sum of channel c is sum over t of x_tc^2, in
 * double.  Tokens are counted for each linear layer: all that go through the layers, or for a
 * routed expert those that are routed to it.  The input of an expert's gate and up is the normed
 * state of the token; the input of its down is silu(gate) * up.  Squares are summed in the order of
 * the tokens, so that sums depend neither on threads nor on passes.  The head is not run. */
#ifndef SURPRISAL_ENGINE_CALIBRATION_H
#define SURPRISAL_ENGINE_CALIBRATION_H

#include "engine/engine.h"
#include "formats/weights.h"

struct calibrated {
    const struct matrix *weight;        /* borrowed */
    const struct matrix *observed;      /* whose inputs these are: its own, or an expert's gate's */
    double *squares;                    /* [weight->cols]: sums; NULL: those of `observed` */
    size_t tokens;
};

/* Zero-initialise; release with calibration_free. */
struct calibration {
    struct calibrated *linears;         /* owned [n], by address of the weight */
    size_t n;
    double *squares;                    /* owned: all sums */
    size_t bytes;                       /* of memory that it holds */
};

/* Takes the memory for all linear layers but the head.  ck and w stay borrowed. */
bool calibration_begin(struct calibration *c, const struct checkpoint *ck, const struct weights *w,
                       struct error *err);
/* Runs the windows of a job through the layers and adds up their inputs.  e: an engine of the same
 * weights.  The job's sink and saver are not used, and the targets of its windows do not matter. */
bool calibration_run(struct calibration *c, const struct engine *e, const struct engine_job *job,
                     struct engine_statistics *statistics, struct error *err);
/* The sums of a weight. */
const struct calibrated *calibration_of(const struct calibration *c, const struct matrix *weight);
void calibration_free(struct calibration *c);

/* The cost of calibration_run; no state is saved. */
bool calibration_cost(struct engine_cost *cost, const struct engine *e,
                      const struct engine_window *windows, size_t n_windows, struct error *err);

#endif
