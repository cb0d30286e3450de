/* differ.h - two arrays that should be the same, or near: a failure says where they first are not.
 *
 *     fail NAME: element 17 of 4096 is 0.5 (0x1p-1), expected 0.25 (0x1p-2); 15 to 19: 1 1 0.5 1 1,
 *     expected 1 1 0.25 1 1; 3 differ, most of all 40 by 0.75
 *
 * (one line).  same_* compare and describe, check_* report, too.  `where` has DIFFER_TEXT bytes and
 * keeps the first difference that it is given: "" to begin with. */
#ifndef SURPRISAL_TESTS_DIFFER_H
#define SURPRISAL_TESTS_DIFFER_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "tests/check.h"

#define DIFFER_TEXT 1024
#define DIFFER_NEIGHBOURS ((size_t)2)       /* on each side of the first difference */

enum differ_type { DIFFER_F32, DIFFER_F64, DIFFER_I32, DIFFER_SIZE, DIFFER_BYTES };

struct differ_array {
    const void *at;
    enum differ_type type;
};

/* What still counts as the same; nothing set: the same bits.  Otherwise a NaN is like every other,
 * and like nothing else. */
struct differ_limit {
    double absolute;
    const double *each;         /* [n]: the same for each element by itself */
    double ulp;                 /* units in the last place of the f32 of larger magnitude, */
    float floor;                /* at least this */
};

__attribute__((unused))
static double differ_value(const struct differ_array *a, size_t i)
{
    switch (a->type) {
    case DIFFER_F32:  return (double)((const float *)a->at)[i];
    case DIFFER_F64:  return ((const double *)a->at)[i];
    case DIFFER_I32:  return (double)((const int32_t *)a->at)[i];
    case DIFFER_SIZE: return (double)((const size_t *)a->at)[i];
    default:          return (double)((const uint8_t *)a->at)[i];
    }
}

__attribute__((unused))
static bool differ_same_bits(const struct differ_array *a, const struct differ_array *b, size_t i)
{
    static const size_t sizes[] = { [DIFFER_F32] = 4, [DIFFER_F64] = 8, [DIFFER_I32] = 4,
                                    [DIFFER_SIZE] = sizeof(size_t), [DIFFER_BYTES] = 1 };
    size_t size = sizes[a->type];
    return memcmp((const char *)a->at + i * size, (const char *)b->at + i * size, size) == 0;
}

__attribute__((unused))
static bool differ_near(double found, double expected, const struct differ_limit *limit, size_t i)
{
    double off = fabs(found - expected);
    if (found == expected || isnan(found) || isnan(expected))
        return found == expected || (isnan(found) && isnan(expected));
    if (limit->ulp > 0) {
        float size = fmaxf(fmaxf(fabsf((float)found), fabsf((float)expected)), limit->floor);
        return off <= limit->ulp * ((double)nextafterf(size, INFINITY) - (double)size);
    }
    return off <= (limit->each ? limit->each[i] : limit->absolute);
}

/* Appends to a text of DIFFER_TEXT bytes, as far as it goes. */
__attribute__((format(printf, 2, 3), unused))
static void differ_put(char *text, const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, DIFFER_TEXT - used, format, args);
    va_end(args);
}

/* %.9g tells any two f32 apart, %.17g any two f64. */
__attribute__((unused))
static void differ_put_value(char *text, const struct differ_array *a, size_t i, bool in_hex)
{
    double x = differ_value(a, i);
    bool real = a->type == DIFFER_F32 || a->type == DIFFER_F64;
    if (real)
        differ_put(text, a->type == DIFFER_F32 ? "%.9g" : "%.17g", x);
    else
        differ_put(text, a->type == DIFFER_BYTES ? "0x%02llx" : "%lld", (long long)x);
    if (real && in_hex)
        differ_put(text, " (%a)", x);
}

__attribute__((unused))
static void differ_put_range(char *text, const struct differ_array *a, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        differ_put(text, " ");
        differ_put_value(text, a, i, false);
    }
}

__attribute__((unused))
static void differ_describe(char *where, const struct differ_array *found,
                            const struct differ_array *expected, size_t n, size_t first)
{
    size_t begin = first < DIFFER_NEIGHBOURS ? 0 : first - DIFFER_NEIGHBOURS;
    size_t end = n - first <= DIFFER_NEIGHBOURS ? n : first + DIFFER_NEIGHBOURS + 1;
    differ_put(where, "element %zu of %zu is ", first, n);
    differ_put_value(where, found, first, true);
    differ_put(where, ", expected ");
    differ_put_value(where, expected, first, true);
    differ_put(where, "; %zu to %zu:", begin, end - 1);
    differ_put_range(where, found, begin, end);
    differ_put(where, ", expected");
    differ_put_range(where, expected, begin, end);
}

