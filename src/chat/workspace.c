#include "chat/workspace.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define BLOCK_BYTES ((size_t)64 << 10)

struct workspace_block {
    struct workspace_block *next;
    size_t used, size;
    alignas(max_align_t) char data[];
};

static struct workspace_block *add_block(struct workspace *w, size_t n, struct error *err)
{
    size_t size = size_max(n, BLOCK_BYTES);
    struct workspace_block *b = mem_array(1, sizeof *b + size, "a template's values", err);
    if (!b)
        return NULL;
    b->size = size;
    /* A large block goes behind the current one, which may have room left. */
    bool behind = w->blocks && n > BLOCK_BYTES / 2;
    b->next = behind ? w->blocks->next : w->blocks;
    *(behind ? &w->blocks->next : &w->blocks) = b;
    return b;
}

void *workspace_take(struct workspace *w, size_t n, struct error *err)
{
    const size_t align = alignof(max_align_t);
    if (n > w->bytes_limit || w->bytes > w->bytes_limit - n) {
        error_set(err, "more than %zu MiB of memory are needed", w->bytes_limit >> 20);
        return NULL;
    }
    n = (n + align - 1) / align * align;
    struct workspace_block *b = w->blocks;
    if ((!b || b->size - b->used < n) && !(b = add_block(w, n, err)))
        return NULL;
    void *taken = b->data + b->used;
    b->used += n;
    w->bytes += n;
    return taken;
}

char *workspace_copy(struct workspace *w, const char *bytes, size_t n, struct error *err)
{
    char *copy = workspace_take(w, n + 1, err);
    if (copy && n)
        memcpy(copy, bytes, n);
    return copy;
}

bool workspace_step(struct workspace *w, size_t touched, struct error *err)
{
    w->steps += 1 + touched / 64;
    return w->steps <= w->steps_limit
        || error_set(err, "more than %zu steps are needed", w->steps_limit);
}

void workspace_free(struct workspace *w)
{
    while (w->blocks) {
        struct workspace_block *next = w->blocks->next;
        free(w->blocks);
        w->blocks = next;
    }
    w->bytes = 0;
}
