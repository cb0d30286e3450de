/* evaluate.h - the job: a checkpoint, a text and a protocol in, figures and a run folder out.
 *
 * Order: the output folder, the checkpoint, the text, the windows, the state to resume from; then the
 * plan is told and the windows are scored, the checkpoint being hashed as it is read.  So every
 * mistake that can be known beforehand is reported before the long work. */
#ifndef SURPRISAL_EVAL_EVALUATE_H
#define SURPRISAL_EVAL_EVALUATE_H

#include "base/error.h"
#include "surprisal.h"

/* Both as surprisal.h documents them. */
bool evaluate_check(const struct surprisal_eval_options *o, struct error *err);
bool evaluate(const struct surprisal_eval_options *o, struct surprisal_result *result,
              struct error *err);

#endif
