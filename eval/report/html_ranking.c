#include "eval/report/html_ranking.h"

#include <stdio.h>

#include "eval/report/html.h"
#include "eval/report/html_figures.h"
#include "eval/report/html_table.h"
#include "eval/report/ranking_table.h"

#define SCOPE_BYTES 32                  /* "plan_12_" */
#define PAIR_BYTES 64                   /* "plan_12_pair_3_" */

static const char more_style[] =
    ".pair { margin-top: 1rem; padding-top: 0.6rem; border-top: 1px solid var(--rule); "
    "font-size: 1rem; }\n"
    ".pair > summary { font-weight: 600; }\n"
    "a { color: var(--first); }\n"
    ".ranking th { padding-left: 0.9rem; white-space: normal; }\n"
    ".ranking td { padding-left: 0.9rem; }\n"
    ".ranking .name { min-width: 8rem; white-space: normal; overflow-wrap: anywhere; }\n"
    ".ranking .front td { font-weight: 650; }\n";

static const char *string(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(json_get(object, key));
}

static void add_title(struct markup *m, const cJSON *rankings)
{
    char name[DESCRIBE_NAME_BYTES];
    const cJSON *first = cJSON_GetArrayItem(rankings, 0);
    describe_name(name, first, "original");
    markup_printf(m, "%d candidates against ",
                  cJSON_GetArraySize(json_get(first, "candidates"))
                      + cJSON_GetArraySize(json_get(first, "not_comparable")));
    markup_text(m, name);
}

/* Those that are met are listed with their pairs. */
static void add_failed_gates(struct markup *m, const struct report *reports, size_t n)
{
    size_t met = 0, all = n ? n * reports->n_gates : 0;
    markup_raw(m, all ? "<h2 class=\"unseen\">Gates</h2>\n<ul class=\"gates\">\n" : "");
    for (size_t i = 0; all && i < n; i++)
        for (const struct gate_result *g = reports[i].gates;
             g < reports[i].gates + reports[i].n_gates; g++) {
            met += g->met;
            if (g->met)
                continue;
            markup_raw(m, "<li class=\"failed\"><b>failed</b> <code>");
            markup_text(m, g->gate.text);
            markup_raw(m, "</code> <span>");
            markup_text(m, string(reports[i].document, "candidate"));
            markup_raw(m, ": ");
            markup_text(m, g->found.message);
            markup_raw(m, "</span></li>\n");
        }
    if (all)
        markup_printf(m, "<li class=\"met\"><b>%zu</b> of %zu gates met</li>\n</ul>\n", met, all);
}

/* ---- a ranking ---------------------------------------------------------------------- */

static void add_cell(struct markup *m, enum ranking_column column, const cJSON *candidate,
                     const char *scope, struct buffer *cell)
{
    cell->size = 0;
    m->failed = m->failed || !ranking_table_cell(cell, column, candidate, m->err);
    if (m->failed)
        return;
    if (column == RANKING_NAME) {
        markup_printf(m, "<td class=\"text name\"><a href=\"#%spair_%.0f\"><bdi>", scope,
                      cJSON_GetNumberValue(json_get(candidate, "number")));
        markup_text(m, cell->data);
        markup_raw(m, "</bdi></a></td>");
        return;
    }
    markup_raw(m, "<td>");
    html_table_number(m, cell->data);
    markup_raw(m, "</td>");
}

static void add_table(struct markup *m, const cJSON *candidates, const char *scope)
{
    struct buffer cell = { 0 };
    const cJSON *candidate;
    markup_raw(m, "<div class=\"scroll whole\" tabindex=\"0\" role=\"region\" "
               "aria-label=\"Candidates\">\n<table class=\"ranking\"><thead><tr>");
    for (enum ranking_column c = 0; c < RANKING_COLUMNS; c++)
        markup_printf(m, "<th scope=\"col\"%s>%s</th>", c == RANKING_NAME ? " class=\"text\"" : "",
                      ranking_table_headings[c]);
    markup_raw(m, "</tr></thead>\n<tbody>\n");
    cJSON_ArrayForEach(candidate, candidates) {
        markup_raw(m, cJSON_IsTrue(json_get(candidate, "on_front")) ? "<tr class=\"front\">"
                                                                    : "<tr>");
        for (enum ranking_column c = 0; c < RANKING_COLUMNS; c++)
            add_cell(m, c, candidate, scope, &cell);
        markup_raw(m, "</tr>\n");
    }
    markup_raw(m, "</tbody></table></div>\n");
    buffer_free(&cell);
}

