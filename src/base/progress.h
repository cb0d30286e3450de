/* progress.h - how long work reports on itself and is asked to stop.
 *
 * The library never prints: it calls report() between pieces of work.  The command line gives a
 * report() that draws a line on a terminal; a test gives one that counts. */
#ifndef SURPRISAL_BASE_PROGRESS_H
#define SURPRISAL_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct progress {
    /* stage: what is going on ("layer 3 of 40"); done of total: work units of the whole job,
     * with `unit` their name ("tokens"), or total == 0 when it cannot be said.  Returns false to
     * stop the work, which then fails with err->interrupted set. */
    bool (*report)(void *user, const char *stage, double done, double total, const char *unit);
    /* A warning that does not stop the work: one line, no newline. */
    void (*warn)(void *user, const char *message);
    void *user;
};

/* The same of a record with these members, which surprisal.h has under a name of its own. */
#define PROGRESS_OF(p) \
    ((struct progress){ .report = (p)->report, .warn = (p)->warn, .user = (p)->user })

/* Reports where there is a report (p may be NULL).  False, with the error, when the work is to stop. */
bool progress_report(const struct progress *p, const char *stage, double done, double total,
                     const char *unit, struct error *err);

#endif
