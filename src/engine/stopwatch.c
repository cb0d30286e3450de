#include "engine/stopwatch.h"

#include <math.h>

#include "base/machine.h"

double stopwatch_round(void (*work)(void *user), void *user, double seconds)
{
    double start = machine_seconds(), now, calls = 0;
    do {
        work(user);
        calls++;
        now = machine_seconds();
    } while (now - start < seconds);
    return (now - start) / calls;
}

double stopwatch_best(void (*work)(void *user), void *user, double seconds)
{
    double best = INFINITY;
    for (int round = 0; round < STOPWATCH_ROUNDS; round++)
        best = fmin(best, stopwatch_round(work, user, seconds));
    return best;
}
