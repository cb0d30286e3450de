/* plan_run.h - what one plan gets of a run: its windows, its scores, its run folder.
 *
 * The engine is given the windows of all plans as one list, plan after plan, over their sequences'
 * ids one after another, and reads the weights once for all of them.  What a window scores does not
 * depend on the windows beside it, so the run of a plan has the same bytes as if it ran alone. */
#ifndef SURPRISAL_EVAL_SCORE_PLAN_RUN_H
#define SURPRISAL_EVAL_SCORE_PLAN_RUN_H

#include "eval/score/model.h"
#include "eval/protocol/plans.h"
#include "eval/protocol/prefix.h"
#include "eval/run/run_folder.h"
#include "eval/score/scoring.h"
#include "eval/protocol/sequence.h"
#include "eval/run/summary.h"
#include "eval/statistics/draft_figures.h"

struct plan_run {
    char name[PLAN_NAME_BYTES];
    struct sequence sequence;           /* owned */
    struct run_folder folder;           /* owned */
    struct scoring scoring;             /* owned; borrows sequence and folder */
    struct draft_sums drafts[SURPRISAL_MTP_MOST];
    struct summary summary;             /* what is known beforehand; see plan_runs_make */
};

enum { N_TASKS = SURPRISAL_TASK_LINES + 1 };

/* Zero-initialise; release with plan_runs_free. */
struct plan_runs {
    struct plan_run *list;              /* owned [n] */
    size_t n, hidden_size;
    const struct prefix *prefix;        /* of rolling; NULL: not looked for */
    struct prefix own_prefix;           /* owned; the prefix, unless a handle has it */
    struct input inputs[N_TASKS];       /* owned; those that a plan needs */
    /* Of all runs, for the engine: */
    int32_t *ids;                       /* owned [n_ids] */
    size_t n_ids;
    struct windows windows;             /* owned */
};

/* Reads the inputs and makes the windows.  The summaries get what plans and inputs say of them;
 * engine, work and figures come later.  All arguments but s stay borrowed.  After a failure, too,
 * plan_runs_free is due. */
bool plan_runs_make(struct plan_runs *s, const struct plans *plans,
                    const struct surprisal_eval_options *o, const struct model *model,
                    struct error *err);
/* The engine's sink; user is the struct plan_runs. */
bool plan_runs_consume(void *user, size_t row, size_t n, const struct engine_score *scores,
                       const float *hidden, struct error *err);
/* The same of its drafts. */
bool plan_runs_consume_drafts(void *user, size_t window, size_t draft, size_t n,
                              const struct engine_draft *drafts, const float *hidden,
                              struct error *err);
/* Takes in the first rows, which an earlier process wrote into the folders, when they have the
 * digests that plan_runs_rows said of them.  digests: [n * DIGEST_BYTES]. */
bool plan_runs_replay(struct plan_runs *s, size_t rows, const uint8_t *digests, struct error *err);
/* Digests of the rows that were added so far. */
bool plan_runs_rows(const struct plan_runs *s, uint8_t *digests, struct error *err);
/* Makes durable what the folders hold, before a state says so. */
bool plan_runs_sync(struct plan_runs *s, struct error *err);
/* Abandons folders that were not committed. */
void plan_runs_free(struct plan_runs *s);

#endif
