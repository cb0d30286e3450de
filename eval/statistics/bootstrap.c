#include "eval/statistics/bootstrap.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "eval/statistics/statistics.h"

struct xoshiro {
    uint64_t s[4];
};

static uint64_t rotate(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static void seed_state(struct xoshiro *g, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {               /* splitmix64 */
        uint64_t z = (seed += 0x9E3779B97F4A7C15);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        g->s[i] = z ^ (z >> 31);
    }
}

static uint64_t next(struct xoshiro *g)
{
    uint64_t *s = g->s, result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

static size_t draw(struct xoshiro *g, size_t n)
{
    return (size_t)(((unsigned __int128)next(g) * n) >> 64);
}

bool bootstrap_ratio(struct bootstrap *b, const double *values, const double *weights, size_t n,
                     struct error *err)
{
    double *means = mem_array(b->samples, sizeof *means, "bootstrap samples", err);
    if (!means)
        return false;
    struct xoshiro g;
    seed_state(&g, b->seed);
    struct compensated sum = { 0 }, squares = { 0 };
    for (size_t i = 0; i < b->samples; i++) {
        double value = 0, weight = 0;
        for (size_t j = 0; j < n; j++) {
            size_t unit = draw(&g, n);
            value += values[unit];
            weight += weights[unit];
        }
        means[i] = value / weight;
        compensated_add(&sum, means[i]);
    }
    double k = (double)b->samples, mean = compensated_value(&sum) / k;
    for (size_t i = 0; i < b->samples; i++)
        compensated_add(&squares, (means[i] - mean) * (means[i] - mean));
    statistics_sort(means, b->samples);
    b->se = sqrt(compensated_value(&squares) / (k - 1));
    b->ci95[0] = statistics_quantile(means, b->samples, 0.025);
    b->ci95[1] = statistics_quantile(means, b->samples, 0.975);
    free(means);
    return true;
}
