/* stopwatch.h - the time that a piece of work takes. */
#ifndef SURPRISAL_ENGINE_STOPWATCH_H
#define SURPRISAL_ENGINE_STOPWATCH_H

/* Seconds of one call of work(user): the average of the calls in `seconds`, at least one. */
double stopwatch_round(void (*work)(void *user), void *user, double seconds);

#define STOPWATCH_ROUNDS 3
/* The minimum of the rounds: other load only adds time. */
double stopwatch_best(void (*work)(void *user), void *user, double seconds);

#endif
