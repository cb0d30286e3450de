/* statistics.h - from NLL sums by window to the figures of a run.
 *
 * With s_w the NLL sum and n_w the scored tokens of window w:
 *     mean_nll   m = sum s_w / sum n_w
 *     nll_stderr   = sqrt(W / (W - 1) * sum (s_w - m n_w)^2) / sum n_w
 * the ratio estimator's standard error with windows as the independent units, since tokens in one
 * window are not independent of each other.  Windows that score nothing are no units.
 *
 * Word and byte figures are lm-evaluation-harness's (weighted_perplexity, bits_per_byte): the NLL
 * of the whole text by its words or bytes.  Where a protocol leaves tokens out, the mean of those
 * scored stands for all: total NLL = mean_nll * tokens. */
#ifndef SURPRISAL_EVAL_STATISTICS_STATISTICS_H
#define SURPRISAL_EVAL_STATISTICS_STATISTICS_H

#include <stddef.h>

/* Neumaier's compensated sum: the error does not grow with the number of terms.
 * Zero-initialise; the value is total + correction. */
struct compensated {
    double total, correction;
};

void compensated_add(struct compensated *sum, double x);
double compensated_value(const struct compensated *sum);

struct window_score {
    struct compensated nll;     /* nats */
    size_t scored;
};

/* Of NLL sums mean is mean_nll, and mean_se nll_stderr; of other sums, such as differences or KL
 * divergence, the same ratio of theirs. */
struct figures {
    double mean, perplexity;
    double mean_se, perplexity_se;                          /* NaN for one window */
    double word_perplexity, byte_perplexity, bits_per_byte; /* NaN without text */
};

/* Of n > 0 ascending values, 0 <= q <= 1: linear between the two nearest, numpy's default. */
double statistics_quantile(const double *ascending, size_t n, double q);
void statistics_sort(double *values, size_t n);

/* At least one token must be scored. */
struct figures statistics_figures(const struct window_score *windows, size_t n_windows);
/* Fills in the word and byte figures of a text of so many tokens, words, bytes (none of them 0). */
void statistics_by_text(struct figures *f, size_t tokens, size_t words, size_t bytes);

#endif
