/* figure.h - the numbers of a comparison (docs of `compare --json`) by name.
 *
 * A name is a path into the document: members by their keys, elements of arrays by their number:
 * "mean_kld", "kld.p99", "a.perplexity", "delta_nll_ci95.1", "layers.3.residual_error".  After
 * "floor." stand the names of the noise floor's figures, after "baseline." any name of an earlier
 * comparison.  Names are known before there is a document, so that a misspelt one is found before
 * hours of work. */
#ifndef SURPRISAL_EVAL_REPORT_FIGURE_H
#define SURPRISAL_EVAL_REPORT_FIGURE_H

#include "base/json.h"

#define FIGURE_BASELINE "baseline."

/* Can a comparison hold such a figure?  name: n characters. */
bool figure_known(const char *name, size_t n);
/* Appends the known names that look most like it (fewest edits), at most five, with ", " between them;
 * nothing when none is alike. */
bool figure_near(struct buffer *out, const char *name, size_t n, struct error *err);

/* The figure of that name; NaN when the document has none, or it is null. */
double figure_value(const cJSON *document, const char *name, size_t n);
/* Any member by path, NULL when it is absent or null. */
const cJSON *figure_find(const cJSON *document, const char *name, size_t n);

#endif
