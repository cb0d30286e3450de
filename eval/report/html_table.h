/* html_table.h - tables of the page: rows of a JSON array by columns, and numbers as people write
 * them (a minus sign, powers of ten). */
#ifndef SURPRISAL_EVAL_REPORT_HTML_TABLE_H
#define SURPRISAL_EVAL_REPORT_HTML_TABLE_H

#include "base/json.h"
#include "eval/report/describe.h"
#include "eval/report/markup.h"

/* Text of describe.h with the minus and exponents of print: "-1e-05" as −1 x 10^−5. */
void html_number(struct markup *m, const char *text);

enum column_kind { COLUMN_NUMBER, COLUMN_DIFFERENCE, COLUMN_SHARE, COLUMN_COUNT, COLUMN_TEXT };

struct column {
    const char *key;            /* member of a row */
    const char *heading;
    enum column_kind kind;
};

#define HTML_COLUMNS_MAX 8

/* A table of all rows, in a box of its own that scrolls when it is large.  A number that is null is a
 * dash; columns in which every row is null are left out.  n_columns: at most
 * HTML_COLUMNS_MAX.  caption: for those who cannot see. */
void html_table(struct markup *m, const cJSON *rows, const struct column *columns, size_t n_columns,
                const char *caption);

#endif
