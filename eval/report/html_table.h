/* html_table.h - tables of the page: columns of the rows of a JSON array, and numbers in print (a
 * minus sign, powers of ten). */
#ifndef SURPRISAL_EVAL_REPORT_HTML_TABLE_H
#define SURPRISAL_EVAL_REPORT_HTML_TABLE_H

#include "base/json.h"
#include "eval/report/describe.h"
#include "eval/report/markup.h"

/* Writes a text of describe.h with the minus sign and exponents of print: "-1e-05" as −1 x
 * 10^−5. */
void html_table_number(struct markup *m, const char *text);

enum column_kind {
    COLUMN_NUMBER, COLUMN_DIFFERENCE, COLUMN_SHARE, COLUMN_COUNT, COLUMN_GIGABYTES,
    COLUMN_TRUTH,                       /* "yes" where it is true */
    COLUMN_TEXT
};

struct column {
    const char *key;            /* member of a row */
    const char *heading;
    enum column_kind kind;
};

#define HTML_COLUMNS_MAX 8

/* A number, or 1 and 0 for true and false; NaN for anything else. */
double html_table_value(const cJSON *item);

/* Writes a table of all rows, in a box that scrolls if the table is large.  A null number is shown
 * as a dash; columns that are null in every row are left out.  n_columns: at most HTML_COLUMNS_MAX.
 * caption: for screen readers. */
void html_table(struct markup *m, const cJSON *rows, const struct column *columns, size_t n_columns,
                const char *caption);

#endif
