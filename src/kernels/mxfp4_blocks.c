/* mxfp4_blocks.c - compiled once for each instruction set, with MXFP4_BLOCKS as the function's
 * name.
 *
 * Vectors are the compiler's own (GCC's vector extensions), as wide as the set's registers. */
#include "kernels/mxfp4_blocks.h"

#include <math.h>
#include <string.h>

#if defined __AVX512F__
#define VECTOR_BYTES 64
#elif defined __AVX2__
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
/* A shuffle by a vector that is no constant is GCC's alone. */
#if VECTOR_BYTES >= 32 && !defined __clang__
#define HAS_TABLE 1
#else
#define HAS_TABLE 0
#endif
#define LANES (VECTOR_BYTES / sizeof(float))    /* blocks side by side */
#define N MXFP4_BLOCK
#define CANDIDATES 3
#define TORCH_LANES 8                           /* see torch_mean in kernels/mxfp4.c */

typedef float vector __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));

static const float boundary[7] = { 0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5.0f };
#if !HAS_TABLE
static const float step[7] = { 0.5f, 0.5f, 0.5f, 0.5f, 1, 1, 2 };
#else
static const float magnitude[8] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6 };
#endif

/* A comparison is all ones where it holds. */
static inline vector select(integers where, vector a, vector b)
{
    return (vector)((where & (integers)a) | (~where & (integers)b));
}

static inline vector all(float x)
{
    return x - (vector){ 0 };
}

static inline vector size(vector x)
{
    return (vector)((integers)x & 0x7FFFFFFF);
}

/* 2^k; all that occur are normal. */
static inline vector power(integers k)
{
    return (vector)((k + 127) << 23);
}

/* ---- in ------------------------------------------------------------------------- */

/* out[j] has element j of n blocks, and zeros beyond them. */
static inline void transpose(vector *restrict out, const float *const *blocks, size_t n)
{
    float (*to)[LANES] = (float (*)[LANES])out;
    if (n < LANES)
        memset(out, 0, N * sizeof *out);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < N; j++)
            to[j][i] = blocks[i][j];
}

static void load(vector *w, vector *importance, const struct mxfp4_blocks *b, size_t at, size_t n)
{
    const float *blocks[LANES];
    for (size_t i = 0; i < n; i++)
        blocks[i] = b->w + (at + i) * N;
    transpose(w, blocks, n);
    if (!importance)
        return;
    for (size_t i = 0; i < n; i++)
        blocks[i] = b->importance + (b->first + at + i) % b->period * N;
    transpose(importance, blocks, n);
}

/* ---- the scale ------------------------------------------------------------------- */

/* The percentile of |w|, and the maximum.  Order statistics are taken from the top, as far as
 * needed: a percentile that keeps outliers in check is near it. */
static vector anchor_of(vector *maximum, const vector *w, const struct mxfp4_percentile *p)
{
    vector x[N];
    for (size_t j = 0; j < N; j++)
        x[j] = size(w[j]);
    for (size_t top = N - 1; top > 0 && top >= p->low; top--)
        for (size_t j = 0; j < top; j++) {
            integers a = (integers)x[j], b = (integers)x[j + 1];
            integers change = (a ^ b) & (x[j] > x[j + 1]);
            x[j] = (vector)(a ^ change);
            x[j + 1] = (vector)(b ^ change);
        }
    vector a = x[p->low], b = x[p->low + 1 < N ? p->low + 1 : p->low];
    *maximum = x[N - 1];
    return p->fraction < 0.5f ? a + p->fraction * (b - a) : b - (b - a) * (1 - p->fraction);
}

/* floor and ceil of the float32 logarithm of x > 0, rounded to nearest.  Only next to a power of
 * two is it more than the exponent. */
static inline int floor_log2(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 23) - 127;
    if (exponent == -127 || (bits & 0x7FFFFF) > 0x7FFF00)
        return (int)floorf((float)log2((double)x));
    return exponent;
}

static inline int ceil_log2(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    int exponent = (int)(bits >> 23) - 127;
    if (exponent == -127 || (bits & 0x7FFFFF) < 0x100)
        return (int)ceilf((float)log2((double)x));
    return exponent + 1;
}

/* The magnitude that x >= 0 is rounded to. */
static inline vector rounded(vector x)
{
#if !HAS_TABLE
    vector q = { 0 };
    for (size_t s = 0; s < 7; s++)
        q += (vector)((x > boundary[s]) & (integers)all(step[s]));
    return q;
#else
    vector table;                               /* all eight fit a register */
    integers code = { 0 };
    for (size_t i = 0; i < LANES; i++)
        table[i] = magnitude[i % 8];
    for (size_t s = 0; s < 7; s++)
        code -= x > boundary[s];
    return __builtin_shuffle(table, code);
#endif
}

