/* stream.h - weights come in from disk ahead of their use and go out behind it.
 *
 * What a pass reads is a list of parts in the order of use; each is a few ranges of mapped files.
 * A thread of its own brings parts into memory, in order, as long as all that are in memory (read
 * but not yet done with) stay within a number of bytes; the part that is asked for comes in any
 * case.  So the disk works while the processors compute, and memory holds the next parts only.
 *
 * Weights stay valid before and after: to touch one outside its time only costs a read. */
#ifndef SURPRISAL_ENGINE_STREAM_H
#define SURPRISAL_ENGINE_STREAM_H

#include "base/error.h"
#include "base/file.h"

struct stream_range {
    const struct mapped_file *file;     /* borrowed */
    size_t offset, n;
};

struct stream_parts {
    struct stream_range *ranges;        /* [begin[n_parts]] */
    size_t *begin;                      /* [n_parts + 1]: part p has ranges [begin[p], begin[p + 1]) */
    size_t n_parts;
};

size_t stream_part_bytes(const struct stream_parts *parts, size_t part);

struct stream_options {
    size_t ahead_bytes;
    bool evict;                         /* out of the system's cache too */
    /* Called in the reading thread for each range, in order, when it is in memory, at most a few
     * megabytes at a time; false stops the stream.  May be NULL. */
    bool (*seen)(void *user, const uint8_t *data, size_t n, struct error *err);
    void *user;
};

struct stream;

/* parts stay borrowed; reading starts at `first_part`. */
struct stream *stream_open(const struct stream_parts *parts, size_t first_part,
                           const struct stream_options *options, struct error *err);
/* Stops the thread and gives back what is in memory.  NULL is fine. */
void stream_close(struct stream *s);

/* Waits until a part is in memory; parts are asked for in ascending order.  An error is that of the
 * file or of `seen`. */
bool stream_need(struct stream *s, size_t part, struct error *err);
/* The part is done with. */
void stream_done(struct stream *s, size_t part);

/* Bytes brought into memory so far. */
size_t stream_bytes(struct stream *s);

#endif
