/* record_divergence.h - KL divergence of two records, where both kept their final hidden states. */
#ifndef SURPRISAL_EVAL_COMPARE_RECORD_DIVERGENCE_H
#define SURPRISAL_EVAL_COMPARE_RECORD_DIVERGENCE_H

#include "eval/compare/divergence.h"
#include "eval/run/record.h"

/* A run and, if it is open, its checkpoint. */
struct divergence_run {
    struct record *record;
    struct surprisal_model *opened;     /* NULL: it is where the run's summary says */
};

/* Gives *rows [scored] (free), or NULL: a record keeps no hidden states, or its checkpoint is not
 * where its summary says (nothing, no checkpoint, or one with another head), which is warned about.
 * The records' rows must be of the same tokens; their hidden states are checked and viewed here. */
bool record_divergence(struct divergence_row **rows, struct divergence_run a,
                       struct divergence_run b, const struct divergence_options *options,
                       struct error *err);

/* divergence_least of two records; 0 where no divergence will be measured. */
bool record_divergence_least(size_t *bytes, struct divergence_run a, struct divergence_run b,
                             size_t beside_bytes, const struct divergence_options *options,
                             struct error *err);

#endif
