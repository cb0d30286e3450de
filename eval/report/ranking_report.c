#include "eval/report/ranking_report.h"

#include <string.h>

#include "eval/report/figure.h"
#include "eval/report/markdown.h"
#include "eval/report/markup.h"
#include "eval/report/ranking_table.h"

static const char *string(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(json_get(object, key));
    return text ? text : "";
}

/* ---- text --------------------------------------------------------------------------- */

/* As a terminal may show it. */
static const char *printable_cell(struct error *safe, enum ranking_column column,
                                  const cJSON *candidate, struct buffer *cell, bool *failed,
                                  struct error *err)
{
    cell->size = 0;
    *failed = *failed || !ranking_table_cell(cell, column, candidate, err);
    return *failed ? "" : error_clean(safe, cell->data);
}

/* Characters, not bytes. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static void add_padded(struct markup *m, const char *text, size_t width, bool left, bool last)
{
    size_t own = width_of(text), pad = width > own ? width - own : 0;
    markup_printf(m, "%*s", left ? 0 : (int)pad, "");
    markup_raw(m, text);
    if (!last)
        markup_printf(m, "%*s", (left ? (int)pad : 0) + 2, "");
}

static void add_table(struct markup *m, const cJSON *candidates)
{
    size_t widths[RANKING_COLUMNS];
    struct buffer cell = { 0 };
    struct error safe = { 0 };
    const cJSON *candidate;
    for (enum ranking_column c = 0; c < RANKING_COLUMNS; c++) {
        widths[c] = width_of(ranking_table_headings[c]);
        cJSON_ArrayForEach(candidate, candidates)
            widths[c] = size_max(widths[c], width_of(printable_cell(&safe, c, candidate, &cell,
                                                                    &m->failed, m->err)));
    }
    for (enum ranking_column c = 0; c < RANKING_COLUMNS; c++)
        add_padded(m, ranking_table_headings[c], widths[c], c == RANKING_NAME,
                   c + 1 == RANKING_COLUMNS);
    markup_raw(m, "\n");
    cJSON_ArrayForEach(candidate, candidates) {
        for (enum ranking_column c = 0; c < RANKING_COLUMNS; c++)
            add_padded(m, printable_cell(&safe, c, candidate, &cell, &m->failed, m->err), widths[c],
                       c == RANKING_NAME, c + 1 == RANKING_COLUMNS);
        markup_raw(m, "\n");
    }
    buffer_free(&cell);
}

static void add_setting(struct markup *m, const char *label, const cJSON *original,
                        const char *path, enum number_kind kind, const char *unit)
{
    const struct setting s = { label, path, kind };
    struct error safe = { 0 };
    char number[DESCRIBE_BYTES];
    markup_printf(m, "%-16s %s%s\n", label,
                  error_clean(&safe, describe_setting(number, &s, original)), unit);
}

static void add_ranking(struct markup *m, const cJSON *ranking)
{
    const cJSON *original = json_get(ranking, "original"), *item;
    struct error name = { 0 }, safe = { 0 };
    if (*string(ranking, "plan"))
        markup_printf(m, "%-16s %s\n", "plan", error_clean(&safe, string(ranking, "plan")));
    add_setting(m, "original", original, "checkpoint.path", NUMBER_WORD, "");
    add_setting(m, "its size", original, "checkpoint.bytes", NUMBER_GIGABYTES, " GB");
    add_setting(m, "text", original, "text.path", NUMBER_WORD, "");
    add_setting(m, "scored tokens", original, "scored", NUMBER_COUNT, "");
    markup_raw(m, "\n");
    add_table(m, json_get(ranking, "candidates"));
    struct buffer note = { 0 };
    m->failed = m->failed || !ranking_table_note(&note, ranking, "\n", m->err);
    markup_printf(m, "\n%s\n", m->failed ? "" : note.data);
    buffer_free(&note);
    cJSON_ArrayForEach(item, json_get(ranking, "not_comparable"))
        markup_printf(m, "\nnot comparable: %s: %s\n",
                      error_clean(&name, string(item, "candidate")),
                      error_clean(&safe, string(item, "reason")));
}

bool ranking_report_text(struct buffer *out, const cJSON *document, struct error *err)
{
    struct markup m = { .err = err };
    const cJSON *ranking;
    cJSON_ArrayForEach(ranking, json_get(document, "rankings")) {
        markup_raw(&m, m.out.size ? "\n" : "");
        add_ranking(&m, ranking);
    }
    bool ok = !m.failed && buffer_append(out, m.out.data, m.out.size, err);
    markup_free(&m);
    return ok;
}

/* ---- CSV ---------------------------------------------------------------------------- */

static const struct {
    const char *heading, *path;         /* of a candidate; "": the plan; a reason's member too */
} fields[] = {
    { "plan", "" }, { "number", "number" }, { "candidate", "candidate" },
    { "checkpoint", "checkpoint" }, { "bytes", "bytes" }, { "quantized_bytes", "quantized_bytes" },
    { "parameters", "parameters" }, { "bits_per_weight", "bits_per_weight" },
    { "perplexity", "perplexity" }, { "units", "units" }, { "scored", "scored" },
    { "left_out", "left_out" }, { "mean_kld", "mean_kld" }, { "kld_stderr", "kld_stderr" },
    { "kld_median", "kld.median" }, { "kld_p99", "kld.p99" }, { "kld_p999", "kld.p999" },
    { "same_top1", "same_top1" }, { "delta_nll", "delta_nll" },
    { "delta_nll_stderr", "delta_nll_stderr" }, { "delta_nll_low", "delta_nll_ci95.0" },
    { "delta_nll_high", "delta_nll_ci95.1" }, { "p_value", "p_value" }, { "p_holm", "p_holm" },
    { "on_front", "on_front" }, { "dominated_by", "dominated_by" },
    { "front_bytes", "front_bytes" }, { "bytes_over_front", "bytes_over_front" },
    { "tied_with", "tied_with" }, { "not_comparable", "reason" },
};

