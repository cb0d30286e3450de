/* random.h - seeded random numbers for tests: the same on every machine. */
#ifndef SURPRISAL_TESTS_RANDOM_H
#define SURPRISAL_TESTS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;                 /* the seed */
};

/* SplitMix64 (Steele, Lea, Flood 2014). */
__attribute__((unused))
static uint64_t random_bits(struct random *r)
{
    uint64_t z = r->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

__attribute__((unused))
static size_t random_below(struct random *r, size_t n)
{
    return (size_t)(random_bits(r) % n);
}

/* In [0, 1). */
__attribute__((unused))
static float random_uniform(struct random *r)
{
    return (float)(random_bits(r) >> 40) * 0x1p-24f;
}

/* Mean 0, variance 1, nearly normal: the sum of twelve uniforms. */
__attribute__((unused))
static float random_normal(struct random *r)
{
    float sum = -6;
    for (int i = 0; i < 12; i++)
        sum += random_uniform(r);
    return sum;
}

#endif
