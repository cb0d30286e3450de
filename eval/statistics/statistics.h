/* statistics.h - from NLL sums by window to the figures of a run.
 *
 * With s_w the NLL sum and n_w the scored tokens of window w:
 *     mean_nll   m = sum s_w / sum n_w
 *     nll_stderr   = sqrt(W / (W - 1) * sum (s_w - m n_w)^2) / sum n_w
 *     perplexity   = exp(m)
 *     perplexity_stderr    = exp(m) nll_stderr
 * nll_stderr is the ratio estimator's standard error (Cochran, Sampling Techniques, chapter 6; no
 * finite population correction) with windows as the W independent units, since tokens in one window
 * are not independent of each other.  Windows that score nothing do not count.  perplexity_stderr
 * is exp(m) se(m) by the delta method: the derivative of exp at m times the error of m.
 *
 * Word and byte figures are lm-evaluation-harness's (weighted_perplexity, bits_per_byte): the NLL
 * of the whole text by its words or bytes.  Where a protocol skips tokens, the mean of the scored
 * ones is used for all: total NLL = mean_nll * tokens. */
#ifndef SURPRISAL_EVAL_STATISTICS_STATISTICS_H
#define SURPRISAL_EVAL_STATISTICS_STATISTICS_H

#include <stddef.h>

#include "eval/statistics/compensated.h"

struct window_score {
    struct compensated nll;     /* nats */
    size_t scored;
};

/* For NLL sums mean is mean_nll, and mean_se is nll_stderr; for other sums, such as differences or
 * KL divergence, the same ratios of those. */
struct figures {
    double mean, perplexity;
    double mean_se, perplexity_se;                          /* NaN for one window */
    double word_perplexity, byte_perplexity, bits_per_byte; /* NaN without text */
};

/* The quantile q, 0 <= q <= 1, of n > 0 ascending values: linear between the two nearest, numpy's
 * default. */
double statistics_quantile(const double *ascending, size_t n, double q);
void statistics_sort(double *values, size_t n);

/* At least one token must be scored. */
struct figures statistics_figures(const struct window_score *windows, size_t n_windows);
/* Fills in the word and byte figures; tokens, words and bytes of the text, none of them 0. */
void statistics_by_text(struct figures *f, size_t tokens, size_t words, size_t bytes);

#endif
