/* workspace.h - memory and steps of one job (reading a template, rendering a conversation, parsing
 * an answer), each with a limit, because templates and conversations come from strangers.
 *
 * Memory is freed as a whole.  Zero-initialise and set the limits; workspace_free also after a
 * failure. */
#ifndef SURPRISAL_CHAT_WORKSPACE_H
#define SURPRISAL_CHAT_WORKSPACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define WORKSPACE_STEPS ((size_t)10000000)      /* of one rendering (SERVE 4.4) */
#define WORKSPACE_BYTES ((size_t)512 << 20)     /* of its values */

struct workspace_block;
struct workspace {
    struct workspace_block *blocks;     /* owned */
    size_t bytes, bytes_limit;
    size_t steps, steps_limit;
};

/* Gives zeroed memory that lives as long as the workspace, aligned for any type; n > 0. */
void *workspace_take(struct workspace *w, size_t n, struct error *err);
/* Gives a copy of n bytes, and a NUL behind them. */
char *workspace_copy(struct workspace *w, const char *bytes, size_t n, struct error *err);
/* Counts one step, and one more for each 64 of `touched` (bytes or elements). */
bool workspace_step(struct workspace *w, size_t touched, struct error *err);
void workspace_free(struct workspace *w);

#endif
