#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "verify/verify_judge.h"
#include "verify/verify_report.h"

/* The heat of a cell: 0 at the limit of a finding, 1 at what is hardly ever reached. */
#define COLD_SQNR VERIFY_LOW_SQNR
#define WARM_SQNR 25.0

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\"><title>surprisal verify"
    "</title>\n<style>\n"
    ":root{color-scheme:light dark;--good:#bfe3c3;--bad:#f2b8a8;--line:#ccc}\n"
    "@media(prefers-color-scheme:dark){:root{--good:#1f5130;--bad:#7a2e1e;--line:#444}}\n"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem}\n"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem;display:block;overflow-x:auto}\n"
    "th,td{border:1px solid var(--line);padding:.2rem .6rem;text-align:left;vertical-align:top}\n"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}"
    "code,.names th{overflow-wrap:anywhere}\n"
    ".findings td:first-child code{white-space:nowrap}\n"
    "@media(max-width:45rem){.findings tr:first-child{display:none}" /* a finding is a card */
    ".findings tr{display:block;padding:.4rem 0;border-top:1px solid var(--line)}"
    ".findings td{display:block;border:0;padding:0;overflow-wrap:anywhere}"
    ".findings td:first-child{font-weight:600}}\n"
    "</style></head><body>\n<h1>surprisal verify</h1>\n";

/* <tag>text</tag> */
static bool put(struct buffer *out, const char *tag, const char *text, struct error *err)
{
    return buffer_printf(out, err, "<%s>", tag) && escape_text(out, text, err)
        && buffer_printf(out, err, "</%s>", tag);
}

static bool put_group(struct buffer *out, const struct verify_group *x, struct error *err)
{
    return buffer_printf(out, err, "<tr><td>")
        && put(out, "code", finding_code_name(x->first->code), err)
        && put(out, "td", x->first->file, err) && buffer_printf(out, err, "<td>")
        && put(out, "code", x->tensor, err) && buffer_printf(out, err, "<td>")
        && (x->n == 1 || buffer_printf(out, err, VERIFY_GROUP_COUNT, x->n))
        && escape_text(out, x->first->text, err) && buffer_printf(out, err, "</td>\n");
}

static bool put_findings(struct buffer *out, const struct verify_groups *g,
                         enum finding_level level, struct error *err)
{
    static const char *const titles[] = { "Findings", "Suspicions", "Notes" };
    bool ok = true, any = false;
    for (size_t i = 0; ok && i < g->n; i++) {
        if (finding_level(g->list[i].first->code) != level)
            continue;
        if (!any)
            ok = buffer_printf(out, err, "<h2>%s</h2>\n<table class=\"findings\"><tr><th>code"
                               "<th>file<th>tensor<th>what\n", titles[level]);
        any = true;
        ok = ok && put_group(out, &g->list[i], err);
    }
    return ok && (!any || buffer_printf(out, err, "</table>\n"));
}

static bool put_cell(struct buffer *out, const struct verify_cell *cell, struct error *err)
{
    char text[VERIFY_NUMBER_BYTES];
    double sqnr = tally_sqnr(&cell->sum);
    double warm = (sqnr - COLD_SQNR) / (WARM_SQNR - COLD_SQNR);
    if (!cell->tensors || isnan(sqnr))
        return put(out, "td", cell->tensors ? "-" : "", err);
    warm = warm > 1 ? 1 : warm > 0 ? warm : 0;
    return buffer_printf(out, err,
                         "<td class=\"n\" title=\"%zu tensors, relative error %.4f\" style=\""
                         "background:color-mix(in srgb,var(--good) %.0f%%,var(--bad))\">%s</td>",
                         cell->tensors, tally_relative_error(&cell->sum), 100 * warm,
                         verify_report_number(text, sqnr, 2));
}

static bool put_row(struct buffer *out, const char *label, const struct verify_cell *cells,
                    size_t n, struct error *err)
{
    bool ok = buffer_printf(out, err, "<tr>") && put(out, "th", label, err);
    for (size_t j = 0; ok && j < n; j++)
        ok = put_cell(out, &cells[j], err);
    return ok && buffer_printf(out, err, "\n");
}

static bool put_heat(struct buffer *out, const struct verify_table *t, struct error *err)
{
    bool ok = buffer_printf(out, err, "<h2>SQNR by layer and kind (dB)</h2>\n<p>10 log<sub>10</sub>"
                            "(&Sigma;w&sup2; / &Sigma;(w &minus; q)&sup2;), w from the original, q"
                            " quantized; below %.0f is a finding.</p>\n<table><tr><th>layer",
                            VERIFY_LOW_SQNR);
    for (size_t j = 0; ok && j < t->n_kinds; j++)
        ok = put(out, "th", t->kinds[j].text, err);
    ok = ok && buffer_printf(out, err, "\n");
    for (size_t i = 0; ok && i < t->n_layers; i++)
        ok = put_row(out, t->layers[i].text, verify_table_cell(t, i, 0), t->n_kinds, err);
    return ok && put_row(out, "all", t->totals, t->n_kinds, err)
        && buffer_printf(out, err, "</table>\n");
}

static bool put_worst(struct buffer *out, const struct verify_result *r, struct error *err)
{
    size_t worst[VERIFY_WORST], n = verify_report_worst(worst, r);
    bool ok = buffer_printf(out, err, "<h2>Lowest SQNR</h2>\n<table class=\"names\"><tr>"
                            "<th>tensor<th>dB\n");
    for (size_t i = 0; ok && i < n; i++) {
        const struct verify_cell one = { 1, r->tallies[worst[i]] };
        ok = put_row(out, r->weights.list[worst[i]].name, &one, 1, err);
    }
    return ok && buffer_printf(out, err, "</table>\n");
}

static bool put_top(struct buffer *out, const struct verify_result *r, size_t n_lines,
                    struct error *err)
{
    struct buffer closing = { 0 };
    bool ok = buffer_append(out, head, sizeof head - 1, err)
           && buffer_printf(out, err, "<p>") && put(out, "code", r->folder.ck.path, err);
    if (ok && r->has_original)
        ok = buffer_printf(out, err, " against ") && put(out, "code", r->original.ck.path, err);
    ok = ok && verify_report_closing(&closing, r, n_lines, err)
      && buffer_printf(out, err, "</p>\n");
    if (ok)
        closing.data[strcspn(closing.data, "\n")] = '\0';
    ok = ok && put(out, "p", closing.data, err);
    buffer_free(&closing);
    ok = ok && verify_report_download(&closing, r, err)
      && (!closing.size || put(out, "p", closing.data, err));
    buffer_free(&closing);
    return ok;
}

bool verify_html(struct buffer *out, const struct verify_result *r, const struct verify_table *t,
                 struct error *err)
{
    struct verify_groups groups;
    if (!verify_groups_make(&groups, &r->findings, r->lists_all, err))
        return false;
    bool ok = put_top(out, r, groups.n, err);
    for (enum finding_level level = 0; ok && level < FINDING_LEVELS; level++)
        ok = put_findings(out, &groups, level, err);
    ok = ok && (isnan(tally_sqnr(&t->all.sum)) || (put_heat(out, t, err) && put_worst(out, r, err)))
      && buffer_printf(out, err, "<p>surprisal %s</p>\n</body></html>\n", SURPRISAL_VERSION);
    verify_groups_free(&groups);
    return ok;
}
