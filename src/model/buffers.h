/* buffers.h - how the modules of the model get their memory.
 *
 * Each module has a struct of its buffers, `struct x_buffers`, and one function that takes them
 * from an arena, x_buffers_take.  Nothing else in the model takes memory: forward functions get
 * filled structs.  On an arena that only measures (base/memory.h) the same functions say how much
 * memory a step needs.
 *
 * Buffers of steps that follow each other may lie in the same place:
 *
 *     struct overlay o = overlay_begin(a);
 *     b.first = first_buffers_take(a, ...);
 *     overlay_next(&o, a);
 *     b.second = second_buffers_take(a, ...);
 *     overlay_end(&o, a);
 *
 * after which nothing of b.first may be used once b.second is. */
#ifndef SURPRISAL_MODEL_BUFFERS_H
#define SURPRISAL_MODEL_BUFFERS_H

#include <omp.h>
#include <stddef.h>

#include "base/memory.h"

struct overlay {
    size_t begin, end;              /* of what its steps take */
};

static inline struct overlay overlay_begin(const struct arena *a)
{
    return (struct overlay){ a->used, a->used };
}

static inline void overlay_next(struct overlay *o, struct arena *a)
{
    o->end = size_max(o->end, a->used);
    a->used = o->begin;
}

static inline void overlay_end(struct overlay *o, struct arena *a)
{
    a->used = size_max(o->end, a->used);
}

/* A multiple of a cache line, so that two buffers share none. */
static inline size_t buffer_bytes(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* A buffer for each thread. */
struct thread_buffers {
    char *first;
    size_t bytes;                   /* from one thread's to the next one's */
};

static inline struct thread_buffers thread_buffers_take(struct arena *a, int n_threads, size_t n,
                                                        size_t size)
{
    size_t bytes = buffer_bytes(n * size);
    return (struct thread_buffers){ arena_take(a, (size_t)n_threads, bytes), bytes };
}

/* The calling thread's. */
static inline void *thread_buffer(const struct thread_buffers *b)
{
    return b->first + (size_t)omp_get_thread_num() * b->bytes;
}

#endif
