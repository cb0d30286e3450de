#include "engine/stopwatch.h"

#include <math.h>
#include <time.h>

double stopwatch_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double stopwatch_best(void (*work)(void *user), void *user, double seconds)
{
    double best = INFINITY;
    for (int round = 0; round < 3; round++) {
        double start = stopwatch_now(), now, calls = 0;
        do {
            work(user);
            calls++;
            now = stopwatch_now();
        } while (now - start < seconds);
        best = fmin(best, (now - start) / calls);
    }
    return best;
}
