/* stream.h - from mapped modules to the bytes of a shard: a few megabytes at a time, by all
 * threads.
 *
 * Files are read in order and ahead of the work, and pages are released after it, so that
 * memory does not depend on the size of anything.  Results do not depend on the number of
 * threads. */
#ifndef SURPRISAL_CONVERT_STREAM_H
#define SURPRISAL_CONVERT_STREAM_H

#include "base/progress.h"
#include "formats/checkpoint.h"
#include "convert/importance.h"
#include "convert/layout.h"

struct stream {
    /* Set by the caller; borrowed. */
    const struct checkpoint *ck;
    const struct layout *layout;
    const struct kernels *kn;
    struct mxfp4_rule rule;             /* of TASK_PACK */
    struct importance *importance;      /* NULL: none */
    int n_threads;
    const struct progress *progress;
    const char *stage;                  /* as the progress names it */
    size_t total_bytes;                 /* that all tasks read */

    size_t done_bytes;
    size_t blocks, undecided;           /* counted */
    size_t rounded;                     /* weights that BF16 does not hold */
    size_t ahead, ahead_bytes;          /* the next task to read ahead; what is under way */
    uint8_t *out;                       /* owned; a batch */
    size_t capacity;
};

/* Does the task, its bytes going to the shard that `w` writes.  A weight that is NaN or infinite,
 * or a scale that makes it so, is refused by name and place. */
bool stream_task(struct stream *s, size_t task, struct safetensors_writer *w, struct error *err);
/* Counts a task as done without doing it. */
void stream_skip(struct stream *s, size_t task);
void stream_free(struct stream *s);

#endif
