/* stream.h - reads weights from disk before their use and releases them after it.
 *
 * A pass reads a list of parts in the order of their use; each part is a few ranges of mapped
 * files.  A separate thread reads the parts into memory, in order, as long as all parts in memory
 * (read but not yet released) fit in ahead_bytes; a part that stream_need waits for is read in any
 * case.  So the disk works while the processors compute, and memory holds only the next parts.
 *
 * Pointers to weights are always valid: access to a part that is not in memory only costs a
 * read. */
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
    size_t *begin;                      /* [n_parts + 1]: part p has ranges from begin[p] up to
                                           begin[p + 1] */
    size_t n_parts;
};

size_t stream_part_bytes(const struct stream_parts *parts, size_t part);
/* Of parts [begin, end). */
size_t stream_parts_bytes(const struct stream_parts *parts, size_t begin, size_t end);
/* Lets go of its pages; evict: they also leave the system's cache. */
void stream_part_release(const struct stream_parts *parts, size_t part, bool evict);

struct stream_options {
    size_t ahead_bytes;
    bool evict;                         /* released parts also leave the system's cache */
    /* Called in the reading thread with the bytes of each range, in order, at most a few megabytes
     * at a time; false stops the stream.  May be NULL. */
    bool (*seen)(void *user, const uint8_t *data, size_t n, struct error *err);
    void *user;
};

struct stream;

/* parts stay borrowed; reading starts at `first_part`. */
struct stream *stream_open(const struct stream_parts *parts, size_t first_part,
                           const struct stream_options *options, struct error *err);
/* Stops the thread and releases all parts.  NULL is fine. */
void stream_close(struct stream *s);

/* Waits until a part is in memory; call it for parts in ascending order.  Fails with the error of
 * the file or of `seen`. */
bool stream_need(struct stream *s, size_t part, struct error *err);
/* Releases the part. */
void stream_done(struct stream *s, size_t part);

/* Bytes brought into memory so far. */
size_t stream_bytes(struct stream *s);

#endif
