/* trace_differences.h - where another program's trace leaves ours: by step, twice.
 *
 *   whole   our states as they come from the embedding, beside theirs: all that has gone apart so
 *           far
 *   alone   a second run, in which each step begins with their states: what this step does
 *           otherwise.  Norm and head are two steps, so that a fault of one is not seen in the
 *           other.
 *
 * A token's difference counts as rounding up to a floor.  Of a layer that is
 *
 *     u (128 rms(y - x) + 4 rms(y)),      x its input, y its output, of this token
 *
 * and of norm and head 128 u rms(y) in F32, but 8 u rms(y) in BF16 and F16, where the sums are F32
 * and so only input and output are rounded.  u is the rounding of the coarser side: 2^-24 for F32,
 * 2^-11 for F16, 2^-9 for BF16.  The two additions to the residual stream round y on either side by
 * u at most, which is the second term.  The sums inside a step have no such bound: 128 is what
 * kernel sets in F32 stay below by a factor of 6 on the demo and the fixtures, and BF16 beside F32
 * by one of 1.2, in one token of 2,000 (tests/faults/test_engine_faults.py).  A step whose input is
 * not in the file has gone apart since the last one that is: its floor is as many times larger as
 * steps lie between.
 *
 * Rounding also decides between experts of nearly the same weight, and then a token differs by much
 * more.  Such a token is counted by its experts instead, if all but one of them are the same, and
 * at most a quarter of the tokens have others: more than that is the router's doing. */
#ifndef SURPRISAL_EVAL_SCORE_TRACE_DIFFERENCES_H
#define SURPRISAL_EVAL_SCORE_TRACE_DIFFERENCES_H

#include "base/compute_type.h"
#include "eval/score/trace_foreign.h"

struct trace_size {
    double largest, squares;            /* of the differences; infinite if theirs is no number */
    size_t n;                           /* elements */
};

enum trace_step_kind { TRACE_LAYER, TRACE_NORM, TRACE_HEAD };

struct trace_step {
    enum trace_step_kind kind;
    size_t layer;                       /* of TRACE_LAYER */
    bool compared;                      /* its states are in the file */
    size_t steps;                       /* since their states: 1 if the step begins with them */
    struct trace_size whole, alone;
    double ratio;                       /* the largest difference of a token (RMS) by its floor */
    size_t beyond;                      /* tokens beyond the floor */
    size_t first;                       /* of them */
    double first_rms, first_floor;
    bool first_other_experts;
    bool routed;                        /* both traces have the experts of this layer */
    size_t other_experts;               /* tokens for which other experts were chosen */
    bool reroutes;                      /* so many that it is no rounding */
};

struct trace_differences {
    const struct trace_foreign *foreign;
    const struct config *config;        /* both borrowed */
    size_t T;
    enum dtype rounding;                /* of the coarser side */
    bool alone;                         /* the run that is measured; else whole */
    struct trace_step *steps;           /* owned [num_hidden_layers + 2]: layers, norm, head */
    size_t n_steps;
    float *theirs, *before;             /* owned: a row each */
    int32_t *experts;                   /* owned: of a token */
    size_t *others;                     /* owned [T]: experts of theirs that are not ours */
};

/* Zero-initialise; release with trace_differences_free, after a failure too. */
bool trace_differences_make(struct trace_differences *d, const struct trace_foreign *foreign,
                            const struct config *c, size_t T, enum compute_type compute,
                            struct error *err);
void trace_differences_free(struct trace_differences *d);

/* As struct engine_tracer gives them.  In the run `alone` they leave their states for the next
 * step, except rows that are not finite. */
bool trace_differences_layer(struct trace_differences *d, size_t layer, float *residual,
                             const int32_t *routing, struct error *err);
bool trace_differences_hidden(struct trace_differences *d, size_t row, size_t n, float *hidden,
                              struct error *err);
bool trace_differences_logits(struct trace_differences *d, size_t row, size_t n,
                              const float *logits, struct error *err);

/* NULL: all steps agree but for rounding. */
const struct trace_step *trace_differences_first(const struct trace_differences *d);
/* RMS of a size; 0 of none. */
double trace_differences_rms(const struct trace_size *s);

#endif
