/* html.h - the comparison as one self-contained page: it includes style, plots and tables, and
 * loads nothing from elsewhere (a content security policy makes the browser enforce that).
 *
 * The build turns the style sheet, html.css, into a string. */
#ifndef SURPRISAL_EVAL_REPORT_HTML_H
#define SURPRISAL_EVAL_REPORT_HTML_H

#include "eval/report/comparison_report.h"
#include "eval/report/markup.h"

/* *missing: empty, or one line that says why the page has tables instead of plots. */
bool html_write(const struct report *r, const char *path, struct error *missing, struct error *err);

/* The parts of such a page, for one that has several comparisons (html_ranking.h): up to the title,
 * which follows; with more style, up to the header's content; tiles, gates and warnings; the
 * sections, whose figures have ids that begin with scope (html_figures.h); the end. */
void html_begin(struct markup *m);
void html_begin_body(struct markup *m, const char *more_style);
void html_summary(struct markup *m, const struct report *r);
void html_sections(struct markup *m, const struct report *r, const char *scope,
                   struct error *missing);
void html_end(struct markup *m, const cJSON *document);

#endif
