/* warned.h - what a reader of a comparison must be warned about: what both runs warned about (their
 * summaries have `warnings`), and what shows only when the two are side by side. */
#ifndef SURPRISAL_EVAL_COMPARE_WARNED_H
#define SURPRISAL_EVAL_COMPARE_WARNED_H

#include "base/json.h"
#include "eval/run/record.h"
#include "eval/run/warnings.h"

/* A run by the checkpoint that it was made from, if that is not the other's too, else by its
 * folder: a ranking's runs may lie in folders that are removed. */
const char *warned_name(const struct record *run, const struct record *other);

/* Warns when A has quantized weights and B has none: every figure would be read the wrong way
 * round. */
void warned_swapped(const struct surprisal_progress *progress, const char *name_a, size_t bytes_a,
                    const char *name_b, size_t bytes_b);

/* Adds `warnings` to a document with the summaries a and b: the lines of the comparison's own job,
 * then those of a noise floor's run (its summary; NULL: none), without lines that a or b have. */
bool warned_add(cJSON *document, const struct warnings *own, const cJSON *floor, struct error *err);

/* Adds the warnings of a document to another of which they are all that matters (an empty object at
 * first): each line once. */
bool warned_collect(cJSON *into, const cJSON *document, struct error *err);

/* Appends all warnings of a document for people; nothing where there are none. */
bool warned_text(struct buffer *out, const cJSON *document, struct error *err);

#endif
