#include "eval/report/html.h"

#include <string.h>

#include "eval/report/describe.h"
#include "eval/report/html_examples.h"
#include "eval/report/html_figures.h"
#include "eval/report/html_table.h"

static const char style[] =
#include "eval/report/html.css.h"
;

/* ---- head ------------------------------------------------------------------------- */

static void add_name(struct markup *m, const cJSON *document, const char *run)
{
    char name[DESCRIBE_NAME_BYTES];
    describe_name(name, document, run);
    markup_raw(m, "<bdi>");
    markup_text(m, name);
    markup_raw(m, "</bdi>");
}

void html_begin(struct markup *m)
{
    markup_raw(m, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
               "<meta http-equiv=\"Content-Security-Policy\" "
               "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
               "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
}

void html_begin_body(struct markup *m, const char *more_style)
{
    markup_raw(m, "</title>\n<style>\n");
    markup_raw(m, style);
    markup_raw(m, more_style);
    markup_raw(m, "</style>\n</head>\n<body>\n<header>\n");
}

static void add_head(struct markup *m, const cJSON *document)
{
    html_begin(m);
    char name[DESCRIBE_NAME_BYTES];
    describe_name(name, document, "b");
    markup_text(m, name);
    describe_name(name, document, "a");
    markup_raw(m, " against ");
    markup_text(m, name);
    html_begin_body(m, "");
    markup_raw(m, "<p class=\"eyebrow\">surprisal compare</p>\n<h1>");
    add_name(m, document, "b");
    markup_raw(m, " <small>against</small> ");
    add_name(m, document, "a");
    markup_raw(m, "</h1>\n<p class=\"verdict\">");
    markup_text(m, cJSON_GetStringValue(json_get(document, "verdict")));
    markup_raw(m, "</p>\n");
}

/* ---- the figures that a reader looks for first -------------------------------------- */

struct tile {
    const char *label;
    struct key_figure figure, note;
    const char *note_label;
};

static const struct tile tiles[] = {
    { "Perplexity, B less A",
      { .path = "perplexity_difference", .error = "perplexity_difference_stderr",
        .kind = NUMBER_DIFFERENCE },
      { .path = "perplexity_ratio", .kind = NUMBER_PLAIN }, "ratio" },
    { "Mean NLL, B less A (nats/token)",
      { .path = "delta_nll", .error = "delta_nll_stderr", .kind = NUMBER_DIFFERENCE },
      { .path = "p_value", .kind = NUMBER_PLAIN }, "paired p-value" },
    { "KL divergence of B from A (nats/token)",
      { .path = "mean_kld", .error = "kld_stderr", .kind = NUMBER_PLAIN },
      { .path = "floor.mean_kld", .kind = NUMBER_PLAIN }, "noise floor" },
    { "Same most probable token",
      { .path = "same_top1", .kind = NUMBER_SHARE },
      { .path = "floor.same_top1", .kind = NUMBER_SHARE }, "noise floor" },
};

static void add_tiles(struct markup *m, const cJSON *document)
{
    markup_raw(m, "<dl class=\"tiles\">\n");
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles; i++) {
        const struct tile *t = &tiles[i];
        char text[DESCRIBE_BYTES];
        if (!describe_figure(text, &t->figure, document, true))
            continue;
        markup_printf(m, "<div><dt>%s</dt><dd>", t->label);
        size_t value = strcspn(text, " ");
        char error[DESCRIBE_BYTES];
        strcpy(error, text + value);
        text[value] = '\0';
        html_table_number(m, text);
        markup_raw(m, "<small>");
        html_table_number(m, error);
        markup_raw(m, "</small></dd>");
        if (describe_figure(text, &t->note, document, false)) {
            markup_printf(m, "<dd class=\"note\">%s ", t->note_label);
            html_table_number(m, text);
            markup_raw(m, "</dd>");
        }
        markup_raw(m, "</div>\n");
    }
    markup_raw(m, "</dl>\n");
}

static void add_gates(struct markup *m, const struct report *r)
{
    if (!r->n_gates)
        return;
    markup_raw(m, "<h2 class=\"unseen\">Gates</h2>\n<ul class=\"gates\">\n");
    for (size_t i = 0; i < r->n_gates; i++) {
        const struct gate_result *g = &r->gates[i];
        markup_printf(m, "<li class=\"%s\"><b>%s</b> <code>", g->met ? "met" : "failed",
                      g->met ? "met" : "failed");
        markup_text(m, g->gate.text);
        markup_raw(m, "</code> <span>");
        markup_text(m, g->found.message);
        markup_raw(m, "</span></li>\n");
    }
    markup_raw(m, "</ul>\n");
}

