/* ranked_runs.h - the run folders that a ranking compares: those that the caller names, and those
 * that are made of checkpoints.
 *
 *     OUT.partial/, then OUT/          or a nameless folder that is removed at the end
 *         original, floor              runs, with final hidden states
 *         b1, b2, ...                  of candidates that are checkpoints, by their place
 *
 * A candidate that fails gets a reason and the others go on; the job ends if the evaluation of the
 * original or of the noise floor fails, is interrupted, or memory is out. */
#ifndef SURPRISAL_EVAL_COMPARE_RANKED_RUNS_H
#define SURPRISAL_EVAL_COMPARE_RANKED_RUNS_H

#include "base/output_folder.h"
#include "eval/compare/compare.h"
#include "eval/compare/operand.h"
#include "eval/run/warnings.h"
#include "eval/score/evaluate.h"

#define RANKED_RUNS_STAGE_BYTES 48

struct ranked_candidate {
    const char *name;                   /* as the caller names it; borrowed */
    enum operand operand;
    char *run;                          /* owned: its run folder; NULL: none (yet) */
    char *reason;                       /* owned: why it is not comparable; NULL: it is */
    struct compare_cost cost;
    size_t stage;                       /* index of its comparison */
};

/* Zero-initialise; release with ranked_runs_end. */
struct ranked_runs {
    const struct surprisal_rank_options *options;
    struct surprisal_eval_options eval; /* of checkpoints; hidden states are kept */
    enum operand original_operand;
    char *original, *floor;             /* owned: run folders; floor NULL: none */
    struct ranked_candidate *candidates;        /* owned [options->n_candidates] */
    struct evaluate_prepared prepared;  /* of an original that is a checkpoint */
    struct warnings told;               /* of the pairs: before the evaluations, and after them */
    struct output_folder folder;
    bool lost;                          /* the evaluation of a candidate failed */
    /* Owned [n_stages]: evaluations, of which `begun` have begun, then comparisons. */
    struct surprisal_stage *stages;
    char (*stage_names)[RANKED_RUNS_STAGE_BYTES];
    size_t n_stages, begun;
};

/* Looks at all operands and evaluates none.  rank_check must have accepted the options. */
bool ranked_runs_begin(struct ranked_runs *r, const struct surprisal_rank_options *options,
                       struct error *err);
/* Evaluates the checkpoints. */
bool ranked_runs_make(struct ranked_runs *r, struct error *err);
/* The comparison of a candidate begins: tells the caller so. */
void ranked_runs_compares(const struct ranked_runs *r, const struct ranked_candidate *c);
/* Takes why a candidate failed, and warns; false where the whole job must end. */
bool ranked_runs_fail(struct ranked_runs *r, struct ranked_candidate *c, const struct error *why,
                      struct error *err);
/* Gives the folder of the runs its name, if there is one and every evaluation is complete; else
 * warns where the complete ones are. */
bool ranked_runs_commit(struct ranked_runs *r, struct error *err);
void ranked_runs_end(struct ranked_runs *r);

#endif
