/* machine.h - what this process may use: processors and memory. */
#ifndef SURPRISAL_BASE_MACHINE_H
#define SURPRISAL_BASE_MACHINE_H

#include <stddef.h>

/* Processors this process may run on (its affinity mask). */
int machine_processors(void);

/* Seconds of a clock that only goes forward. */
double machine_seconds(void);
/* Processor seconds of the calling thread: what others run beside it does not count. */
double machine_thread_seconds(void);

/* Bytes of memory that can be taken without pushing others out: MemAvailable of /proc/meminfo, or
 * what the cgroup (v1 or v2) leaves if that is less.  0 when unknown. */
size_t machine_free_memory(void);

/* Bytes of memory that this process holds now, and the most that it has held; 0 when unknown.
 * (getrusage would count what the parent held before the exec.) */
size_t machine_resident_memory(void);
size_t machine_peak_memory(void);
/* The most since machine_peak_memory() was `before`; 0: not known, as it has not held more
 * since. */
size_t machine_peak_memory_since(size_t before);

/* Seconds that threads of this process waited for a processor that other processes used; 0 when
 * unknown. */
double machine_waited_seconds(void);

#endif
