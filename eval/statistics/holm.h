/* holm.h - p-values of many tests at once, by Holm's step-down method (S. Holm, A simple
 * sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979).
 *
 * With m tests and p_(1) <= ... <= p_(m), the adjusted value is
 *     max over j <= i of min(1, (m - j + 1) p_(j)).
 * A test is rejected at a level if its adjusted value is below it; then the chance that any true
 * hypothesis is rejected is at most the level, however the tests depend on one another. */
#ifndef SURPRISAL_EVAL_STATISTICS_HOLM_H
#define SURPRISAL_EVAL_STATISTICS_HOLM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Adjusts p[n] in place.  NaN is no test: it stays and does not count. */
bool holm_adjust(double *p, size_t n, struct error *err);

#endif
