#include "eval/report/html_examples.h"

#include <math.h>

#include "eval/report/html_table.h"

static const char *string(const cJSON *row, const char *key)
{
    return cJSON_GetStringValue(json_get(row, key));
}

static void add_number(struct markup *m, const cJSON *row, const char *key, enum number_kind kind)
{
    char text[DESCRIBE_BYTES];
    describe_number(text, kind, cJSON_GetNumberValue(json_get(row, key)));
    html_table_number(m, text);
}

/* ---- tokens ------------------------------------------------------------------------ */

/* The token with the text around it; its id where there is no text. */
static void add_context(struct markup *m, const cJSON *row)
{
    markup_raw(m, "<p class=\"context\"><bdi>");
    markup_text(m, string(row, "before"));
    markup_raw(m, "<mark>");
    if (string(row, "token"))
        markup_text(m, string(row, "token"));
    else {
        markup_raw(m, "token id ");
        add_number(m, row, "id", NUMBER_WHOLE);
    }
    markup_raw(m, "</mark>");
    markup_text(m, string(row, "after"));
    markup_raw(m, "</bdi></p>\n");
}

static void add_token(struct markup *m, const cJSON *row)
{
    markup_printf(m, "<li class=\"%s\">",
                  cJSON_GetNumberValue(json_get(row, "delta_nll")) > 0 ? "worse" : "better");
    add_context(m, row);
    markup_raw(m, "<p class=\"measure\">NLL ");
    add_number(m, row, "nll_a", NUMBER_PLAIN);
    markup_raw(m, " \u2192 ");
    add_number(m, row, "nll_b", NUMBER_PLAIN);
    markup_raw(m, " <b>");
    add_number(m, row, "delta_nll", NUMBER_DIFFERENCE);
    markup_raw(m, "</b>");
    if (json_get_value(row, "kld")) {
        markup_raw(m, " \u00b7 KL ");
        add_number(m, row, "kld", NUMBER_PLAIN);
    }
    markup_raw(m, " \u00b7 window ");
    add_number(m, row, "window", NUMBER_WHOLE);
    markup_raw(m, ", token ");
    add_number(m, row, "position", NUMBER_WHOLE);
    markup_raw(m, "</p></li>\n");
}

static void add_tokens(struct markup *m, const cJSON *rows)
{
    markup_raw(m, "<section>\n<h2>Tokens that changed most</h2>\n"
               "<p class=\"note\">Largest change of NLL in either direction. Control characters "
               "are shown as their pictures.</p>\n"
               "<ol class=\"examples\">\n");
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
        add_token(m, row);
    markup_raw(m, "</ol>\n</section>\n");
}

/* ---- windows ------------------------------------------------------------------------ */

static void add_window(struct markup *m, const cJSON *row)
{
    markup_printf(m, "<li class=\"%s\"><p class=\"measure\">window ",
                  cJSON_GetNumberValue(json_get(row, "delta_nll")) > 0 ? "worse" : "better");
    add_number(m, row, "window", NUMBER_WHOLE);
    markup_raw(m, ", tokens ");
    add_number(m, row, "begin", NUMBER_WHOLE);
    markup_raw(m, " to ");
    add_number(m, row, "end", NUMBER_WHOLE);
    markup_raw(m, " <b>");
    add_number(m, row, "delta_nll", NUMBER_DIFFERENCE);
    markup_raw(m, "</b> nats/token</p>\n");
    if (string(row, "text")) {
        markup_raw(m, "<p class=\"context\" tabindex=\"0\"><bdi>");
        markup_text(m, string(row, "text"));
        markup_raw(m, "</bdi></p>");
    }
    markup_raw(m, "</li>\n");
}

static void add_windows(struct markup *m, const cJSON *rows)
{
    markup_raw(m, "<section>\n<h2>Windows that changed most</h2>\n<ol class=\"examples\">\n");
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
        add_window(m, row);
    markup_raw(m, "</ol>\n</section>\n");
}

/* ---- experts ------------------------------------------------------------------------ */

#define NUMBERS_SHOWN 12

static void add_numbers(struct markup *m, const cJSON *list)
{
    const cJSON *item = list->child;
    int n = 0;
    for (; item && n < NUMBERS_SHOWN; item = item->next) {
        char text[DESCRIBE_BYTES];
        describe_number(text, NUMBER_WHOLE, cJSON_GetNumberValue(item));
        markup_printf(m, "%s%s", n++ ? ", " : "", text);
    }
    if (item)
        markup_printf(m, " and %d more", cJSON_GetArraySize(list) - n);
}

/* "Never used: layer 7 of A 15; layer 7 of B 15." */
static void add_never_used(struct markup *m, const cJSON *rows)
{
    static const char *const keys[] = { "never_used_a", "never_used_b" };
    const char *before = "<p class=\"note experts\">Never used: ";
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
        for (size_t side = 0; side < 2; side++) {
            const cJSON *list = json_get_value(row, keys[side]);
            if (!cJSON_GetArraySize(list))
                continue;
            markup_printf(m, "%slayer ", before);
            add_number(m, row, "layer", NUMBER_WHOLE);
            markup_printf(m, " of %c: ", "AB"[side]);
            add_numbers(m, list);
            before = "; ";
        }
    markup_raw(m, *before == ';' ? ".</p>\n" : "");
}

static void add_experts(struct markup *m, const cJSON *rows)
{
    static const struct column columns[] = {
        { "layer", "layer", COLUMN_COUNT },
        { "unused_a", "never used, A", COLUMN_COUNT },
        { "unused_b", "never used, B", COLUMN_COUNT },
        { "least_a", "least tokens, A", COLUMN_COUNT },
        { "least_b", "least tokens, B", COLUMN_COUNT },
        { "most_a", "most tokens, A", COLUMN_COUNT },
        { "most_b", "most tokens, B", COLUMN_COUNT },
    };
    markup_raw(m, "<section>\n<h2>Use of the experts</h2>\n"
               "<p class=\"note\">Tokens of the least and of the most used expert of each layer, "
               "and the number of experts that the text never reached: nothing is known about "
               "those.</p>\n");
    html_table(m, rows, columns, sizeof columns / sizeof *columns, "Use of the experts by layer");
    add_never_used(m, rows);
    markup_raw(m, "</section>\n");
}

void html_examples(struct markup *m, const cJSON *document)
{
    const cJSON *tokens = json_get_value(document, "worst_tokens");
    const cJSON *windows = json_get_value(document, "worst_windows");
    const cJSON *experts = json_get_value(json_get(document, "experts"), "layers");
    if (cJSON_GetArraySize(tokens))
        add_tokens(m, tokens);
    if (cJSON_GetArraySize(windows))
        add_windows(m, windows);
    if (cJSON_GetArraySize(experts))
        add_experts(m, experts);
}
