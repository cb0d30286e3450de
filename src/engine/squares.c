#include "engine/squares.h"

double squares_of_difference(const float *u, const float *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double d = v ? (double)u[i] - (double)v[i] : (double)u[i];
        sum += d * d;
    }
    return sum;
}

void squares_add(double *sums, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sums[i] += (double)x[i] * (double)x[i];
}
