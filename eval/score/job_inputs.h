/* job_inputs.h - the files that an evaluation reads (base/input_files.h). */
#ifndef SURPRISAL_EVAL_SCORE_JOB_INPUTS_H
#define SURPRISAL_EVAL_SCORE_JOB_INPUTS_H

#include "eval/score/model.h"

/* Adds what the options name, before any of it is read, and what their handle has read; the files
 * of weights of a folder come when they are opened (model_open). */
bool job_inputs_add(struct input_files *in, const struct surprisal_eval_options *o,
                    struct error *err);

#endif
