/* html_figures.h - the plots of the page, each with what it shows in words and its numbers in a table.
 *
 * A plot is drawn twice, for wide and for narrow screens; CSS shows one.  Where gnuplot is absent or
 * fails, the tables take the plots' place. */
#ifndef SURPRISAL_EVAL_REPORT_HTML_FIGURES_H
#define SURPRISAL_EVAL_REPORT_HTML_FIGURES_H

#include "base/json.h"
#include "eval/report/markup.h"

/* Appends the figures that the document has data for.  *missing: empty, or why the plots are not
 * there. */
void html_figures(struct markup *m, const cJSON *document, struct error *missing);

#endif
