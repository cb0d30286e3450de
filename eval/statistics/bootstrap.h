/* bootstrap.h - the scatter of a mean over units, estimated by drawing the units again.
 *
 * Each sample draws as many units as there are, with replacement, and computes sum of values / sum
 * of weights of the drawn units: the mean over tokens if the weight of a unit is its number of
 * tokens.  (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, 6.2 and 13.3.)
 *
 * Random numbers are from xoshiro256** (Blackman and Vigna, prng.di.unimi.it), with its state
 * filled from the seed by splitmix64; unit = high 64 bits of number * n, with a bias below n /
 * 2^64.  So a seed gives the same figures on every machine. */
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

/* The caller sets b->samples (at least 2) and b->seed; this fills in the rest.  values, weights:
 * [n], n > 0, no weight is 0. */
bool bootstrap_ratio(struct bootstrap *b, const double *values, const double *weights, size_t n,
                     struct error *err);

#endif
