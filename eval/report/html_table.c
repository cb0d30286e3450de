#include "eval/report/html_table.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void html_table_number(struct markup *m, const char *text)
{
    for (const char *s = text; *s; s++) {
        bool exponent = *s == 'e' && s > text && strchr("0123456789", s[-1]) && s[1]
                     && strchr("+-", s[1]);
        if (exponent) {
            const char *digits = s + 2 + strspn(s + 2, "0");
            size_t n = strspn(digits, "0123456789");
            markup_printf(m, "\u202f\u00d7\u202f10<sup>%s%.*s</sup>", s[1] == '-' ? "\u2212" : "",
                          (int)n, digits);
            s = digits + n - 1;
        } else if (*s == '-' && s[1] && strchr("0123456789.", s[1]))
            markup_raw(m, "\u2212");
        else
            markup_printf(m, "%c", *s);
    }
}

double html_table_value(const cJSON *item)
{
    return cJSON_IsBool(item) ? cJSON_IsTrue(item) : cJSON_GetNumberValue(item);
}

static void add_cell(struct markup *m, const cJSON *row, const struct column *c)
{
    static const enum number_kind kinds[] = {
        [COLUMN_NUMBER] = NUMBER_PLAIN, [COLUMN_DIFFERENCE] = NUMBER_DIFFERENCE,
        [COLUMN_SHARE] = NUMBER_SHARE,  [COLUMN_COUNT] = NUMBER_COUNT,
        [COLUMN_GIGABYTES] = NUMBER_GIGABYTES,
    };
    const cJSON *item = json_get(row, c->key);
    if (c->kind == COLUMN_TEXT) {
        markup_raw(m, "<td class=\"text\">");
        markup_text(m, cJSON_GetStringValue(item));
        markup_raw(m, "</td>");
        return;
    }
    if (c->kind == COLUMN_TRUTH) {
        markup_raw(m, cJSON_IsTrue(item) ? "<td>yes</td>" : "<td>\u2013</td>");
        return;
    }
    char text[DESCRIBE_BYTES];
    double value = cJSON_GetNumberValue(item);
    describe_number(text, kinds[c->kind], value);
    markup_raw(m, "<td>");
    html_table_number(m, isnan(value) ? "\u2013" : text);
    markup_raw(m, "</td>");
}

static bool is_used(const cJSON *rows, const struct column *c)
{
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
        if (json_get_value(row, c->key))
            return true;
    return false;
}

void html_table(struct markup *m, const cJSON *rows, const struct column *columns, size_t n_columns,
                const char *caption)
{
    bool used[HTML_COLUMNS_MAX];
    assert(n_columns <= HTML_COLUMNS_MAX);
    for (size_t i = 0; i < n_columns; i++)
        used[i] = is_used(rows, &columns[i]);
    markup_printf(m, "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"%s\">\n"
                  "<table><caption class=\"unseen\">%s</caption>\n<thead><tr>", caption, caption);
    for (size_t i = 0; i < n_columns; i++)
        if (used[i])
            markup_printf(m, "<th scope=\"col\"%s>%s</th>",
                          columns[i].kind == COLUMN_TEXT ? " class=\"text\"" : "",
                          columns[i].heading);
    markup_raw(m, "</tr></thead>\n<tbody>\n");
    const cJSON *row;
    cJSON_ArrayForEach(row, rows) {
        markup_raw(m, "<tr>");
        for (size_t i = 0; i < n_columns; i++)
            if (used[i])
                add_cell(m, row, &columns[i]);
        markup_raw(m, "</tr>\n");
    }
    markup_raw(m, "</tbody></table></div>\n");
}
