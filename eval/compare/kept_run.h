/* kept_run.h - a finished run folder: is it what an evaluation would make now? */
#ifndef SURPRISAL_EVAL_COMPARE_KEPT_RUN_H
#define SURPRISAL_EVAL_COMPARE_KEPT_RUN_H

#include "eval/run/record.h"
#include "eval/score/evaluate.h"
#include "eval/score/model.h"

/* Does the checkpoint have the digest that the summary of a run states?  Reads all weights. */
bool kept_run_same_checkpoint(bool *same, const cJSON *summary, struct model_source from,
                              const struct surprisal_machine *machine, struct error *err);

/* Refuses a run that did not score the tokens, in the windows, that were prepared. */
bool kept_run_check_tokens(const struct record *r, const struct evaluate_prepared *p,
                           struct error *err);

/* Refuses a folder that is not the run of these options: of their checkpoint, tokens, compute type
 * and kind of hidden states.  Its digests are checked, those of the hidden states too. */
bool kept_run_check(const char *folder, const struct surprisal_eval_options *e, struct error *err);

#endif
