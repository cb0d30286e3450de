#include "eval/statistics/holm.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

static int by_value(const void *a, const void *b)
{
    double x = **(double *const *)a, y = **(double *const *)b;
    return (x > y) - (x < y);
}

bool holm_adjust(double *p, size_t n, struct error *err)
{
    double **tests = mem_array(n, sizeof *tests, "p-values", err), least = 0;
    size_t m = 0;
    if (!tests)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isnan(p[i]))
            tests[m++] = &p[i];
    qsort(tests, m, sizeof *tests, by_value);
    for (size_t i = 0; i < m; i++) {
        least = fmax(least, fmin(1, (double)(m - i) * *tests[i]));
        *tests[i] = least;
    }
    free(tests);
    return true;
}
