/* compare.h - the job of surprisal_compare: two run folders read, or two checkpoints evaluated,
 * then compared (comparison.h) and told (comparison_json.h).
 *
 * Checkpoints are evaluated one after the other with the same settings, final hidden states kept,
 * into folders `a` and `b` (and `floor`) of eval.out, or of a temporary folder that is removed in
 * every case.  Before the first, all of them are prepared without being scored, so that a
 * checkpoint that does not open, another tokenizer, or a disk too small shows before the long
 * work. */
#ifndef SURPRISAL_EVAL_COMPARE_COMPARE_H
#define SURPRISAL_EVAL_COMPARE_COMPARE_H

#include "base/error.h"
#include "base/json.h"
#include "eval/score/evaluate.h"

/* As surprisal.h documents them. */
bool compare_check(const struct surprisal_compare_options *o, struct error *err);
bool compare_takes_plans(const struct surprisal_compare_options *o);

/* Two run folders or two checkpoints.  plan: its name for the document, NULL: none.  Gives the
 * document, to be freed by cJSON_Delete; appends the table to text, unless it is NULL. */
cJSON *compare_runs(const struct surprisal_compare_options *o, const char *plan,
                    struct buffer *text, struct error *err);

/* Two run folders: is there memory for all of their comparison?  Without a budget nothing is
 * read. */
bool compare_check_memory(const struct surprisal_compare_options *o, struct error *err);

/* What a pair of checkpoints costs, estimated; 0: not known. */
struct compare_cost {
    double evaluation_seconds, divergence_seconds;      /* of B; of B from A */
    size_t disk_bytes;                                  /* of B's run */
};

/* Two checkpoints, A as it is prepared: finds without scoring what would refuse them later. */
bool compare_prepare(const struct surprisal_compare_options *o, const struct evaluate_prepared *a,
                     struct compare_cost *cost, struct error *err);

#endif
