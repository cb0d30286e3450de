/* rates.h - how long a workload takes on this machine: a little of each of its kinds of work is
 * timed now, with the kernels, the threads and the weights that will do the work.
 *
 * That takes some tenths of a second at most, and some milliseconds where there is little work. */
#ifndef SURPRISAL_ENGINE_RATES_H
#define SURPRISAL_ENGINE_RATES_H

#include "engine/workload.h"

/* Seconds. */
struct rates_estimate {
    double kinds[WORKLOAD_KINDS];
    double products, packing;       /* of weights, x included; of the weights themselves */
    double reading;                 /* of weights, and hashing: what computing waits for */
    double total;                   /* 0: there was no memory to measure with */
};

/* most_bytes: of memory, that the measurement may take. */
struct rates_estimate rates_estimate(const struct workload *load, const struct compute *cm,
                                     const struct checkpoint *ck, size_t most_bytes);

#endif
