/* front.h - the Pareto front of candidates by two costs, size and divergence: those to which no
 * other is preferable.
 *
 * x dominates y if neither cost of x is above that of y and one is below it; so twins are both on
 * the front.  Between two neighbours of the front, the size for a divergence k is interpolated on a
 * straight line of size over log k, as bits a weight and the logarithm of KL divergence are related
 * where quantization errors are small. */
#ifndef SURPRISAL_EVAL_STATISTICS_FRONT_H
#define SURPRISAL_EVAL_STATISTICS_FRONT_H

#include <stdbool.h>
#include <stddef.h>

/* A point with a cost that is not finite is on no front. */
struct front_point {
    double bytes, kld;
};

bool front_holds(const struct front_point *points, size_t n, size_t of);
/* Of those that dominate the point, the one with the least divergence, then the fewest bytes, then
 * the lowest index; n: none does. */
size_t front_dominator(const struct front_point *points, size_t n, size_t of);
/* The bytes at which the front of all points but this one has its divergence; NaN outside of that
 * front's range, and where the neighbour below has no divergence (log 0). */
double front_bytes(const struct front_point *points, size_t n, size_t of);

#endif