static void add_not_comparable(struct markup *m, const cJSON *list)
{
    const cJSON *item;
    markup_raw(m, list && list->child ? "<h3>Not comparable</h3>\n<ul class=\"gates\">\n" : "");
    cJSON_ArrayForEach(item, list) {
        markup_raw(m, "<li class=\"failed\"><b>");
        markup_text(m, string(item, "candidate"));
        markup_raw(m, "</b> <span>");
        markup_text(m, string(item, "reason"));
        markup_raw(m, "</span></li>\n");
    }
    markup_raw(m, list && list->child ? "</ul>\n" : "");
}

static void add_ranking(struct markup *m, const cJSON *ranking, const char *scope,
                        struct error *missing)
{
    struct buffer note = { 0 };
    markup_raw(m, "<section>\n<h2>Ranking");
    if (string(ranking, "plan")) {
        markup_raw(m, ": ");
        markup_text(m, string(ranking, "plan"));
    }
    markup_raw(m, "</h2>\n<div class=\"figures\">\n");
    html_figures(m, ranking, scope, missing);
    markup_raw(m, "</div>\n");
    add_table(m, json_get(ranking, "candidates"), scope);
    m->failed = m->failed || !ranking_table_note(&note, ranking, " ", m->err);
    markup_raw(m, "<p class=\"note\">");
    markup_text(m, note.data);
    markup_raw(m, "</p>\n");
    buffer_free(&note);
    add_not_comparable(m, json_get(ranking, "not_comparable"));
    markup_raw(m, "</section>\n");
}

/* ---- the pairs ---------------------------------------------------------------------- */

static void add_pair(struct markup *m, const struct report *r, const char scope[SCOPE_BYTES],
                     unsigned number, struct error *missing)
{
    char inner[PAIR_BYTES];
    snprintf(inner, sizeof inner, "%spair_%u", scope, number);
    markup_printf(m, "<details class=\"pair\"><summary>%u: <bdi>", number);
    markup_text(m, string(r->document, "candidate"));
    /* A link to what is inside opens it. */
    markup_printf(m, "</bdi> against the original</summary>\n<p class=\"verdict\" id=\"%s\">",
                  inner);
    markup_text(m, string(r->document, "verdict"));
    markup_raw(m, "</p>\n");
    html_summary(m, r);
    snprintf(inner, sizeof inner, "%spair_%u_", scope, number);
    html_sections(m, r, inner, missing);
    markup_raw(m, "</details>\n");
}

static void scope_of(char scope[SCOPE_BYTES], unsigned ranking)
{
    snprintf(scope, SCOPE_BYTES, "plan_%u_", ranking + 1);
}

bool html_ranking_write(const cJSON *document, const struct report *reports, size_t n,
                        const char *path, struct error *missing, struct error *err)
{
    struct markup m = { .err = err };
    const cJSON *rankings = json_get(document, "rankings"), *ranking, *pair;
    char scope[SCOPE_BYTES];
    unsigned i = 0;
    size_t at = 0;
    missing->message[0] = '\0';
    html_begin(&m);
    add_title(&m, rankings);
    html_begin_body(&m, more_style);
    markup_raw(&m, "<p class=\"eyebrow\">surprisal compare</p>\n<h1>");
    add_title(&m, rankings);
    markup_raw(&m, "</h1>\n");
    add_failed_gates(&m, reports, n);
    markup_raw(&m, "</header>\n<main>\n");
    cJSON_ArrayForEach(ranking, rankings) {
        scope_of(scope, i++);
        add_ranking(&m, ranking, scope, missing);
    }
    i = 0;
    markup_raw(&m, "<section>\n<h2>Each against the original</h2>\n");
    cJSON_ArrayForEach(ranking, rankings) {
        unsigned number = 1;
        scope_of(scope, i++);
        cJSON_ArrayForEach(pair, json_get(ranking, "comparisons"))
            add_pair(&m, &reports[at++], scope, number++, missing);
        at += (size_t)cJSON_GetArraySize(json_get(ranking, "not_comparable"));
    }
    markup_raw(&m, "</section>\n");
    html_end(&m, cJSON_GetArrayItem(rankings, 0));
    return markup_save(&m, path);
}
