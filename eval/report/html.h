/* html.h - the comparison as one page that needs nothing else: style, plots and tables are inside, no
 * address is asked for anything (a content security policy says so to the browser, too).
 *
 * The style sheet is html.css, which the build turns into a string. */
#ifndef SURPRISAL_EVAL_REPORT_HTML_H
#define SURPRISAL_EVAL_REPORT_HTML_H

#include "eval/report/comparison_report.h"

/* *missing: empty, or why there are tables in the place of plots (one line), as the page says too. */
bool html_write(const struct report *r, const char *path, struct error *missing, struct error *err);

#endif
