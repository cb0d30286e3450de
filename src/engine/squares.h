/* squares.h - sums of squares of f32 values in double, one after the other. */
#ifndef SURPRISAL_ENGINE_SQUARES_H
#define SURPRISAL_ENGINE_SQUARES_H

#include <stddef.h>

/* Of u - v (of u when v is NULL), both [n]. */
double squares_of_difference(const float *u, const float *v, size_t n);

#define SQUARES_CHANNELS ((size_t)64)   /* that are added to at a time */
/* sums [n] += x^2. */
void squares_add(double *sums, const float *x, size_t n);

#endif
