/* trace_foreign.h - reads the trace that another program wrote: the tensors of trace.h by the same
 * names, or some of them.
 *
 * States are F32, F64, BF16 or F16; ids and routing are I32 or I64.  The file is an input like any
 * other: shapes are checked against the model, and names that mean nothing here are kept apart. */
#ifndef SURPRISAL_EVAL_SCORE_TRACE_FOREIGN_H
#define SURPRISAL_EVAL_SCORE_TRACE_FOREIGN_H

#include <stdint.h>

#include "formats/config.h"
#include "formats/safetensors.h"

struct trace_foreign {
    struct safetensors_file file;       /* owned */
    const char *path;                   /* borrowed */
    /* NULL: not in the file. */
    const struct tensor *ids, *residual, *routing, *hidden, *logits;
};

bool trace_foreign_open(struct trace_foreign *t, const char *path, struct error *err);
void trace_foreign_close(struct trace_foreign *t);
/* Gives the ids that the file holds. */
bool trace_foreign_ids(const struct trace_foreign *t, int32_t **ids, size_t *n_ids,
                       struct error *err);
/* Refuses shapes and types that do not fit, other ids, and a file that holds nothing to compare. */
bool trace_foreign_check(const struct trace_foreign *t, const struct config *c, const int32_t *ids,
                         size_t n_ids, struct error *err);

/* Rows of a state tensor, counted over all dimensions but the last: [n, columns] to out. */
bool trace_foreign_rows(const struct trace_foreign *t, float *out, const struct tensor *states,
                        size_t row, size_t n, struct error *err);
/* The experts of row `row`: [k] to out. */
bool trace_foreign_experts(const struct trace_foreign *t, int32_t *out, size_t row,
                           struct error *err);

/* The type that states were rounded to: that of the tensor, or the one of fewer bits that holds all
 * values of its first row.  A program that computes in BF16 may write F32. */
bool trace_foreign_rounding(const struct trace_foreign *t, enum dtype *rounding, struct error *err);

#endif
