#include "eval/report/comparison_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/output_file.h"
#include "base/progress.h"
#include "eval/report/baseline.h"
#include "eval/report/html.h"
#include "eval/report/junit.h"
#include "eval/report/markdown.h"

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
    if (options->plans && (options->html || options->markdown || options->baseline))
        return error_set(err, "of folders of plans there is no %s: name the run folders of one "
                         "plan", options->html ? "page" : options->markdown ? "quality section"
                                                                    : "baseline");
    return true;
}

static bool try_outputs(const struct surprisal_report_options *o, struct error *err)
{
    const char *const outputs[] = { o->html, o->markdown, o->junit };
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
    struct error name = { 0 }, text = { 0 };
    for (size_t i = 0; i < options->n_gates; i++) {
        struct gate_result *g = &gates[i];
        if (!gate_parse(&g->gate, options->gates[i], err))
            return false;
        g->met = gate_met(&g->gate, r->document, r->baseline, &g->found);
        if (g->met)
            continue;
        result->n_failed++;
        if (!buffer_printf(lines, err, "gate failed: %s%s%s: %s\n",
                           plan ? error_clean(&name, plan) : "", plan ? ": " : "",
                           error_clean(&text, g->gate.text), g->found.message))
            return false;
    }
    return true;
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
    if (missing.message[0] && options->progress.warn) {
        struct error line = { 0 };
        error_set(&line, "%s: tables instead of plots: %s", options->html, missing.message);
        options->progress.warn(options->progress.user, line.message);
    }
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

/* The gates of every comparison, and one file for all of them. */
static bool report_plans(const cJSON *list, const struct surprisal_report_options *options,
                         struct surprisal_report *result, struct error *err)
{
    size_t n = (size_t)cJSON_GetArraySize(list), i = 0;
    struct gate_result *gates = mem_array(n * options->n_gates, sizeof *gates, "gates", err);
    struct report *reports = gates ? mem_array(n, sizeof *reports, "reports", err) : NULL;
    struct buffer lines = { 0 };
    bool ok = reports != NULL;
    for (const cJSON *d = list->child; ok && d; d = d->next, i++) {
        struct gate_result *own = gates + i * options->n_gates;
        reports[i] = (struct report){ .document = d, .gates = own, .n_gates = options->n_gates };
        ok = ask_gates(own, options, &reports[i], result, &lines, err);
    }
    ok = ok && (!options->junit || junit_write(reports, n, options->junit, err))
      && buffer_append(&lines, "", 0, err);
    free(reports);
    free(gates);
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
    const cJSON *plans = json_get(document, "comparisons");
    struct surprisal_report_options o = *options;
    o.plans = plans != NULL;
    cJSON *baseline = NULL;
    bool ok = document && comparison_report_check(&o, err);
    if (ok && plans)
        ok = report_plans(plans, &o, result, err);
    else if (ok)
        ok = (!o.baseline || ((baseline = baseline_read(o.baseline, err))
                              && baseline_check(baseline, document, o.baseline, err)))
          && report(document, baseline, &o, result, err);
    cJSON_Delete(document);
    cJSON_Delete(baseline);
    return ok;
}
