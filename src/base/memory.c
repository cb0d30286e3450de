#include "base/memory.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/format.h"

bool size_product(size_t *out, size_t a, size_t b)
{
    size_t product;                     /* the builtin writes even what overflowed */
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

bool size_sum(size_t *out, size_t a, size_t b)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

size_t size_total(size_t a, size_t b)
{
    size_t total;
    return size_sum(&total, a, b) ? total : SIZE_MAX;
}

void *mem_array(size_t n, size_t size, const char *what, struct error *err)
{
    void *block = calloc(n ? n : 1, size ? size : 1);
    if (!block)
        error_lack(err, "out of memory: %zu x %zu bytes for %s", n, size, what);
    return block;
}

bool mem_grow(void *block, size_t *capacity, size_t needed, size_t size, const char *what,
              struct error *err)
{
    void **p = block;
    if (needed <= *capacity)
        return true;
    size_t target = *capacity ? *capacity : 16;
    while (target < needed)
        if (!size_product(&target, target, 2))
            return error_lack(err, "out of memory: %zu elements for %s", needed, what);
    size_t bytes;
    void *grown = size_product(&bytes, target, size) ? realloc(*p, bytes) : NULL;
    if (!grown)
        return error_lack(err, "out of memory: %zu x %zu bytes for %s", target, size, what);
    *p = grown;
    *capacity = target;
    return true;
}

char *mem_string(const char *s, struct error *err)
{
    char *copy = strdup(s);
    if (!copy)
        error_lack(err, "out of memory: %zu bytes for a string", strlen(s));
    return copy;
}

bool buffer_append(struct buffer *b, const void *bytes, size_t n, struct error *err)
{
    size_t needed;
    if (!size_sum(&needed, b->size, n) || !size_sum(&needed, needed, 1))
        return error_lack(err, "out of memory: text of %zu bytes", n);
    if (!mem_grow(&b->data, &b->capacity, needed, 1, "text", err))
        return false;
    if (n)
        memcpy(b->data + b->size, bytes, n);
    b->size += n;
    b->data[b->size] = '\0';
    return true;
}

bool buffer_vprintf(struct buffer *b, struct error *err, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = format_text_v(NULL, 0, format, again);
    va_end(again);
    size_t needed;
    if (n < 0 || !size_sum(&needed, b->size, (size_t)n + 1))
        return error_set(err, "cannot format a text");
    if (!mem_grow(&b->data, &b->capacity, needed, 1, "text", err))
        return false;
    format_text_v(b->data + b->size, (size_t)n + 1, format, args);
    b->size += (size_t)n;
    return true;
}

bool buffer_printf(struct buffer *b, struct error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool ok = buffer_vprintf(b, err, format, args);
    va_end(args);
    return ok;
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){ 0 };
}

#define ARENA_ALIGN ((size_t)64)

/* The caller takes more than it measured.  Aborts in every build: going on would overwrite other
 * data. */
static _Noreturn void overrun(size_t end, size_t size)
{
    fprintf(stderr, "surprisal: %zu bytes of scratch space are used, but %zu were measured: a "
            "mistake in the program\n", end, size);
    abort();
}

void *arena_take(struct arena *a, size_t n, size_t size)
{
    size_t bytes, end;
    bool fits = size_product(&bytes, n, size) && size_sum(&bytes, bytes, ARENA_ALIGN - 1)
             && size_sum(&end, a->used, bytes & ~(ARENA_ALIGN - 1));
    if (!fits)
        end = SIZE_MAX & ~(ARENA_ALIGN - 1);    /* measured as more than any block can be */
    if (a->block && end > a->size)
        overrun(end, a->size);
    void *piece = a->block ? a->block + a->used : NULL;
    a->used = end;
    if (a->peak < a->used)
        a->peak = a->used;
    return piece;
}

static void arena_unmap(struct arena *a)
{
    if (a->mapping)
        munmap(a->mapping, a->mapping_bytes);
    a->block = a->mapping = NULL;
}

static bool map_block(struct arena *a, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), rounded, bytes;
    if (!size_sum(&rounded, size, page + ARENA_ALIGN) || !size_sum(&bytes, rounded, page))
        return false;
    rounded = rounded / page * page;
    bytes = rounded + page;
    char *mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED)
        return false;
    mprotect(mapping + rounded, page, PROT_NONE);
    size_t capacity = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
    *a = (struct arena){ .block = mapping + rounded - capacity, .capacity = capacity,
                         .peak = a->peak, .mapping = mapping, .mapping_bytes = bytes };
    return true;
}

bool arena_reserve(struct arena *a, size_t size, struct error *err)
{
    if (!a->block || a->capacity < size) {
        arena_unmap(a);
        if (!map_block(a, size))
            return error_lack(err, "out of memory: %zu bytes of scratch space", size);
    }
    a->size = size;
    a->used = 0;
    return true;
}

bool arena_allocate(struct arena *a, struct error *err)
{
    return arena_reserve(a, a->peak, err);
}

void arena_free(struct arena *a)
{
    arena_unmap(a);
    *a = (struct arena){ 0 };
}
