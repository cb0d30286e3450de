/* warnings.h - the warnings of a job, kept for its summary while its caller gets them too, each
 * once. */
#ifndef SURPRISAL_EVAL_RUN_WARNINGS_H
#define SURPRISAL_EVAL_RUN_WARNINGS_H

#include "base/json.h"
#include "base/memory.h"
#include "surprisal.h"

#define WARNINGS_KEPT 100               /* more are told, but not kept */

/* The members borrow from one another, so the struct stays where it is. */
struct warnings {
    struct buffer lines;                /* owned: each with a NUL; no line twice */
    size_t n;
    struct surprisal_progress to;       /* the caller's */
    struct surprisal_progress progress; /* for the job to report to */
};

void warnings_begin(struct warnings *w, const struct surprisal_progress *to);
void warnings_free(struct warnings *w);
/* The line after `line`, the first for NULL; NULL after the last.  w NULL: there are none. */
const char *warnings_next(const struct warnings *w, const char *line);
/* Adds the member `warnings`: a list of the lines. */
void warnings_add_json(cJSON *object, const struct warnings *w);

#endif