static void add_warnings(struct markup *m, const cJSON *document)
{
    struct describe_warning w = { 0 };
    bool headed = false;
    for (; describe_warning_next(&w, document); headed = true) {
        if (!headed)
            markup_raw(m, "<h2 class=\"unseen\">Warnings</h2>\n<ul class=\"gates\">\n");
        markup_printf(m, "<li class=\"warning\"><b>warning</b> %s%s<span>", w.of,
                      *w.of ? ": " : "");
        markup_text(m, w.line);
        markup_raw(m, "</span></li>\n");
    }
    markup_raw(m, headed ? "</ul>\n" : "");
}

/* ---- tables -------------------------------------------------------------------------- */

static void add_row_heading(struct markup *m, const struct key_figure *f)
{
    markup_printf(m, "<tr><th scope=\"row\">%s <small>%s</small></th>", f->label, f->unit);
}

static void add_key_cell(struct markup *m, const struct key_figure *f, const cJSON *document)
{
    char text[DESCRIBE_BYTES];
    markup_raw(m, "<td>");
    html_table_number(m, describe_figure(text, f, document, true) ? text : "\u2013");
    markup_raw(m, "</td>");
}

static void add_runs(struct markup *m, const cJSON *document)
{
    markup_raw(m, "<section>\n<h2>The two checkpoints</h2>\n"
               "<div class=\"scroll whole\" tabindex=\"0\">\n"
               "<table class=\"key\"><thead><tr><th scope=\"col\">"
               "<span class=\"unseen\">figure</span></th><th scope=\"col\">A: ");
    add_name(m, document, "a");
    markup_raw(m, "</th><th scope=\"col\">B: ");
    add_name(m, document, "b");
    markup_raw(m, "</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < describe_n_run_figures; i++) {
        const struct key_figure *f = &describe_run_figures[i];
        add_row_heading(m, f);
        add_key_cell(m, f, json_get(document, "a"));
        add_key_cell(m, f, json_get(document, "b"));
        markup_raw(m, "</tr>\n");
    }
    markup_raw(m, "</tbody></table></div>\n</section>\n");
}

static void add_key_row(struct markup *m, const struct report *r, const struct key_figure *f,
                        const cJSON *floor)
{
    add_row_heading(m, f);
    add_key_cell(m, f, r->document);
    if (floor)
        add_key_cell(m, f, floor);
    if (r->baseline) {
        char change[DESCRIBE_BYTES];
        add_key_cell(m, f, r->baseline);
        markup_raw(m, "<td>");
        html_table_number(m,
                          describe_change(change, f, r->document, r->baseline) ? change : "\u2013");
        markup_raw(m, "</td>");
    }
    markup_raw(m, "</tr>\n");
}

static void add_key_figures(struct markup *m, const struct report *r)
{
    const cJSON *floor = json_get_value(r->document, "floor");
    markup_printf(m, "<section>\n<h2>The difference</h2>\n"
                  "<div class=\"scroll whole\" tabindex=\"0\">\n"
                  "<table class=\"key\"><thead><tr><th scope=\"col\">"
                  "<span class=\"unseen\">figure</span></th><th scope=\"col\">B against A</th>%s%s"
                  "</tr></thead>\n", floor ? "<th scope=\"col\">noise floor</th>" : "",
                  r->baseline ? "<th scope=\"col\">baseline</th><th scope=\"col\">change</th>"
                              : "");
    const char *group = NULL;
    markup_raw(m, "<tbody>\n");
    for (size_t i = 0; i < describe_n_key_figures; i++) {
        const struct key_figure *f = &describe_key_figures[i];
        char text[DESCRIBE_BYTES];
        group = f->group ? f->group : group;
        if (!describe_figure(text, f, r->document, false))
            continue;
        if (group)
            markup_printf(m, "<tr class=\"group\"><th scope=\"rowgroup\" colspan=\"%d\">%s</th>"
                          "</tr>\n", 2 + (floor != NULL) + 2 * (r->baseline != NULL), group);
        group = NULL;
        add_key_row(m, r, f, floor);
    }
    markup_raw(m, "</tbody></table></div>\n"
               "<p class=\"note\">\u00b1 is one standard error, with the ");
    markup_text(m, cJSON_GetStringValue(json_get(r->document, "unit")));
    markup_raw(m, " as the independent unit.");
    if (floor) {
        markup_raw(m, " Noise floor (figures without a real difference): ");
        markup_text(m, cJSON_GetStringValue(json_get(floor, "label")));
        markup_raw(m, ".");
    }
    markup_raw(m, "</p>\n</section>\n");
}

