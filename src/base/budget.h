/* budget.h - the memory budget of the whole process: what is left of it, and refusals.
 *
 * A refusal names a budget that suffices for the process, as the user can type it (25M).  What a
 * process holds before its work varies from run to run by some 300 KB: the loader places files
 * elsewhere, the heap has other holes.  So the named budget has a margin and suffices in every
 * run. */
#ifndef SURPRISAL_BASE_BUDGET_H
#define SURPRISAL_BASE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

struct budget {
    size_t bytes;               /* of the process; SIZE_MAX: no limit */
    size_t held_bytes;          /* held already, by everybody but the caller */
    size_t reached_bytes;       /* the most that the process has held until now */
};

/* Bytes that may still be taken; SIZE_MAX: no limit. */
size_t budget_left(const struct budget *b);
/* The budget that the process needs to take `bytes` more. */
size_t budget_needed(const struct budget *b, size_t bytes);
/* Do `bytes` more fit into the budget?  If not, the error ends in "WHAT needs 25M in all", where
 * `what` says who needs it. */
bool budget_check(const struct budget *b, size_t bytes, struct error *err, const char *what, ...)
    __attribute__((format(printf, 4, 5)));
/* Will the budget suffice for work that needs this much in all, and that checks only later, when
 * the process may hold a little more?  If not, an error of the same form. */
bool budget_check_ahead(size_t budget, size_t needed, struct error *err, const char *what);

/* What the process holds now, and a reserve for what grows during the work: stacks, results. */
size_t budget_held_now(void);

#endif
