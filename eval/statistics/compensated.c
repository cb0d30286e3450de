#include "eval/statistics/compensated.h"

#include <math.h>

void compensated_add(struct compensated *sum, double x)
{
    double total = sum->total + x;
    sum->correction += fabs(sum->total) >= fabs(x) ? (sum->total - total) + x
                                                   : (x - total) + sum->total;
    sum->total = total;
}

double compensated_value(const struct compensated *sum)
{
    return sum->total + sum->correction;
}
