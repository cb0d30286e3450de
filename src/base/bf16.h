/* bf16.h - BF16 is the upper half of an f32. */
#ifndef SURPRISAL_BASE_BF16_H
#define SURPRISAL_BASE_BF16_H

#include <stdint.h>
#include <string.h>

/* Rounds to nearest, ties to even.  Values beyond the largest become infinity; NaN stays NaN. */
static inline uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet : rounded);
}

static inline float bf16_value(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

#endif
