#include "eval/protocol/protocol.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

const char *protocol_name(enum surprisal_protocol protocol)
{
    static const char *const names[] = {
        [SURPRISAL_PROTOCOL_DEFAULT] = "default",
        [SURPRISAL_STRIDED] = "strided",
        [SURPRISAL_DISJOINT] = "disjoint",
        [SURPRISAL_LLAMA] = "llama",
        [SURPRISAL_ROLLING] = "rolling",
    };
    return names[protocol];
}

bool protocol_check(enum surprisal_protocol protocol, size_t context, size_t stride,
                    struct error *err)
{
    if (protocol == SURPRISAL_PROTOCOL_DEFAULT || (unsigned)protocol > SURPRISAL_ROLLING)
        return error_set(err, "unknown protocol %d", (int)protocol);
    if (context < 2)
        return error_set(err, "context is %zu, expected at least 2", context);
    if (protocol != SURPRISAL_STRIDED)
        return true;
    if (stride == 0)
        return error_set(err, "stride is 0, expected at least 1");
    if (stride > context)
        return error_set(err, "stride %zu is larger than context %zu: tokens between the windows "
                         "would not be scored", stride, context);
    return true;
}

static bool append(struct windows *w, size_t begin, size_t end, size_t first, struct error *err)
{
    if (!mem_grow(&w->list, &w->capacity, w->n + 1, sizeof *w->list, "windows", err))
        return false;
    w->list[w->n++] = (struct engine_window){ .begin = begin, .end = end, .first = first };
    return true;
}

static bool append_strided(struct windows *out, size_t base, size_t n, size_t context,
                           size_t stride, struct error *err)
{
    size_t scored = 0;
    for (size_t begin = 0; begin < n; begin += stride) {
        size_t end = n - begin > context ? begin + context : n;
        size_t first = scored > begin + 1 ? scored : begin + 1;
        if (!append(out, base + begin, base + end, base + first, err))
            return false;
        scored = end;
        if (end == n)
            break;
    }
    return true;
}

/* Whole windows; their first `context_only` tokens are not scored. */
static bool append_whole(struct windows *out, size_t base, size_t n, size_t context,
                         size_t context_only, struct error *err)
{
    for (size_t begin = 0; n - begin >= context; begin += context)
        if (!append(out, base + begin, base + begin + context, base + begin + context_only, err))
            return false;
    return true;
}

/* The last window starts earlier so that it is full: each but the first sees context + 1 tokens. */
static bool append_rolling(struct windows *out, size_t base, size_t n, size_t context,
                           struct error *err)
{
    for (size_t scored = 0; scored < n - 1;) {
        size_t left = n - 1 - scored, step = left < context ? left : context;
        size_t end = scored + step + 1;
        size_t begin = scored == 0 ? 0 : end - 1 - context;
        if (!append(out, base + begin, base + end, base + scored + 1, err))
            return false;
        scored += step;
    }
    return true;
}

bool protocol_windows(struct windows *out, enum surprisal_protocol protocol, size_t base, size_t n,
                      size_t context, size_t stride, struct error *err)
{
    bool whole = protocol == SURPRISAL_DISJOINT || protocol == SURPRISAL_LLAMA;
    if (whole && n < context)
        return error_set(err, "%zu token%s, fewer than one window of %zu", n, n == 1 ? "" : "s",
                         context);
    if (n < 2)
        return error_set(err, "%zu token%s, nothing to score", n, n == 1 ? "" : "s");
    switch (protocol) {
    case SURPRISAL_PROTOCOL_DEFAULT:
        break;
    case SURPRISAL_STRIDED:
        return append_strided(out, base, n, context, stride, err);
    case SURPRISAL_DISJOINT:
        return append_whole(out, base, n, context, 1, err);
    case SURPRISAL_LLAMA:
        /* A context of 2 or 3 leaves (end - first) = 0 or 1 targets a window. */
        if (context == 2)
            return error_set(err, "the second half of a window of 2 holds no prediction");
        return append_whole(out, base, n, context, context / 2 + 1, err);
    case SURPRISAL_ROLLING:
        return append_rolling(out, base, n, context, err);
    }
    assert(0 && "protocol_check refuses all others");
    return false;
}

void windows_free(struct windows *w)
{
    free(w->list);
    *w = (struct windows){ 0 };
}

size_t windows_scored(const struct windows *w)
{
    size_t sum = 0;
    for (size_t i = 0; i < w->n; i++)
        sum += w->list[i].end - w->list[i].first;
    return sum;
}

size_t windows_model_tokens(const struct windows *w)
{
    size_t sum = 0;
    for (size_t i = 0; i < w->n; i++)
        sum += w->list[i].end - w->list[i].begin - 1;
    return sum;
}
