/* paired.h - is the difference between two runs over the same tokens real?
 *
 * Tokens in one context depend on one another, so the unit is the window, or the document if the
 * text was split into documents; units without scored tokens do not count.  With a_u, b_u the NLL
 * sums of unit u, n_u its tokens, d_u = b_u - a_u, W units, N tokens:
 *     delta_nll            sum d_u / N
 *     delta_nll_stderr     sqrt(W / (W - 1) * sum (d_u - delta n_u)^2) / N         (statistics.h)
 *     p_value              of t = delta / stderr, Student's t with W - 1 degrees of freedom,
 *                          two-sided; 1 where every difference is 0 (never 0 / 0)
 *     *_ci95               delta -+ t(0.975, W - 1) stderr
 *     perplexity ratio     exp(delta), error by the delta method: ratio * stderr; its interval is
 *                          the exponential of delta's
 *     perplexity difference  P_B - P_A; delta method: the stderr of the linearized
 *                          P_B (b_u - m_B n_u) - P_A (a_u - m_A n_u), which keeps the correlation
 *                          of the runs
 *     naive                as if tokens were independent: sd of the N differences / sqrt(N), N - 1
 *                          degrees of freedom
 *     unpaired             sqrt(se_A^2 + se_B^2), as from two separate error bars
 *     units_needed         ((z_0.975 + z_0.8) stderr sqrt(W) / delta)^2, rounded up, at least 2:
 *                          the number of such units with which a two-sided test at 5 % finds this
 *                          effect in 80 % of texts (normal approximation); 0 where the effect is 0
 * With one unit (for the naive figures: one token) the error is NaN.  Where all units differ by the
 * same amount other than 0, interval and p-value are NaN.  Figures beyond the range of a double are
 * not finite, and their p-value is NaN. */
#ifndef SURPRISAL_EVAL_STATISTICS_PAIRED_H
#define SURPRISAL_EVAL_STATISTICS_PAIRED_H

#include "eval/statistics/bootstrap.h"
#include "eval/statistics/statistics.h"

struct paired_unit {
    struct compensated a, b, delta;     /* NLL sums, nats */
    size_t scored;                      /* above 0 */
};

/* A figure with its uncertainty. */
struct estimate {
    double value, se, ci95[2], p;       /* NaN: unknown; p: of the hypothesis that it is 0 */
};

struct paired {
    size_t units, scored;
    double nll_a, nll_b, perplexity_a, perplexity_b;
    struct estimate delta, naive;
    struct estimate ratio, difference;  /* of the perplexities; p is that of delta */
    double unpaired_se;
    double units_needed;
    struct bootstrap bootstrap;         /* samples 0: one unit, so there is no choice */
};

/* nll_a, nll_b: [n_tokens], nats; the units hold their sums.  The caller sets samples and seed in
 * out->bootstrap. */
bool paired_compute(struct paired *out, const struct paired_unit *units, size_t n_units,
                    const double *nll_a, const double *nll_b, size_t n_tokens, struct error *err);

/* The estimate of a value with the standard error se and df degrees of freedom. */
struct estimate paired_estimate(double value, double se, double df);

#endif
