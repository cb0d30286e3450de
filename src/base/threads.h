/* threads.h - starts the threads of parallel regions early, where a failure can be reported.
 *
 * OpenMP starts them in the first parallel region, and libgomp ends the process when it cannot:
 * under `ulimit -u`, in a container with few pids, or without address space for stacks. */
#ifndef SURPRISAL_BASE_THREADS_H
#define SURPRISAL_BASE_THREADS_H

#include <stdbool.h>

#include "base/error.h"

/* Starts the threads for parallel regions of n threads, the calling thread included, and checks
 * that the caller can start `more` threads of its own (pthread_create).  If not, the error names
 * the number that is possible. */
bool threads_start(int n, int more, struct error *err);

#endif
