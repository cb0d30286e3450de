/* minifloat.h - the values of small floating-point codes: their definition, by ldexpf.
 *
 * E4M3 (OCP 8-bit Floating Point): sign, 4 bits of exponent with bias 7, 3 of fraction; 0x7F and
 * 0xFF are NaN, nothing is infinite.  E8M0 (OCP Microscaling 1.0): 2^(e - 127); 255 is NaN.  E2M3
 * and E3M2 (the same): sign in bit 5, biases 1 and 3; all codes are numbers.  F16: IEEE binary16.
 */
#ifndef SURPRISAL_KERNELS_MINIFLOAT_H
#define SURPRISAL_KERNELS_MINIFLOAT_H

#include <math.h>
#include <stdint.h>

/* A code of `bits` bits after its sign, of which `fraction` are the fraction. */
static inline float minifloat_value(unsigned code, unsigned bits, unsigned fraction, int bias)
{
    unsigned exponent = (code & ((1u << bits) - 1)) >> fraction, f = code & ((1u << fraction) - 1);
    int shift = -bias - (int)fraction;
    float x = exponent ? ldexpf((float)(f + (1u << fraction)), (int)exponent + shift)
                       : ldexpf((float)f, 1 + shift);
    return code >> bits & 1 ? -x : x;
}

static inline float minifloat_f16(uint16_t half)
{
    if ((half >> 10 & 31) == 31)
        return half & 1023 ? NAN : half & 0x8000 ? -INFINITY : INFINITY;
    return minifloat_value(half, 15, 10, 15);
}

static inline float minifloat_e4m3(uint8_t code)
{
    return (code & 0x7F) == 0x7F ? NAN : minifloat_value(code, 7, 3, 7);
}

static inline float minifloat_e2m3(unsigned code)
{
    return minifloat_value(code, 5, 3, 1);
}

static inline float minifloat_e3m2(unsigned code)
{
    return minifloat_value(code, 5, 2, 3);
}

static inline float minifloat_e8m0(uint8_t e)
{
    return e == 255 ? NAN : ldexpf(1, e - 127);
}

#endif
