/* comparison_report.h - checks the gates of a comparison, and writes the files that the options ask
 * for.
 *
 * Uses only the JSON document that `compare --json` prints, so a stored comparison can be reported
 * without its runs. */
#ifndef SURPRISAL_EVAL_REPORT_COMPARISON_REPORT_H
#define SURPRISAL_EVAL_REPORT_COMPARISON_REPORT_H

#include "base/json.h"
#include "eval/report/gate.h"
#include "surprisal.h"

/* A gate and its result. */
struct gate_result {
    struct gate gate;
    bool met;
    struct error found;         /* "mean_kld is 0.0213" */
};

/* Input of the writers of files (junit.h, markdown.h, html.h); borrows everything. */
struct report {
    const cJSON *document;
    const cJSON *baseline;      /* NULL: none */
    const struct gate_result *gates;
    size_t n_gates;
    const char *command;        /* repeats the comparison; NULL: unknown */
};

/* surprisal_report_check, _prepare and surprisal_report of surprisal.h. */
bool comparison_report_check(const struct surprisal_report_options *options, struct error *err);
bool comparison_report_prepare(const struct surprisal_report_options *options, struct error *err);
bool comparison_report(const char *comparison_json, const struct surprisal_report_options *options,
                       struct surprisal_report *result, struct error *err);

#endif
