#include "eval/report/comparison_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/output_file.h"
#include "base/progress.h"
#include "eval/report/baseline.h"
#include "eval/report/html.h"
#include "eval/report/html_ranking.h"
#include "eval/report/junit.h"
#include "eval/report/markdown.h"
#include "eval/report/ranking_report.h"

bool comparison_report_check(const struct surprisal_report_options *options, struct error *err)
{
    for (size_t i = 0; i < options->n_gates; i++) {
        struct gate gate;
        if (!gate_parse(&gate, options->gates[i], err))
            return false;
        if (gate_needs_baseline(&gate) && !options->baseline)
            return error_set(err, "gate '%s': there is no baseline", options->gates[i]);
    }
    if (options->junit && !options->n_gates)
        return error_set(err, "a JUnit file holds gates, and there is none");
    if (options->csv && !options->ranking)
        return error_set(err, "a CSV file holds a ranking: name an original and more than one "
                         "candidate");
    if (options->ranking && options->baseline)
        return error_set(err, "a ranking has no baseline: compare two, the original first");
    if (options->plans && !options->ranking
        && (options->html || options->markdown || options->baseline))
        return error_set(err, "of folders of plans there is no %s: name the run folders of one "
                         "plan", options->html ? "page" : options->markdown ? "quality section"
                                                                    : "baseline");
    return true;
}

static bool try_outputs(const struct surprisal_report_options *o, struct error *err)
{
    const char *const outputs[] = { o->html, o->markdown, o->junit, o->csv };
    const struct progress progress = PROGRESS_OF(&o->progress);
    struct input_files in = { 0 };
    bool ok = input_files_add_names(&in, o->baseline, err);
    for (size_t i = 0; ok && i < o->n_inputs; i++)
        ok = input_files_add_names(&in, o->inputs[i], err);
    for (size_t i = 0; ok && i < sizeof outputs / sizeof *outputs; i++)
        ok = output_file_try(outputs[i], 0, &in, &progress, err);
    input_files_free(&in);
    return ok;
}

bool comparison_report_prepare(const struct surprisal_report_options *options, struct error *err)
{
    if (!comparison_report_check(options, err) || !try_outputs(options, err))
        return false;
    if (!options->baseline)
        return true;
    cJSON *baseline = baseline_read(options->baseline, err);
    cJSON_Delete(baseline);
    return baseline != NULL;
}

/* ---- the report -------------------------------------------------------------------- */

static bool ask_gates(struct gate_result *gates, const struct surprisal_report_options *options,
                      const struct report *r, struct surprisal_report *result, struct buffer *lines,
                      struct error *err)
{
    const char *plan = cJSON_GetStringValue(json_get(r->document, "plan"));
    const char *candidate = cJSON_GetStringValue(json_get(r->document, "candidate"));
    const char *reason = cJSON_GetStringValue(json_get(r->document, "reason"));
    struct error name = { 0 }, of = { 0 }, text = { 0 };
    for (size_t i = 0; i < options->n_gates; i++) {
        struct gate_result *g = &gates[i];
        if (!gate_parse(&g->gate, options->gates[i], err))
            return false;
        g->met = !reason && gate_met(&g->gate, r->document, r->baseline, &g->found);
        if (reason)
            error_set(&g->found, "not comparable: %s", reason);
        if (g->met)
            continue;
        result->n_failed++;
        if (!buffer_printf(lines, err, "gate failed: %s%s%s%s%s: %s\n",
                           candidate ? error_clean(&of, candidate) : "", candidate ? ": " : "",
                           plan ? error_clean(&name, plan) : "", plan ? ": " : "",
                           error_clean(&text, g->gate.text), g->found.message))
            return false;
    }
    return true;
}

/* missing: why a page has no plots; empty: it has. */
static void warn_missing(const struct error *missing,
                         const struct surprisal_report_options *options)
{
    struct error line = { 0 };
    if (!missing->message[0] || !options->progress.warn)
        return;
    error_set(&line, "%s: tables instead of plots: %s", options->html, missing->message);
    options->progress.warn(options->progress.user, line.message);
}

static bool write_files(const struct report *r, const struct surprisal_report_options *options,
                        struct error *err)
{
    struct error missing = { 0 };
    if (options->junit && !junit_write(r, 1, options->junit, err))
        return false;
    if (options->markdown && !markdown_write(r, options->markdown, err))
        return false;
    if (options->html && !html_write(r, options->html, &missing, err))
        return false;
    warn_missing(&missing, options);
    return true;
}

static bool report(cJSON *document, cJSON *baseline,
                   const struct surprisal_report_options *options, struct surprisal_report *result,
                   struct error *err)
{
    struct gate_result *gates = mem_array(options->n_gates, sizeof *gates, "gates", err);
    if (!gates)
        return false;
    const char *command = cJSON_GetStringValue(json_get(json_get(document, "repeat"), "command"));
    const struct report r = {
        .document = document, .baseline = baseline, .gates = gates, .n_gates = options->n_gates,
        .command = command,
    };
    struct buffer lines = { 0 }, table = { 0 };
    bool ok = ask_gates(gates, options, &r, result, &lines, err)
           && (!baseline || baseline_text(&table, baseline, document, err))
           && write_files(&r, options, err) && buffer_append(&lines, "", 0, err);
    free(gates);
    if (!ok) {
        buffer_free(&lines);
        buffer_free(&table);
        return false;
    }
    result->failed = lines.data;
    result->baseline = table.data;
    return true;
}

