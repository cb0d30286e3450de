/* job_inputs.h - what an evaluation reads, and that it stays as it is (base/input_files.h). */
#ifndef SURPRISAL_EVAL_SCORE_JOB_INPUTS_H
#define SURPRISAL_EVAL_SCORE_JOB_INPUTS_H

#include "base/input_files.h"
#include "formats/checkpoint.h"
#include "formats/weights.h"
#include "surprisal.h"
#include "tokenizer/tokenizer.h"

/* Adds what the options name, before any of it is read; the files of weights come when they are
 * opened (checkpoint_list_weights). */
bool job_inputs_add(struct input_files *in, const struct surprisal_eval_options *o,
                    struct error *err);
/* Gives the tokenizer that the options name, or else the checkpoint's own. */
struct tokenizer *job_tokenizer(const struct surprisal_eval_options *o, struct error *err);
/* Refuses inputs that were changed.  hash: of the weights that were read so far; NULL: none. */
bool job_inputs_check(struct input_files *in, struct weights_hash *hash,
                      const struct surprisal_progress *progress, struct error *err);

#endif
