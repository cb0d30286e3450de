/* divergence_figures.h - the figures of a comparison, from the KL divergence of each token.
 *
 * Means are over scored tokens; their standard errors are by unit (window or document), as in
 * statistics.h.  Percentiles are linear between the two nearest values, numpy's default. */
#ifndef SURPRISAL_EVAL_STATISTICS_DIVERGENCE_FIGURES_H
#define SURPRISAL_EVAL_STATISTICS_DIVERGENCE_FIGURES_H

#include "base/json.h"
#include "engine/types.h"

enum { DIVERGENCE_QUANTILES = 6, DIVERGENCE_BINS = 5, DIVERGENCE_EDGES = 49 };

/* Names and shares: median, p90, p95, p99, p999, max. */
struct divergence_quantile {
    const char *name;
    double share;
};
extern const struct divergence_quantile divergence_figures_quantiles[DIVERGENCE_QUANTILES];

struct divergence_direction {
    double mean, se;                    /* nats; se: standard error; NaN for one unit */
    double quantiles[DIVERGENCE_QUANTILES];
};

/* Tokens to which A's first choice has a probability in [from, to), in the last bin [from, to]. */
struct divergence_bin {
    double from, to;
    size_t scored;
    double mean, se, same_top1;         /* NaN without tokens; se also for one unit */
};

struct divergence_figures {
    struct divergence_direction forward, reverse;   /* B from A, A from B */
    /* B from A with A's head on both; NaN where that does not fit.  What it is less than forward
     * is the head's part. */
    struct divergence_direction same_head;
    double top5_overlap;                /* mean share of equal choices among the first five */
    struct divergence_bin bins[DIVERGENCE_BINS];
    /* Tokens with KL in [0, edge 0), [edge 0, edge 1), .. [last edge, infinity): edge i is
     * 10^(-10 + i / 4). */
    size_t histogram[DIVERGENCE_EDGES + 1];
};

/* rows, unit: [n], n > 0, each unit in [0, n_units). */
bool divergence_figures(struct divergence_figures *f, const struct divergence_row *rows,
                        const int32_t *unit, size_t n, size_t n_units, struct error *err);

double divergence_figures_of_head(const struct divergence_figures *f);

/* Adds mean_kld, kld_stderr, kld {median .. max}, mean_kld_reverse, kld_reverse_stderr,
 * kld_reverse, mean_kld_same_head, kld_same_head_stderr, kld_of_head (the difference),
 * top5_overlap. */
void divergence_figures_add(cJSON *to, const struct divergence_figures *f);
/* Adds kld_by_confidence [{from, to, scored, mean_kld, kld_stderr, same_top1}] and kld_histogram
 * [{from, to, scored}], whose last `to` is null. */
void divergence_figures_add_distribution(cJSON *to, const struct divergence_figures *f);

#endif