/* Several comparisons, for the gates of each. */
struct several {
    struct report *reports;             /* owned [n] */
    struct gate_result *gates;          /* owned */
    size_t n;
};

static bool several_begin(struct several *s, size_t most, size_t n_gates, struct error *err)
{
    *s = (struct several){ 0 };
    s->gates = mem_array(most, n_gates * sizeof *s->gates, "gates", err);
    s->reports = s->gates ? mem_array(most, sizeof *s->reports, "reports", err) : NULL;
    return s->reports != NULL;
}

static void several_end(struct several *s)
{
    free(s->reports);
    free(s->gates);
}

/* Adds the documents of a list, and asks their gates. */
static bool add_list(struct several *s, const cJSON *list,
                     const struct surprisal_report_options *options,
                     struct surprisal_report *result, struct buffer *lines, struct error *err)
{
    bool ok = true;
    for (const cJSON *d = list ? list->child : NULL; ok && d; d = d->next) {
        struct gate_result *own = s->gates + s->n * options->n_gates;
        const char *command = cJSON_GetStringValue(json_get(json_get(d, "repeat"), "command"));
        struct report *r = &s->reports[s->n++];
        *r = (struct report){ .document = d, .gates = own, .n_gates = options->n_gates,
                              .command = command };
        ok = ask_gates(own, options, r, result, lines, err);
    }
    return ok;
}

/* One file for all comparisons. */
static bool report_plans(const cJSON *list, const struct surprisal_report_options *options,
                         struct several *s, struct surprisal_report *result, struct buffer *lines,
                         struct error *err)
{
    return several_begin(s, (size_t)cJSON_GetArraySize(list), options->n_gates, err)
        && add_list(s, list, options, result, lines, err)
        && (!options->junit || junit_write(s->reports, s->n, options->junit, err));
}

static bool report_rankings(const cJSON *document, const struct surprisal_report_options *options,
                            struct several *s, struct surprisal_report *result,
                            struct buffer *lines, struct error *err)
{
    static const char *const lists[] = { "comparisons", "not_comparable" };
    const cJSON *rankings = json_get(document, "rankings"), *ranking;
    struct error missing = { 0 };
    size_t most = 0;
    cJSON_ArrayForEach(ranking, rankings)
        for (int i = 0; i < 2; i++)
            most += (size_t)cJSON_GetArraySize(json_get(ranking, lists[i]));
    bool ok = several_begin(s, most, options->n_gates, err);
    cJSON_ArrayForEach(ranking, rankings)
        for (int i = 0; ok && i < 2; i++)
            ok = add_list(s, json_get(ranking, lists[i]), options, result, lines, err);
    ok = ok && (!options->junit || junit_write(s->reports, s->n, options->junit, err))
      && (!options->csv || ranking_report_csv(document, options->csv, err))
      && (!options->markdown
          || ranking_report_markdown(document, s->reports, s->n, options->markdown, err))
      && (!options->html
          || html_ranking_write(document, s->reports, s->n, options->html, &missing, err));
    warn_missing(&missing, options);
    return ok;
}

static bool report_several(const cJSON *document, const struct surprisal_report_options *options,
                           struct surprisal_report *result, struct error *err)
{
    const cJSON *plans = json_get(document, "comparisons");
    struct several s = { 0 };
    struct buffer lines = { 0 };
    bool ok = (plans ? report_plans(plans, options, &s, result, &lines, err)
                     : report_rankings(document, options, &s, result, &lines, err))
           && buffer_append(&lines, "", 0, err);
    several_end(&s);
    if (ok)
        result->failed = lines.data;
    else
        buffer_free(&lines);
    return ok;
}

bool comparison_report(const char *comparison_json, const struct surprisal_report_options *options,
                       struct surprisal_report *result, struct error *err)
{
    *result = (struct surprisal_report){ 0 };
    cJSON *document = json_parse(comparison_json, strlen(comparison_json), "the comparison", err);
    struct surprisal_report_options o = *options;
    o.ranking = json_get(document, "rankings") != NULL;
    o.plans = json_get(document, "comparisons") != NULL;
    cJSON *baseline = NULL;
    bool ok = document && comparison_report_check(&o, err);
    if (ok && (o.plans || o.ranking))
        ok = report_several(document, &o, result, err);
    else if (ok)
        ok = (!o.baseline || ((baseline = baseline_read(o.baseline, err))
                              && baseline_check(baseline, document, o.baseline, err)))
          && report(document, baseline, &o, result, err);
    cJSON_Delete(document);
    cJSON_Delete(baseline);
    return ok;
}
