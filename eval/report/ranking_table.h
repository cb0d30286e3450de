/* ranking_table.h - the table of a ranking (eval/compare/ranking.h describes its JSON): the columns
 * that text, Markdown and HTML show, a row for each candidate. */
#ifndef SURPRISAL_EVAL_REPORT_RANKING_TABLE_H
#define SURPRISAL_EVAL_REPORT_RANKING_TABLE_H

#include "eval/report/describe.h"

enum ranking_column {
    RANKING_NUMBER, RANKING_NAME, RANKING_SIZE, RANKING_BITS, RANKING_KLD, RANKING_FRONT,
    RANKING_OVER_FRONT, RANKING_TIED, RANKING_DELTA, RANKING_TOP1, RANKING_MEDIAN, RANKING_P99,
    RANKING_P999, RANKING_COLUMNS
};

extern const char *const ranking_table_headings[RANKING_COLUMNS];

/* Appends what a column says of a candidate: a figure with its error, "yes", "below 2" where
 * candidate 2 dominates it, "2, 3" where it is tied with these.  Only a name comes from outside: as
 * it is. */
bool ranking_table_cell(struct buffer *out, enum ranking_column column, const cJSON *candidate,
                        struct error *err);

/* Appends the sentences that say how the columns are meant: with the correction of the ties and the
 * number of tests of this ranking.  between: what stands between two of them. */
bool ranking_table_note(struct buffer *out, const cJSON *ranking, const char *between,
                        struct error *err);

#endif
