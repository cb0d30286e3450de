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

bool stopwatch_agreed(struct stopwatch_agreement *a, double took)
{
    const double within = 1.03;
    const int most = a->seconds > 0 ? 12 : STOPWATCH_ROUNDS;
    a->next = a->rounds > 0 ? fmin(a->next, fmax(a->best, took)) : INFINITY;
    a->best = a->rounds > 0 ? fmin(a->best, took) : took;
    return a->next <= within * a->best || ++a->rounds >= most;
}

double stopwatch_confirmed(void (*work)(void *user), void *user, double seconds)
{
    struct stopwatch_agreement a = { .seconds = seconds };
    while (!stopwatch_agreed(&a, stopwatch_round(work, user, seconds)))
        ;
    return a.best;
}
