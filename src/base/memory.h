/* memory.h - checked allocation, a growing byte buffer, and the scratch arena.
 *
 * Only these functions multiply sizes from files: size_product refuses to overflow, and mem_array
 * fails with a message instead of giving a block that is too small. */
#ifndef SURPRISAL_BASE_MEMORY_H
#define SURPRISAL_BASE_MEMORY_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* *out = a * b; false (and *out untouched) on overflow. */
bool size_product(size_t *out, size_t a, size_t b);
/* *out = a + b; the same. */
bool size_sum(size_t *out, size_t a, size_t b);
/* a + b, or SIZE_MAX on overflow: memory that cannot be had. */
size_t size_total(size_t a, size_t b);

static inline size_t size_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

static inline size_t size_max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Gives n * size zeroed bytes, aligned for any type.  `what` names the purpose in the error.
 * n * size == 0 gives a block that may be freed but not read. */
void *mem_array(size_t n, size_t size, const char *what, struct error *err);
/* Grows *block (elements of `size` bytes) to hold at least `needed` elements, doubling.  The
 * new part is not zeroed; on failure *block and *capacity are unchanged. */
bool mem_grow(void *block, size_t *capacity, size_t needed, size_t size, const char *what,
              struct error *err);
/* Gives a copy of a string. */
char *mem_string(const char *s, struct error *err);

/* ---- growing byte buffer --------------------------------------------- */

/* Zero-initialise; owns data; release with buffer_free.  data is NUL-terminated after each append
 * (the NUL does not count in size). */
struct buffer {
    char *data;
    size_t size, capacity;
};

bool buffer_append(struct buffer *b, const void *bytes, size_t n, struct error *err);
bool buffer_printf(struct buffer *b, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool buffer_vprintf(struct buffer *b, struct error *err, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));
void buffer_free(struct buffer *b);

/* ---- scratch arena ---------------------------------------------------- */

/* One block, handed out in 64-byte aligned pieces and reset as a whole, so that nothing is
 * allocated inside a layer.  An arena without a block only measures: arena_take returns NULL, and
 * `peak` is the size that the block must have.  So one piece of code both takes the buffers and
 * states their size.
 *
 * The block is a mapping of its own, so that freeing it returns all of it to the system; the heap
 * would keep blocks smaller than the largest one freed so far (mallopt(3), M_MMAP_THRESHOLD).  An
 * unreadable page follows it. */
struct arena {
    char *block;        /* owned; NULL while measuring */
    size_t size;        /* bytes of it that were measured */
    size_t used, peak;
    char *mapping;      /* owned: the block, padding, the page after it */
    size_t mapping_bytes, capacity;     /* of block */
};

/* 64-byte aligned n * size bytes, not zeroed; NULL while measuring.  Asking for more than was
 * measured is a mistake in the program, and ends the process with a message (abort, with NDEBUG
 * too). */
void *arena_take(struct arena *a, size_t n, size_t size);
/* Allocates a block of the measured peak. */
bool arena_allocate(struct arena *a, struct error *err);
/* The same, with a size that another arena has measured.  A block that is large enough is kept;
 * everything taken from it is returned. */
bool arena_reserve(struct arena *a, size_t size, struct error *err);
void arena_free(struct arena *a);

#endif
