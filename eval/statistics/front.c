#include "eval/statistics/front.h"

#include <math.h>

static bool is_known(const struct front_point *p)
{
    return isfinite(p->bytes) && isfinite(p->kld);
}

static bool dominates(const struct front_point *x, const struct front_point *y)
{
    return is_known(x) && x->bytes <= y->bytes && x->kld <= y->kld
        && (x->bytes < y->bytes || x->kld < y->kld);
}

/* Is x the better choice among dominators? */
static bool is_better(const struct front_point *x, const struct front_point *y)
{
    return x->kld < y->kld || (x->kld == y->kld && x->bytes < y->bytes);
}

size_t front_dominator(const struct front_point *points, size_t n, size_t of)
{
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (dominates(&points[i], &points[of]) && (best == n || is_better(&points[i],
                                                                          &points[best])))
            best = i;
    return best;
}

bool front_holds(const struct front_point *points, size_t n, size_t of)
{
    return is_known(&points[of]) && front_dominator(points, n, of) == n;
}

double front_bytes(const struct front_point *points, size_t n, size_t of)
{
    /* The front's neighbours: the smallest file with at most this divergence, and of the files
     * that are smaller still, the one with the least divergence. */
    const struct front_point *at = &points[of], *below = NULL, *above = NULL;
    for (size_t i = 0; is_known(at) && i < n; i++) {
        const struct front_point *p = &points[i];
        if (i != of && is_known(p) && p->kld <= at->kld
            && (!below || p->bytes < below->bytes
                || (p->bytes == below->bytes && p->kld < below->kld)))
            below = p;
    }
    if (!below || below->kld == at->kld)
        return below ? below->bytes : (double)NAN;
    for (size_t i = 0; i < n; i++) {
        const struct front_point *p = &points[i];
        if (i != of && is_known(p) && p->kld > at->kld && p->bytes < below->bytes
            && (!above || is_better(p, above)))
            above = p;
    }
    if (!above || !(below->kld > 0))
        return (double)NAN;
    double share = log(at->kld / below->kld) / log(above->kld / below->kld);
    return below->bytes + share * (above->bytes - below->bytes);
}
