/* junit.h - the gates as JUnit XML for CI systems: one test suite for each comparison, one test
 * case for each gate. */
#ifndef SURPRISAL_EVAL_REPORT_JUNIT_H
#define SURPRISAL_EVAL_REPORT_JUNIT_H

#include "eval/report/comparison_report.h"

bool junit_write(const struct report *reports, size_t n, const char *path, struct error *err);

#endif
