/* changed_inputs.h - inputs that change while a job reads them (base/input_files.h). */
#ifndef SURPRISAL_EVAL_SCORE_CHANGED_INPUTS_H
#define SURPRISAL_EVAL_SCORE_CHANGED_INPUTS_H

#include "base/input_files.h"
#include "formats/weights.h"
#include "surprisal.h"

/* Refuses inputs that were changed.  hash: of the weights that were read so far; NULL: none. */
bool changed_inputs_refuse(struct input_files *in, struct weights_hash *hash,
                           const struct surprisal_progress *progress, struct error *err);

#endif
