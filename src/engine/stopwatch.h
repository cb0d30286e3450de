/* stopwatch.h - the time that a piece of work takes. */
#ifndef SURPRISAL_ENGINE_STOPWATCH_H
#define SURPRISAL_ENGINE_STOPWATCH_H

#include <stdbool.h>

/* Seconds of one call of work(user): the average of the calls in `seconds`, at least one. */
double stopwatch_round(void (*work)(void *user), void *user, double seconds);

#define STOPWATCH_ROUNDS 3
/* The minimum of the rounds: other load only adds time. */
double stopwatch_best(void (*work)(void *user), void *user, double seconds);

/* Rounds until the two best agree within a few per cent (two on an idle machine), or until there
 * were many; of rounds of no length (seconds 0) a few.  Begin with that length alone set. */
struct stopwatch_agreement {
    double seconds;                 /* of a round */
    double best, next;
    int rounds;
};

/* Adds what a round took; true: no more are needed. */
bool stopwatch_agreed(struct stopwatch_agreement *a, double took);
/* The best of such rounds. */
double stopwatch_confirmed(void (*work)(void *user), void *user, double seconds);

#endif
