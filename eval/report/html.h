/* html.h - the comparison as one self-contained page: it includes style, plots and tables, and
 * loads nothing from elsewhere (a content security policy makes the browser enforce that).
 *
 * The build turns the style sheet, html.css, into a string. */
#ifndef SURPRISAL_EVAL_REPORT_HTML_H
#define SURPRISAL_EVAL_REPORT_HTML_H

#include "eval/report/comparison_report.h"

/* *missing: empty, or one line that says why the page has tables instead of plots. */
bool html_write(const struct report *r, const char *path, struct error *missing, struct error *err);

#endif
