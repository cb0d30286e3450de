/* machine.h - what this process may use: processors and memory. */
#ifndef SURPRISAL_BASE_MACHINE_H
#define SURPRISAL_BASE_MACHINE_H

#include <stddef.h>

/* Processors this process may run on (its affinity mask). */
int machine_processors(void);

/* Seconds of a clock that only goes forward. */
double machine_seconds(void);

/* Bytes of memory that can be taken without pushing others out: MemAvailable of /proc/meminfo,
 * less what a cgroup (v1 or v2) leaves.  0 when nothing is known. */
size_t machine_free_memory(void);

/* Bytes of memory that this process holds now, and the most that it has held; 0 when it cannot be
 * known.  (getrusage would begin with what the parent held before the exec.) */
size_t machine_resident_memory(void);
size_t machine_peak_memory(void);

/* Seconds that the threads of this process were ready to run while others had the processors; 0 when
 * it cannot be known. */
double machine_waited_seconds(void);

#endif
