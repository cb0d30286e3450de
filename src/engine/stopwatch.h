/* stopwatch.h - how long a piece of work takes. */
#ifndef SURPRISAL_ENGINE_STOPWATCH_H
#define SURPRISAL_ENGINE_STOPWATCH_H

/* Seconds of one call of work(user): it is called at least once and for `seconds`, three times
 * over, and the best of the three averages counts, since what else the machine does only adds. */
double stopwatch_best(void (*work)(void *user), void *user, double seconds);

#endif
