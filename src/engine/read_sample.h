/* read_sample.h - what reading weights costs here: a moment of it, timed. */
#ifndef SURPRISAL_ENGINE_READ_SAMPLE_H
#define SURPRISAL_ENGINE_READ_SAMPLE_H

#include "engine/stream.h"

/* Of a byte. */
struct read_rates {
    double map, hash;               /* processor seconds of the thread that reads */
    double disk;                    /* seconds of the disk; 0: nearly all is in the cache */
    double missing;                 /* share of the bytes that is not */
};

/* Looks at the first bytes of the parts, at most a 200th of them.  Pages that it touched are
 * released. */
bool read_sample(struct read_rates *rates, const struct stream_parts *parts, struct error *err);

#endif