static void add_quoted(struct markup *m, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        markup_raw(m, text);
        return;
    }
    markup_raw(m, "\"");
    for (const char *s = text; *s; s++)
        markup_printf(m, *s == '"' ? "\"%c" : "%c", *s);
    markup_raw(m, "\"");
}

static void add_value(struct markup *m, const cJSON *item)
{
    const cJSON *element;
    if (cJSON_IsString(item))
        add_quoted(m, item->valuestring);
    else if (cJSON_IsNumber(item))
        markup_printf(m, "%.17g", item->valuedouble);
    else if (cJSON_IsBool(item))
        markup_raw(m, cJSON_IsTrue(item) ? "true" : "false");
    else
        cJSON_ArrayForEach(element, item)
            markup_printf(m, "%s%.0f", element == item->child ? "" : " ",
                          cJSON_GetNumberValue(element));
}

static void add_rows(struct markup *m, const cJSON *ranking, const cJSON *rows)
{
    const cJSON *row;
    cJSON_ArrayForEach(row, rows)
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            const char *path = fields[i].path;
            markup_raw(m, i ? "," : "");
            add_value(m, *path ? figure_find(row, path, strlen(path)) : json_get(ranking, "plan"));
            markup_raw(m, i + 1 == sizeof fields / sizeof *fields ? "\n" : "");
        }
}

bool ranking_report_csv(const cJSON *document, const char *path, struct error *err)
{
    struct markup m = { .err = err };
    const cJSON *ranking;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        markup_printf(&m, "%s%s", i ? "," : "", fields[i].heading);
    markup_raw(&m, "\n");
    cJSON_ArrayForEach(ranking, json_get(document, "rankings")) {
        add_rows(&m, ranking, json_get(ranking, "candidates"));
        add_rows(&m, ranking, json_get(ranking, "not_comparable"));
    }
    return markup_save(&m, path);
}

/* ---- Markdown ----------------------------------------------------------------------- */

static void add_markdown_table(struct markup *m, const cJSON *candidates)
{
    struct buffer cell = { 0 };
    const cJSON *candidate;
    for (enum ranking_column c = 0; c < RANKING_COLUMNS; c++)
        markup_printf(m, "| %s ", ranking_table_headings[c]);
    markup_raw(m, "|\n");
    for (enum ranking_column c = 0; c < RANKING_COLUMNS; c++)
        markup_raw(m, c == RANKING_NAME ? "|---" : "|---:");
    markup_raw(m, "|\n");
    cJSON_ArrayForEach(candidate, candidates) {
        for (enum ranking_column c = 0; c < RANKING_COLUMNS; c++) {
            cell.size = 0;
            markup_raw(m, "| ");
            m->failed = m->failed || !ranking_table_cell(&cell, c, candidate, m->err);
            if (!m->failed)
                markdown_text(m, cell.data);
            markup_raw(m, " ");
        }
        markup_raw(m, "|\n");
    }
    buffer_free(&cell);
}

static void add_markdown_ranking(struct markup *m, const cJSON *ranking)
{
    const cJSON *item, *original = json_get(json_get(ranking, "original"), "checkpoint");
    struct buffer note = { 0 };
    if (*string(ranking, "plan")) {
        markup_raw(m, "### ");
        markdown_text(m, string(ranking, "plan"));
        markup_raw(m, "\n\n");
    }
    markup_raw(m, "Original: ");
    markdown_text(m, string(original, "path"));
    markup_raw(m, "\n\n");
    add_markdown_table(m, json_get(ranking, "candidates"));
    m->failed = m->failed || !ranking_table_note(&note, ranking, " ", m->err);
    markup_printf(m, "\n%s\n\n", m->failed ? "" : note.data);
    buffer_free(&note);
    cJSON_ArrayForEach(item, json_get(ranking, "not_comparable")) {
        markup_raw(m, "- not comparable: ");
        markdown_text(m, string(item, "candidate"));
        markup_raw(m, ": ");
        markdown_text(m, string(item, "reason"));
        markup_raw(m, item->next ? "\n" : "\n\n");
    }
}

static void add_markdown_gates(struct markup *m, const struct report *reports, size_t n)
{
    if (!n || !reports->n_gates)
        return;
    markup_raw(m, "| Gate | candidate | | |\n|---|---|---|---|\n");
    for (size_t i = 0; i < n; i++)
        for (const struct gate_result *g = reports[i].gates;
             g < reports[i].gates + reports[i].n_gates; g++) {
            markup_raw(m, "| ");
            markdown_text(m, g->gate.text);
            markup_raw(m, " | ");
            markdown_text(m, string(reports[i].document, "candidate"));
            markup_raw(m, g->met ? " | met | " : " | **failed** | ");
            markdown_text(m, g->found.message);
            markup_raw(m, " |\n");
        }
    markup_raw(m, "\n");
}

bool ranking_report_markdown(const cJSON *document, const struct report *reports, size_t n,
                             const char *path, struct error *err)
{
    struct markup m = { .err = err };
    const cJSON *rankings = json_get(document, "rankings"), *ranking;
    const char *command = string(json_get(cJSON_GetArrayItem(rankings, 0), "repeat"), "command");
    markup_raw(&m, "## Ranking\n\n");
    cJSON_ArrayForEach(ranking, rankings)
        add_markdown_ranking(&m, ranking);
    add_markdown_gates(&m, reports, n);
    if (*command) {
        markup_raw(&m, "### Repeat it\n\n");
        markdown_code(&m, command);
    }
    return markup_save(&m, path);
}
