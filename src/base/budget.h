/* budget.h - a memory budget, which is the whole process's: what is left of it, and refusals.
 *
 * A refusal names a budget that suffices, of the process, as it can be typed (25M).  What a process
 * holds before its work is not the same in each of its runs (the loader places files elsewhere, the
 * heap has other holes), by some 300 KB: so a budget that is named has a margin, and one that was named
 * is enough every time. */
#ifndef SURPRISAL_BASE_BUDGET_H
#define SURPRISAL_BASE_BUDGET_H

#include <stdbool.h>
#include <stddef.h>

#include "error.h"

struct budget {
    size_t bytes;               /* of the process; SIZE_MAX: no limit */
    size_t held_bytes;          /* of these, by others than the one who asks */
    size_t reached_bytes;       /* that the process has held at some time on the way to here */
};

/* SIZE_MAX: all that there is. */
size_t budget_left(const struct budget *b);
/* Of the process: this much beside what is held. */
size_t budget_needed(const struct budget *b, size_t bytes);
/* Does this much fit, beside what is held?  If not, an error that ends in "needs 25M in all", before
 * which stands what needs it. */
bool budget_check(const struct budget *b, size_t bytes, struct error *err, const char *what, ...)
    __attribute__((format(printf, 4, 5)));
/* Will a budget be enough for what needs this much of the process in all, and looks itself only later,
 * when the process may hold a little more?  If not, an error of the same form. */
bool budget_check_ahead(size_t budget, size_t needed, struct error *err, const char *what);

/* What a process holds now and what will grow beside the work: stacks, results. */
size_t budget_held_now(void);

#endif
