/* threads.h - starts threads: one of the caller's own, and those of parallel regions early, where a
 * failure can be reported.
 *
 * OpenMP starts them in the first parallel region, and libgomp ends the process when it cannot:
 * under `ulimit -u`, in a container with few pids, or without address space for stacks. */
#ifndef SURPRISAL_BASE_THREADS_H
#define SURPRISAL_BASE_THREADS_H

#include <pthread.h>
#include <stdbool.h>

#include "base/error.h"

/* Starts a thread for run(user), to be joined.  It handles no signals: they are for the main
 * thread, which is the one that looks at them.  `what` names it in the error ("the thread that
 * reads weights"). */
bool threads_begin(pthread_t *thread, void *(*run)(void *), void *user, const char *what,
                   struct error *err);

/* Starts the threads for parallel regions of n threads, the calling thread included, and checks
 * that the caller can start `more` threads of its own (pthread_create).  If not, the error names
 * the number that is possible. */
bool threads_start(int n, int more, struct error *err);

#endif
