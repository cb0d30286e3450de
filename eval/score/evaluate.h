/* evaluate.h - the job: a checkpoint, a text and a protocol in, figures and a run folder out.
 *
 * Order: the output folder, the checkpoint, the text, the windows, the state to resume from; then
 * the plan is told and the windows are scored, the checkpoint being hashed as it is read.  So every
 * mistake that can be known beforehand is reported before the long work. */
#ifndef SURPRISAL_EVAL_SCORE_EVALUATE_H
#define SURPRISAL_EVAL_SCORE_EVALUATE_H

#include "base/digest.h"
#include "base/error.h"
#include "base/input_files.h"
#include "base/matrix.h"
#include "eval/protocol/protocol.h"
#include "surprisal.h"

/* All as surprisal.h documents them. */
struct surprisal_eval_options evaluate_defaults(void);
void evaluate_result_free(struct surprisal_result *result);
bool evaluate_check(const struct surprisal_eval_options *o, struct error *err);
bool evaluate_run(const struct surprisal_eval_options *o, struct surprisal_result *results,
                  struct error *err);

/* What is known of an evaluation before its long work. */
struct evaluate_prepared {
    struct surprisal_plan plan;             /* with an estimated time if options->plan is given */
    size_t least_bytes;                     /* the smallest memory budget that does */
    char tokenizer[2 * DIGEST_BYTES + 1];   /* sha256; empty: none is read */
    int32_t prefix_id;                      /* -1: none */
    size_t quantized_bytes;                 /* of the checkpoint's weights */
    size_t head_values;                     /* vocabulary x hidden size */
    enum dtype head_dtype;
    struct buffer settings;                 /* given: lines "key: value" that decide the numbers, of
                                               any instruction set */
    const char *isa;
    size_t most_parts;                      /* that the windows of each plan can be divided into */
    int32_t *ids;                           /* given [n_ids]: what the model sees, */
    size_t n_ids;
    struct windows windows;                 /* given: and the windows over it */
    struct input_files inputs;              /* given: what was read, as it was then */
};

/* Does all of evaluate that comes before the scoring, and so finds the mistakes that it would find;
 * writes no folder and gives no warnings, which the evaluation gives.
 * *out is released with evaluate_prepared_free, also after a failure. */
bool evaluate_prepare(const struct surprisal_eval_options *o, struct evaluate_prepared *out,
                      struct error *err);
void evaluate_prepared_free(struct evaluate_prepared *p);

#endif