/* Squared error of element j of each block at the scales 2^k. */
static inline vector error_of(size_t j, vector scale, vector inverse, const vector *w,
                              const vector *importance)
{
    vector x = size(w[j]), e = rounded(x * inverse) * scale - x;
    return importance ? e * e * importance[j] : e * e;
}

/* Mean squared error of each block at the scales 2^k, summed as torch does: lane by lane, then the
 * lanes. */
static inline vector error_at(integers k, const vector *w, const vector *importance)
{
    vector total = { 0 }, scale = power(k), inverse = power(-k);
    for (size_t lane = 0; lane < TORCH_LANES; lane++) {
        vector sum = error_of(lane, scale, inverse, w, importance);
        for (size_t j = lane + TORCH_LANES; j < N; j += TORCH_LANES)
            sum += error_of(j, scale, inverse, w, importance);
        total = lane ? total + sum : sum;
    }
    return total / (float)N;
}

/* The first of the least errors; *near: what is not, but might be. */
static integers choose(integers *near, integers base, const vector *error)
{
    vector least = error[0], limit;
    integers best = { 0 };
    for (int32_t c = 1; c < CANDIDATES; c++) {
        integers better = error[c] < least;
        least = select(better, error[c], least);
        best = (best & ~better) | (better & c);
    }
    limit = least * (1 + MXFP4_UNDECIDED);
    *near = (integers){ 0 };
    for (int32_t c = 0; c < CANDIDATES; c++)
        *near |= (best != c) & (least > 0) & (error[c] <= limit);
    return base + best;
}

static integers exponents(struct mxfp4_blocks *b, size_t n, vector anchor, vector maximum,
                          const vector *w, const vector *importance)
{
    integers base, near, k;
    vector error[CANDIDATES], over;
    anchor /= 6;
    for (size_t i = 0; i < LANES; i++)
        base[i] = floor_log2(anchor[i]) - 1;
    for (int32_t c = 0; c < CANDIDATES; c++)
        error[c] = error_at(base + c, w, importance);
    k = choose(&near, base, error);
    over = maximum * power(-k);
    for (size_t i = 0; i < n; i++) {
        b->undecided += near[i] != 0;
        if (over[i] > 6) {
            int safe = ceil_log2(maximum[i] / 6);
            k[i] = k[i] < safe - 1 ? safe : k[i];
        }
    }
    return k;
}

/* ---- the codes and out -------------------------------------------------------------- */

static inline integers code_of(vector scaled)
{
    integers code = (scaled < 0) & 8;
    vector x = size(scaled);
    for (size_t s = 0; s < 7; s++)
        code -= x > boundary[s];
    return code;
}

static void encode(struct mxfp4_blocks *b, size_t at, size_t n, const vector *w, integers k)
{
    integers word[N / 8];                       /* eight codes, the first in the lowest bits */
    vector inverse = power(-k);
    for (size_t i = 0; i < N / 8; i++) {
        word[i] = code_of(w[8 * i] * inverse);
        for (int32_t j = 1; j < 8; j++)
            word[i] |= code_of(w[8 * i + (size_t)j] * inverse) << 4 * j;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < N / 2; j++)
            b->packed[(at + i) * N / 2 + j] = (uint8_t)((uint32_t)word[j / 4][i] >> 8 * (j % 4));
        b->scale[at + i] = (uint8_t)(k[i] + 127);
    }
}

/* importance: NULL, or room for that of a block. */
static inline void quantize(struct mxfp4_blocks *b, vector *importance)
{
    vector w[N], maximum;
    for (size_t at = 0; at < b->n; at += LANES) {
        size_t n = b->n - at < LANES ? b->n - at : LANES;
        load(w, importance, b, at, n);
        vector anchor = anchor_of(&maximum, w, &b->anchor);
        integers is_zero = anchor < 1e-6f;
        anchor = select(is_zero, all(1e-6f), anchor);
        maximum = select(is_zero, all(0), maximum);
        for (size_t j = 0; j < N; j++)
            w[j] = select(is_zero, all(0), w[j]);
        encode(b, at, n, w, exponents(b, n, anchor, maximum, w, importance));
    }
}

void MXFP4_BLOCKS(struct mxfp4_blocks *b)
{
    vector importance[N];
    quantize(b, b->importance ? importance : NULL);
}
