/* dots_tile_baseline.c - vectors of 4 for whatever the compiler targets.  Where that has no fused
 * multiply-add, double stands in for it. */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { VEC = 4, TILE_WEIGHTS = 2, TILE_ROWS = 2, STORED_ROWS = 2 };
typedef float vec __attribute__((vector_size(16)));

static inline vec vec_load(const float *x)
{
    vec r;
    memcpy(&r, x, sizeof r);
    return r;
}

static inline void vec_store(float *to, vec x)
{
    memcpy(to, &x, sizeof x);
}

#ifdef __FP_FAST_FMAF
static inline float fused(float w, float x, float sum)
{
    return fmaf(w, x, sum);
}
#else
/* The product is exact in double.  Its sum is rounded to odd: then rounding it again, to f32, gives
 * what one rounding would (Boldo and Melquiond, "Emulation of FMA and Correctly Rounded Sums", IEEE
 * Transactions on Computers 57, 2008).  The error of the sum: Knuth's TwoSum. */
static inline float fused(float w, float x, float sum)
{
    double p = (double)w * (double)x, c = (double)sum, s = p + c;
    double part = s - p, error = (p - (s - part)) + (c - part);
    int64_t bits;
    memcpy(&bits, &s, sizeof bits);
    int64_t toward = (error > 0) == (s > 0) ? 1 : -1;
    bits += (error < 0 || error > 0) && !(bits & 1) ? toward : 0;
    memcpy(&s, &bits, sizeof s);
    return (float)s;
}
#endif

static inline vec vec_add_product(vec sum, vec w, vec x)
{
    for (int i = 0; i < VEC; i++)
        sum[i] = fused(w[i], x[i], sum[i]);
    return sum;
}

static inline void vec_keep(vec *x)
{
    (void)x;
}

typedef uint32_t words __attribute__((vector_size(16)));

static inline words words_at(const uint8_t *at)
{
    words r;
    memcpy(&r, at, sizeof r);
    return r;
}

static inline vec vec_high(const uint8_t *at)
{
    return (vec)(words_at(at) & 0xFFFF0000u);
}

static inline vec vec_low(const uint8_t *at)
{
    return (vec)(words_at(at) << 16);
}

#include "kernels/dots_tile.h"

const struct dots_tile dots_tile_baseline = { false, DOTS_ROWS, multiply, arrange, widen, NULL };
