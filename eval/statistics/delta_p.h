/* delta_p.h - the change of the right token's probability, p_B - p_A with p = exp(-NLL).
 *
 * llama.cpp's perplexity tool reports it together with KL divergence (tools/perplexity, "Δp"). */
#ifndef SURPRISAL_EVAL_STATISTICS_DELTA_P_H
#define SURPRISAL_EVAL_STATISTICS_DELTA_P_H

#include <stddef.h>

#include "base/error.h"

#define DELTA_P_QUANTILES 11
/* Names as in the comparison document, and their shares: min 0, p01 0.001, ... max 1. */
extern const struct delta_p_quantile {
    const char *name;
    double share;
} delta_p_quantiles[DELTA_P_QUANTILES];

struct delta_p {
    double mean, rms;
    double quantiles[DELTA_P_QUANTILES];
    double correlation;         /* Pearson's, of p_A and p_B; NaN where one of them is constant */
};

/* nll_a, nll_b: [n], n > 0, nats. */
bool delta_p_compute(struct delta_p *out, const double *nll_a, const double *nll_b, size_t n,
                     struct error *err);

#endif