__attribute__((unused))
static bool differ_compare(char *where, struct differ_array found, struct differ_array expected,
                           size_t n, const struct differ_limit *limit)
{
    bool bits =
        limit->absolute <= 0 && !limit->each && limit->ulp <= 0 && found.type == expected.type;
    size_t count = 0, first = 0, worst = 0;
    double most = -1;
    for (size_t i = 0; i < n; i++) {
        double x = differ_value(&found, i), y = differ_value(&expected, i);
        if (bits ? differ_same_bits(&found, &expected, i) : differ_near(x, y, limit, i))
            continue;
        double off = isnan(x) || isnan(y) ? INFINITY : fabs(x - y);
        first = count++ ? first : i;
        if (off > most) {
            most = off;
            worst = i;
        }
    }
    if (count && !where[0]) {
        differ_describe(where, &found, &expected, n, first);
        differ_put(where, "; %zu differ, most of all %zu by %.3g", count, worst, most);
    }
    return count == 0;
}

/* ---- the same bits ------------------------------------------------------------- */

__attribute__((unused))
static bool differ_same(char *where, const void *found, const void *expected, size_t n,
                        enum differ_type type)
{
    return differ_compare(where, (struct differ_array){ found, type },
                          (struct differ_array){ expected, type }, n, &(struct differ_limit){ 0 });
}

__attribute__((unused))
static bool differ_check_equal(const char *name, const void *found, const void *expected, size_t n,
                               enum differ_type type)
{
    char where[DIFFER_TEXT] = "";
    bool same = differ_same(where, found, expected, n, type);
    return check(same, name, "%s", where);
}

__attribute__((unused))
static bool same_f32(char *where, const float *found, const float *expected, size_t n)
{
    return differ_same(where, found, expected, n, DIFFER_F32);
}

__attribute__((unused))
static bool check_equal_f32(const char *name, const float *found, const float *expected, size_t n)
{
    return differ_check_equal(name, found, expected, n, DIFFER_F32);
}

__attribute__((unused))
static bool same_f64(char *where, const double *found, const double *expected, size_t n)
{
    return differ_same(where, found, expected, n, DIFFER_F64);
}

__attribute__((unused))
static bool check_equal_f64(const char *name, const double *found, const double *expected, size_t n)
{
    return differ_check_equal(name, found, expected, n, DIFFER_F64);
}

__attribute__((unused))
static bool same_i32(char *where, const int32_t *found, const int32_t *expected, size_t n)
{
    return differ_same(where, found, expected, n, DIFFER_I32);
}

__attribute__((unused))
static bool check_equal_i32(const char *name, const int32_t *found, const int32_t *expected,
                            size_t n)
{
    return differ_check_equal(name, found, expected, n, DIFFER_I32);
}

__attribute__((unused))
static bool same_size(char *where, const size_t *found, const size_t *expected, size_t n)
{
    return differ_same(where, found, expected, n, DIFFER_SIZE);
}

__attribute__((unused))
static bool check_equal_size(const char *name, const size_t *found, const size_t *expected,
                             size_t n)
{
    return differ_check_equal(name, found, expected, n, DIFFER_SIZE);
}

__attribute__((unused))
static bool same_bytes(char *where, const void *found, const void *expected, size_t n)
{
    return differ_same(where, found, expected, n, DIFFER_BYTES);
}

__attribute__((unused))
static bool check_equal_bytes(const char *name, const void *found, const void *expected, size_t n)
{
    return differ_check_equal(name, found, expected, n, DIFFER_BYTES);
}

/* ---- near ------------------------------------------------------------------------ */

/* A result in f32 against the formula in double. */
__attribute__((unused))
static bool near_f32(char *where, const float *found, const double *expected, size_t n,
                     double absolute)
{
    return differ_compare(where, (struct differ_array){ found, DIFFER_F32 },
                          (struct differ_array){ expected, DIFFER_F64 }, n,
                          &(struct differ_limit){ .absolute = absolute });
}

/* The same with a tolerance for each element. */
__attribute__((unused))
static bool near_each_f32(char *where, const float *found, const double *expected,
                          const double *each, size_t n)
{
    return differ_compare(where, (struct differ_array){ found, DIFFER_F32 },
                          (struct differ_array){ expected, DIFFER_F64 }, n,
                          &(struct differ_limit){ .each = each });
}

__attribute__((unused))
static bool near_f64(char *where, const double *found, const double *expected, size_t n,
                     double absolute)
{
    return differ_compare(where, (struct differ_array){ found, DIFFER_F64 },
                          (struct differ_array){ expected, DIFFER_F64 }, n,
                          &(struct differ_limit){ .absolute = absolute });
}

/* Against a twin in f32, in units in the last place of the larger magnitude, at least `floor`. */
__attribute__((unused))
static bool near_ulp_f32(char *where, const float *found, const float *expected, size_t n,
                         double ulp, float floor)
{
    return differ_compare(where, (struct differ_array){ found, DIFFER_F32 },
                          (struct differ_array){ expected, DIFFER_F32 }, n,
                          &(struct differ_limit){ .ulp = ulp, .floor = floor });
}

__attribute__((unused))
static bool check_near_f32(const char *name, const float *found, const double *expected, size_t n,
                           double absolute)
{
    char where[DIFFER_TEXT] = "";
    bool same = near_f32(where, found, expected, n, absolute);
    return check(same, name, "%s", where);
}

#endif
