/* html_figures.h - the plots of the page, each with a description and a table of its numbers.
 *
 * A plot is drawn twice, for wide and for narrow screens; CSS shows one of them.  If gnuplot is
 * absent or fails, the tables replace the plots. */
#ifndef SURPRISAL_EVAL_REPORT_HTML_FIGURES_H
#define SURPRISAL_EVAL_REPORT_HTML_FIGURES_H

#include "base/json.h"
#include "eval/report/markup.h"

/* Appends the figures for which the document (of a comparison, or a ranking) has data.  scope: put
 * before the ids of the figures, [a-z0-9_], where a page has several documents; at most 64
 * characters.  *missing: empty, or why there are no plots. */
void html_figures(struct markup *m, const cJSON *document, const char *scope,
                  struct error *missing);

#endif
