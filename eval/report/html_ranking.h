/* html_ranking.h - rankings as one self-contained page (html.h): for each the plot of divergence
 * against size, the table, what was not comparable; then, folded, the page of each pair. */
#ifndef SURPRISAL_EVAL_REPORT_HTML_RANKING_H
#define SURPRISAL_EVAL_REPORT_HTML_RANKING_H

#include "eval/report/comparison_report.h"

/* reports [n]: of all pairs and of what is not comparable, in the order of the document; *missing
 * as html_write has it. */
bool html_ranking_write(const cJSON *document, const struct report *reports, size_t n,
                        const char *path, struct error *missing, struct error *err);

#endif
