#include "eval/statistics/delta_p.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "eval/statistics/statistics.h"

const struct delta_p_quantile delta_p_quantiles[DELTA_P_QUANTILES] = {
    { "min", 0 }, { "p01", 0.001 }, { "p1", 0.01 }, { "p5", 0.05 }, { "p10", 0.1 },
    { "median", 0.5 }, { "p90", 0.9 }, { "p95", 0.95 }, { "p99", 0.99 }, { "p999", 0.999 },
    { "max", 1 },
};

static double mean_p(const double *nll, size_t n)
{
    struct compensated sum = { 0 };
    for (size_t i = 0; i < n; i++)
        compensated_add(&sum, exp(-nll[i]));
    return compensated_value(&sum) / (double)n;
}

static double correlation(const double *a, const double *b, size_t n)
{
    double mean_a = mean_p(a, n), mean_b = mean_p(b, n);
    struct compensated aa = { 0 }, bb = { 0 }, ab = { 0 };
    for (size_t i = 0; i < n; i++) {
        double x = exp(-a[i]) - mean_a, y = exp(-b[i]) - mean_b;
        compensated_add(&aa, x * x);
        compensated_add(&bb, y * y);
        compensated_add(&ab, x * y);
    }
    double both = sqrt(compensated_value(&aa)) * sqrt(compensated_value(&bb));
    /* By rounding, equal columns may give an ulp more than 1. */
    return both > 0 ? fmax(-1, fmin(1, compensated_value(&ab) / both)) : (double)NAN;
}

bool delta_p_compute(struct delta_p *out, const double *nll_a, const double *nll_b, size_t n,
                     struct error *err)
{
    double *changes = mem_array(n, sizeof *changes, "changes of probability", err);
    if (!changes)
        return false;
    struct compensated sum = { 0 }, squares = { 0 };
    for (size_t i = 0; i < n; i++) {
        changes[i] = exp(-nll_b[i]) - exp(-nll_a[i]);
        compensated_add(&sum, changes[i]);
        compensated_add(&squares, changes[i] * changes[i]);
    }
    statistics_sort(changes, n);
    out->mean = compensated_value(&sum) / (double)n;
    out->rms = sqrt(compensated_value(&squares) / (double)n);
    out->correlation = correlation(nll_a, nll_b, n);
    for (size_t i = 0; i < DELTA_P_QUANTILES; i++)
        out->quantiles[i] = statistics_quantile(changes, n, delta_p_quantiles[i].share);
    free(changes);
    return true;
}
