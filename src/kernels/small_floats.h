/* small_floats.h - the small number formats by their definitions. */
#ifndef SURPRISAL_KERNELS_SMALL_FLOATS_H
#define SURPRISAL_KERNELS_SMALL_FLOATS_H

#include <math.h>
#include <stdint.h>

/* E2M1, with its sign: a code has 4 bits. */
static inline float e2m1_value(unsigned code)
{
    static const float values[16] = { 0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                      -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f };
    return values[code & 15];
}

/* 2^(e - 127); 255 is NaN. */
static inline float e8m0_value(uint8_t e)
{
    return e == 255 ? NAN : ldexpf(1, e - 127);
}

/* IEEE binary16: sign, 5 bits of exponent, 10 of fraction. */
static inline float f16_value(uint16_t half)
{
    int exponent = half >> 10 & 31, fraction = half & 1023;
    float x = exponent == 31 ? (fraction ? NAN : INFINITY)
            : exponent ? ldexpf((float)(fraction + 1024), exponent - 25)
                       : ldexpf((float)fraction, -24);
    return half & 0x8000 ? -x : x;
}

/* E4M3: sign, 4 bits of exponent, 3 of fraction; 0x7F and 0xFF are NaN. */
static inline float e4m3_value(uint8_t code)
{
    int exponent = code >> 3 & 15, fraction = code & 7;
    float x = (code & 0x7F) == 0x7F ? NAN
            : exponent ? ldexpf((float)(fraction + 8), exponent - 10) : ldexpf((float)fraction, -9);
    return code & 0x80 ? -x : x;
}

#endif
