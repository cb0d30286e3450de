#include "engine/stopwatch.h"

#include <math.h>

#include "base/machine.h"

double stopwatch_best(void (*work)(void *user), void *user, double seconds)
{
    double best = INFINITY;
    for (int round = 0; round < 3; round++) {
        double start = machine_seconds(), now, calls = 0;
        do {
            work(user);
            calls++;
            now = machine_seconds();
        } while (now - start < seconds);
        best = fmin(best, (now - start) / calls);
    }
    return best;
}
