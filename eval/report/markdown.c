#include "eval/report/markdown.h"

#include <string.h>

#include "base/utf8.h"
#include "eval/report/describe.h"
#include "eval/report/figure.h"
#include "eval/report/markup.h"

void markdown_text(struct markup *m, const char *text)
{
    for (const char *s = text ? text : ""; *s; s++) {
        if (utf8_is_control(s)) {
            markup_raw(m, " ");
            s += (unsigned char)*s >= 0x80;     /* of two bytes */
        } else if (*s == '<' || *s == '&')
            markup_raw(m, *s == '<' ? "&lt;" : "&amp;");
        else
            markup_printf(m, strchr("\\`*_{}[]#|~!>", *s) ? "\\%c" : "%c", *s);
    }
}

void markdown_code(struct markup *m, const char *text)
{
    size_t longest = 2, run = 0;
    for (const char *s = text; *s; s++) {
        run = *s == '`' ? run + 1 : 0;
        longest = size_max(longest, run);
    }
    struct markup fence = { .err = m->err };
    for (size_t i = 0; i <= longest; i++)
        markup_raw(&fence, "`");
    m->failed |= fence.failed;
    if (!m->failed)
        markup_printf(m, "%s\n", fence.out.data);
    for (const char *s = text; *s; s++) {
        bool control = *s != '\n' && utf8_is_control(s);
        markup_printf(m, "%c", control ? '?' : *s);
        s += control && (unsigned char)*s >= 0x80;      /* of two bytes */
    }
    if (!m->failed)
        markup_printf(m, "\n%s\n", fence.out.data);
    markup_free(&fence);
}

/* "| label (unit) |" */
static void add_label(struct markup *m, const struct key_figure *f)
{
    markup_printf(m, "| %s%s%s%s |", f->label, *f->unit ? " (" : "", f->unit, *f->unit ? ")" : "");
}

static void add_runs(struct markup *m, const struct report *r)
{
    const char bytes[] = "b.checkpoint.quantized_bytes";
    bool quantized = figure_value(r->document, bytes, strlen(bytes)) > 0;
    markup_printf(m, "| | Original (A) | %s (B) |\n|---|---:|---:|\n| Checkpoint | ",
                  quantized ? "Quantized" : "Compared");
    char name[DESCRIBE_NAME_BYTES];
    describe_name(name, r->document, "a");
    markdown_text(m, name);
    markup_raw(m, " | ");
    describe_name(name, r->document, "b");
    markdown_text(m, name);
    markup_raw(m, " |\n");
    for (size_t i = 0; i < describe_n_run_figures; i++) {
        const struct key_figure *f = &describe_run_figures[i];
        char a[DESCRIBE_BYTES], b[DESCRIBE_BYTES];
        describe_figure(a, f, json_get(r->document, "a"), true);
        describe_figure(b, f, json_get(r->document, "b"), true);
        add_label(m, f);
        markup_printf(m, " %s | %s |\n", a, b);
    }
    markup_raw(m, "\n");
}

/* The key figures that there are, with the noise floor's beside them when it was measured. */
static void add_difference(struct markup *m, const struct report *r)
{
    const cJSON *floor = json_get_value(r->document, "floor");
    markup_raw(m, floor ? "| B against A | value | noise floor |\n|---|---:|---:|\n"
                        : "| B against A | value |\n|---|---:|\n");
    for (size_t i = 0; i < describe_n_key_figures; i++) {
        const struct key_figure *f = &describe_key_figures[i];
        char value[DESCRIBE_BYTES], noise[DESCRIBE_BYTES];
        if (!describe_figure(value, f, r->document, true))
            continue;
        describe_figure(noise, f, floor, true);
        add_label(m, f);
        markup_printf(m, " %s |", value);
        markup_printf(m, floor ? " %s |\n" : "\n", noise);
    }
    markup_raw(m, "\n± is one standard error, with the ");
    markdown_text(m, cJSON_GetStringValue(json_get(r->document, "unit")));
    markup_raw(m, " as the independent unit.");
    if (floor) {
        markup_raw(m, " Noise floor: ");
        markdown_text(m, cJSON_GetStringValue(json_get(floor, "label")));
        markup_raw(m, ".");
    }
    markup_raw(m, "\n\n");
}

static void add_warnings(struct markup *m, const struct report *r)
{
    struct describe_warning w = { 0 };
    bool headed = false;
    for (; describe_warning_next(&w, r->document); headed = true) {
        markup_raw(m, headed ? "" : "### Warnings\n\n");
        markup_printf(m, "- %s%s", w.of, *w.of ? ": " : "");
        markdown_text(m, w.line);
        markup_raw(m, "\n");
    }
    markup_raw(m, headed ? "\n" : "");
}

static void add_protocol(struct markup *m, const struct report *r)
{
    const cJSON *a = json_get(r->document, "a"), *b = json_get(r->document, "b");
    markup_raw(m, "### Protocol\n\n| | A | B |\n|---|---|---|\n");
    for (size_t i = 0; i < describe_n_settings; i++) {
        char number_a[DESCRIBE_BYTES], number_b[DESCRIBE_BYTES];
        const char *of_a = describe_setting(number_a, &describe_settings[i], a);
        const char *of_b = describe_setting(number_b, &describe_settings[i], b);
        if (strcmp(of_a, DESCRIBE_NONE) == 0 && strcmp(of_b, DESCRIBE_NONE) == 0)
            continue;
        markup_printf(m, "| %s | ", describe_settings[i].label);
        markdown_text(m, of_a);
        markup_raw(m, " | ");
        markdown_text(m, of_b);
        markup_raw(m, " |\n");
    }
    markup_raw(m, "\n");
}

static void add_gates(struct markup *m, const struct report *r)
{
    if (!r->n_gates)
        return;
    markup_raw(m, "| Gate | | |\n|---|---|---|\n");
    for (size_t i = 0; i < r->n_gates; i++) {
        markup_raw(m, "| ");
        markdown_text(m, r->gates[i].gate.text);
        markup_raw(m, r->gates[i].met ? " | met | " : " | **failed** | ");
        markdown_text(m, r->gates[i].found.message);
        markup_raw(m, " |\n");
    }
    markup_raw(m, "\n");
}

bool markdown_write(const struct report *r, const char *path, struct error *err)
{
    struct markup m = { .err = err };
    markup_raw(&m, "## Quality\n\n");
    markdown_text(&m, cJSON_GetStringValue(json_get(r->document, "verdict")));
    markup_raw(&m, "\n\n");
    add_runs(&m, r);
    add_difference(&m, r);
    add_gates(&m, r);
    add_warnings(&m, r);
    add_protocol(&m, r);
    if (r->command) {
        markup_raw(&m, "### Repeat it\n\n");
        markdown_code(&m, r->command);
    }
    return markup_save(&m, path);
}
