/* threads.h - the threads of parallel regions, started where that can fail.
 *
 * OpenMP starts them in the first parallel region, and libgomp ends the process when it cannot: under
 * `ulimit -u`, in a container with few pids, or without address space for their stacks. */
#ifndef SURPRISAL_BASE_THREADS_H
#define SURPRISAL_BASE_THREADS_H

#include <stdbool.h>

#include "error.h"

/* Starts n threads, the calling one among them, for its parallel regions of n threads.  `more` of the
 * caller's own (pthread_create) shall be possible beside them.  Or says that it cannot be done, and
 * how many could be had. */
bool threads_start(int n, int more, struct error *err);

#endif
