/* stopwatch.h - how long a piece of work takes. */
#ifndef SURPRISAL_ENGINE_STOPWATCH_H
#define SURPRISAL_ENGINE_STOPWATCH_H

/* Seconds of one call of work(user), the average of calls for `seconds`, one at least. */
double stopwatch_round(void (*work)(void *user), void *user, double seconds);

#define STOPWATCH_ROUNDS 3
/* The best of so many rounds, since what else the machine does only adds. */
double stopwatch_best(void (*work)(void *user), void *user, double seconds);

#endif
