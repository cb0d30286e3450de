/* progress.h - progress reports of long work, and requests to stop it.
 *
 * The library never prints: it calls report() between pieces of work.  The report() of the command
 * line draws a line on a terminal; that of a test counts. */
#ifndef SURPRISAL_BASE_PROGRESS_H
#define SURPRISAL_BASE_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct progress {
    /* stage: the current step ("layer 3 of 40").  done, total: work units of the whole job, called
     * `unit` ("tokens"); total is 0 when unknown.  Returns false to stop the work, which then fails
     * with err->interrupted set. */
    bool (*report)(void *user, const char *stage, double done, double total, const char *unit);
    /* A warning that does not stop the work: one line, no newline. */
    void (*warn)(void *user, const char *message);
    void *user;
};

/* Converts another struct with these members: surprisal.h has one under a name of its own. */
#define PROGRESS_OF(p) \
    ((struct progress){ .report = (p)->report, .warn = (p)->warn, .user = (p)->user })

/* Calls p->report if there is one (p may be NULL).  False, with an error, when the work is to
 * stop. */
bool progress_report(const struct progress *p, const char *stage, double done, double total,
                     const char *unit, struct error *err);

#endif
