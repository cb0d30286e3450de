/* nearest.h - the name that a misspelt one most likely stands for.
 *
 * By optimal string alignment distance: letters that are missing, added, replaced, or swapped with
 * their neighbour (Boytsov, "Indexing methods for approximate dictionary searching", 2011, section
 * 2.1).  Case does not count, and '_' is '-'.  The beginning of a name stands for that name. */
#ifndef SURPRISAL_CLI_NEAREST_H
#define SURPRISAL_CLI_NEAREST_H

#include <stddef.h>

/* Set word, n and cost = NEAREST_NONE; then try all names. */
struct nearest {
    const char *word;                   /* borrowed: [n], what was typed */
    size_t n;
    size_t cost;
    const char *name;                   /* borrowed: the best so far; NULL: none is near */
};

#define NEAREST_NONE ((size_t)-1)

/* Among equals the first that is tried stays. */
void nearest_try(struct nearest *best, const char *name);

#endif
