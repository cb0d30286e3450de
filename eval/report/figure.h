/* figure.h - the numbers of a comparison (the document of `compare --json`) by name.
 *
 * A name is a path into the document: members by their keys, elements of arrays by their number:
 * "mean_kld", "kld.p99", "a.perplexity", "delta_nll_ci95.1", "layers.3.residual_error".  "floor."
 * leads to the figures of the noise floor, "baseline." to any name of an earlier comparison.  The
 * names are known without a document, so that a misspelt one is found before hours of work. */
#ifndef SURPRISAL_EVAL_REPORT_FIGURE_H
#define SURPRISAL_EVAL_REPORT_FIGURE_H

#include "base/json.h"

#define FIGURE_BASELINE "baseline."

/* Is this the name of a figure?  name: n characters. */
bool figure_known(const char *name, size_t n);
/* Appends the most similar names (fewest edits), at most five, separated by ", "; nothing when none
 * is similar. */
bool figure_near(struct buffer *out, const char *name, size_t n, struct error *err);

/* The value of a figure; NaN when it is absent or null. */
double figure_value(const cJSON *document, const char *name, size_t n);
/* Any member by path, NULL when it is absent or null. */
const cJSON *figure_find(const cJSON *document, const char *name, size_t n);

#endif
