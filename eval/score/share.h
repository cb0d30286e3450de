/* share.h - what one plan gets of a run: its windows, its scores, its run folder.
 *
 * The engine is given the windows of all plans as one list, plan after plan, over their sequences'
 * ids one after another, and reads the weights once for all of them.  What a window scores does not
 * depend on the windows beside it, so a share has the bytes of a run of its plan alone. */
#ifndef SURPRISAL_EVAL_SCORE_SHARE_H
#define SURPRISAL_EVAL_SCORE_SHARE_H

#include "eval/score/opened.h"
#include "eval/protocol/plans.h"
#include "eval/run/run_folder.h"
#include "eval/score/scoring.h"
#include "eval/protocol/sequence.h"
#include "eval/run/summary.h"

struct share {
    char name[PLAN_NAME_BYTES];
    struct sequence sequence;           /* owned */
    struct run_folder folder;           /* owned */
    struct scoring scoring;             /* owned; borrows sequence and folder */
    struct summary summary;             /* what is known beforehand; see shares_make */
};

enum { N_TASKS = SURPRISAL_TASK_WIKITEXT + 1 };

/* Zero-initialise; release with shares_free. */
struct shares {
    struct share *list;                 /* owned [n] */
    size_t n, hidden_size;
    struct input inputs[N_TASKS];       /* owned; those that a plan needs */
    /* Of all shares, for the engine: */
    int32_t *ids;                       /* owned [n_ids] */
    size_t n_ids;
    struct windows windows;             /* owned */
};

/* Reads the inputs and makes the windows.  The summaries get what plans and inputs say of them;
 * engine, work and figures come later.  All arguments but s stay borrowed; t is NULL for ids.  After
 * a failure, too, shares_free is due. */
bool shares_make(struct shares *s, const struct plans *plans, const struct surprisal_eval_options *o,
                 const struct opened *opened, const struct tokenizer *t, struct error *err);
/* The engine's sink; user is the struct shares. */
bool shares_take(void *user, size_t row, size_t n, const struct engine_score *scores,
                 const float *hidden, struct error *err);
/* Takes in the first rows, which an earlier process wrote into the folders, when they have the digests
 * that shares_rows said of them.  digests: [n * DIGEST_BYTES]. */
bool shares_replay(struct shares *s, size_t rows, const uint8_t *digests, struct error *err);
/* Digests of the rows that were added so far. */
bool shares_rows(const struct shares *s, uint8_t *digests, struct error *err);
/* Makes durable what the folders hold, before a state says so. */
bool shares_sync(struct shares *s, struct error *err);
/* Abandons folders that were not committed. */
void shares_free(struct shares *s);

#endif
