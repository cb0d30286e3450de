/* report.h - how a command ends: its result on stdout, or why there is none.  And a run's summary
 * for people: what decides the number, then the number. */
#ifndef SURPRISAL_CLI_REPORT_H
#define SURPRISAL_CLI_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <surprisal.h>

/* One line on stderr; returns INTERRUPTED or FAILED. */
int report_failure(const struct surprisal_error *err);
/* Prints and frees the one of json and text that there is, unless the work failed; an exit
 * status. */
int report_either(bool ok, char *json, char *text, const struct surprisal_error *err);

/* Prints a run, or the plans of one: what they have in common, then a line each.  json: their
 * summaries instead, those of plans as a list.  False when memory is out. */
bool report_print_results(const struct surprisal_result *results, size_t n, bool plans, bool json);

#endif
