#include "eval/statistics/paired.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "eval/statistics/student.h"

#define Z_975 1.9599639845400545        /* normal quantiles */
#define Z_80  0.8416212335729143

/* Relative rounding error of sums.  Units whose differences are equal to the last digit repeat one
 * text: they are not independent samples, and say no more than one of them. */
#define NO_SPREAD 1e-12

static bool has_spread(double value, double se)
{
    return value == 0 || se > NO_SPREAD * fabs(value);
}

static double p_value(double value, double se, double df)
{
    if (!isfinite(value) || !isfinite(se) || !has_spread(value, se))
        return (double)NAN;
    return se > 0 ? student_p(value / se, df) : 1;
}

struct estimate paired_estimate(double value, double se, double df)
{
    bool known = isfinite(se) && has_spread(value, se);
    double half = known ? student_t(0.05, df) * se : (double)NAN;
    return (struct estimate){
        .value = value, .se = se, .ci95 = { value - half, value + half },
        .p = p_value(value, se, df),
    };
}

/* The figures of one member of all units (its offset in struct paired_unit). */
static struct figures figures_of(struct window_score *scratch, const struct paired_unit *units,
                                 size_t n, size_t member)
{
    for (size_t i = 0; i < n; i++)
        scratch[i] = (struct window_score){
            .nll = *(const struct compensated *)((const char *)&units[i] + member),
            .scored = units[i].scored,
        };
    return statistics_figures(scratch, n);
}

static struct estimate naive_estimate(const double *a, const double *b, size_t n, double mean)
{
    struct compensated squares = { 0 };
    for (size_t i = 0; i < n; i++) {
        double residual = b[i] - a[i] - mean;
        compensated_add(&squares, residual * residual);
    }
    double N = (double)n;
    double se = n > 1 ? sqrt(compensated_value(&squares) / (N - 1) / N) : (double)NAN;
    return paired_estimate(mean, se, N - 1);
}

static double difference_se(const struct paired *p, const struct paired_unit *units)
{
    struct compensated squares = { 0 };
    for (size_t i = 0; i < p->units; i++) {
        double n = (double)units[i].scored;
        double residual = p->perplexity_b * (compensated_value(&units[i].b) - p->nll_b * n)
                        - p->perplexity_a * (compensated_value(&units[i].a) - p->nll_a * n);
        compensated_add(&squares, residual * residual);
    }
    double W = (double)p->units;
    return p->units > 1 ? sqrt(W / (W - 1) * compensated_value(&squares)) / (double)p->scored
                        : (double)NAN;
}

static double units_needed(const struct estimate *delta, size_t units)
{
    double root = (Z_975 + Z_80) * delta->se * sqrt((double)units) / delta->value;
    double needed = has_spread(delta->value, delta->se) ? ceil(root * root) : (double)NAN;
    return delta->value == 0 ? 0 : needed < 2 ? 2 : needed;     /* NaN stays NaN */
}

static bool resample(struct paired *p, const struct paired_unit *units, struct error *err)
{
    double *values = mem_array(p->units, sizeof *values, "bootstrap", err);
    double *weights = mem_array(p->units, sizeof *weights, "bootstrap", err);
    bool ok = values && weights;
    for (size_t i = 0; ok && i < p->units; i++) {
        values[i] = compensated_value(&units[i].delta);
        weights[i] = (double)units[i].scored;
    }
    ok = ok && bootstrap_ratio(&p->bootstrap, values, weights, p->units, err);
    free(values);
    free(weights);
    return ok;
}

bool paired_compute(struct paired *p, const struct paired_unit *units, size_t n_units,
                    const double *nll_a, const double *nll_b, size_t n_tokens, struct error *err)
{
    struct window_score *scratch = mem_array(n_units, sizeof *scratch, "units", err);
    if (!scratch)
        return false;
    struct figures a = figures_of(scratch, units, n_units, offsetof(struct paired_unit, a));
    struct figures b = figures_of(scratch, units, n_units, offsetof(struct paired_unit, b));
    struct figures delta = figures_of(scratch, units, n_units, offsetof(struct paired_unit, delta));
    free(scratch);
    double df = (double)n_units - 1;
    p->units = n_units;
    p->scored = n_tokens;
    p->nll_a = a.mean;
    p->nll_b = b.mean;
    p->perplexity_a = a.perplexity;
    p->perplexity_b = b.perplexity;
    p->delta = paired_estimate(delta.mean, delta.mean_se, df);
    p->naive = naive_estimate(nll_a, nll_b, n_tokens, delta.mean);
    p->unpaired_se = hypot(a.mean_se, b.mean_se);
    p->ratio = (struct estimate){
        .value = delta.perplexity, .se = delta.perplexity_se,
        .ci95 = { exp(p->delta.ci95[0]), exp(p->delta.ci95[1]) }, .p = p->delta.p,
    };
    p->difference = paired_estimate(p->perplexity_b - p->perplexity_a, difference_se(p, units), df);
    p->difference.p = p->delta.p;
    p->units_needed = units_needed(&p->delta, n_units);
    if (n_units > 1)
        return resample(p, units, err);
    p->bootstrap.samples = 0;
    return true;
}
