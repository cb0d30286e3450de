/* bootstrap.h - how much a mean over units would scatter, by drawing units again.
 *
 * Each sample draws as many units as there are, with replacement, and takes the ratio of the drawn
 * sums, sum of values / sum of weights: the mean over tokens when a unit's weight is its tokens.
 * (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 6.2 and 13.3.)
 *
 * Draws are by xoshiro256** (Blackman and Vigna, prng.di.unimi.it), its state filled by splitmix64
 * from the seed; unit = high 64 bits of draw * n, whose bias is below n / 2^64.  So a seed gives the
 * same figures on every machine. */
#ifndef SURPRISAL_EVAL_STATISTICS_BOOTSTRAP_H
#define SURPRISAL_EVAL_STATISTICS_BOOTSTRAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct bootstrap {
    size_t samples;
    uint64_t seed;
    double se;                  /* standard deviation of the samples */
    double ci95[2];             /* their 2.5 and 97.5 percentiles */
};

/* b->samples (at least 2) and b->seed are set; fills in the rest.  values, weights: [n], n > 0, no
 * weight 0. */
bool bootstrap_ratio(struct bootstrap *b, const double *values, const double *weights, size_t n,
                     struct error *err);

#endif
