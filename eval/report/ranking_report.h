/* ranking_report.h - rankings as text, Markdown and CSV, from their JSON alone
 * (eval/compare/ranking.h; the document of surprisal_rank). */
#ifndef SURPRISAL_EVAL_REPORT_RANKING_REPORT_H
#define SURPRISAL_EVAL_REPORT_RANKING_REPORT_H

#include "eval/report/comparison_report.h"

/* Appends the tables for people. */
bool ranking_report_text(struct buffer *out, const cJSON *document, struct error *err);

/* A row for each candidate of each ranking, those that are not comparable with their reason alone.
 * Numbers in full; text in quotation marks where it needs them (RFC 4180), so it may hold
 * newlines. */
bool ranking_report_csv(const cJSON *document, const char *path, struct error *err);

/* reports [n]: the gates of all pairs, in the order of the document, for one table of those that
 * failed. */
bool ranking_report_markdown(const cJSON *document, const struct report *reports, size_t n,
                             const char *path, struct error *err);

#endif