/* ---- where they differ, and how to repeat it -------------------------------------------- */

static void add_setting(struct markup *m, const struct setting *s, const cJSON *document)
{
    char numbers[2][DESCRIBE_BYTES];
    const char *a = describe_setting(numbers[0], s, json_get(document, "a"));
    const char *b = describe_setting(numbers[1], s, json_get(document, "b"));
    if (strcmp(a, DESCRIBE_NONE) == 0 && strcmp(b, DESCRIBE_NONE) == 0)
        return;
    bool same = strcmp(a, b) == 0;
    markup_printf(m, "<tr><th scope=\"row\">%s</th><td%s>", s->label, same ? " colspan=\"2\"" : "");
    markup_text(m, a);
    if (!same) {
        markup_raw(m, "</td><td>");
        markup_text(m, b);
    }
    markup_raw(m, "</td></tr>\n");
}

/* The figures by layer may be of a part of the text. */
static void add_layers_note(struct markup *m, const cJSON *document)
{
    const cJSON *cost = json_get_value(document, "layers_cost");
    if (!cost)
        return;
    char windows[DESCRIBE_BYTES], tokens[DESCRIBE_BYTES];
    describe_number(windows, NUMBER_COUNT, cJSON_GetNumberValue(json_get(cost, "windows")));
    describe_number(tokens, NUMBER_COUNT, cJSON_GetNumberValue(json_get(cost, "tokens")));
    markup_printf(m, "<p class=\"note\">Figures by layer are of %s windows, %s tokens.</p>\n",
                  windows, tokens);
}

static void add_differences(struct markup *m, const cJSON *document, const char *scope,
                            struct error *missing)
{
    markup_raw(m, "<section>\n<h2>Where they differ</h2>\n<div class=\"figures\">\n");
    html_figures(m, document, scope, missing);
    markup_raw(m, "</div>\n");
    add_layers_note(m, document);
    if (missing->message[0]) {
        markup_raw(m, "<p class=\"note\">Tables instead of plots: ");
        markup_text(m, missing->message);
        markup_raw(m, ".</p>\n");
    }
    markup_raw(m, "</section>\n");
}

static void add_repeat(struct markup *m, const struct report *r)
{
    markup_raw(m, "<section>\n<h2>Repeat it</h2>\n");
    if (r->command) {
        markup_raw(m, "<pre class=\"command\" tabindex=\"0\"><code>");
        markup_text(m, r->command);
        markup_raw(m, "</code></pre>\n");
    }
    markup_raw(m, "<div class=\"scroll whole\" tabindex=\"0\">\n"
               "<table class=\"settings\"><thead><tr><th scope=\"col\">"
               "<span class=\"unseen\">setting</span></th><th scope=\"col\">A</th>"
               "<th scope=\"col\">B</th></tr></thead>\n<tbody>\n");
    for (size_t i = 0; i < describe_n_settings; i++)
        add_setting(m, &describe_settings[i], r->document);
    const cJSON *bootstrap = json_get_value(r->document, "bootstrap");
    if (bootstrap)
        markup_printf(m, "<tr><th scope=\"row\">Bootstrap</th><td colspan=\"2\">%.0f samples, seed "
                      "%.0f</td></tr>\n", cJSON_GetNumberValue(json_get(bootstrap, "samples")),
                      cJSON_GetNumberValue(json_get(bootstrap, "seed")));
    markup_raw(m, "</tbody></table></div>\n</section>\n");
}

void html_summary(struct markup *m, const struct report *r)
{
    add_tiles(m, r->document);
    add_gates(m, r);
    add_warnings(m, r->document);
}

void html_sections(struct markup *m, const struct report *r, const char *scope,
                   struct error *missing)
{
    add_runs(m, r->document);
    add_key_figures(m, r);
    add_differences(m, r->document, scope, missing);
    html_examples(m, r->document);
    add_repeat(m, r);
}

void html_end(struct markup *m, const cJSON *document)
{
    markup_raw(m, "</main>\n<footer><p>Written by surprisal ");
    markup_text(m, cJSON_GetStringValue(json_get(document, "surprisal")));
    markup_raw(m, ". NLL and KL divergence are in nats; differences are B less A, and A is the "
               "original.</p></footer>\n</body>\n</html>\n");
}

bool html_write(const struct report *r, const char *path, struct error *missing, struct error *err)
{
    struct markup m = { .err = err };
    missing->message[0] = '\0';
    add_head(&m, r->document);
    html_summary(&m, r);
    markup_raw(&m, "</header>\n<main>\n");
    html_sections(&m, r, "", missing);
    html_end(&m, r->document);
    return markup_save(&m, path);
}
