#include "eval/protocol/protocol.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* ---- windows and places of each protocol ---------------------------------------- */

/* n tokens from `base` in the ids, to be cut into windows. */
struct tokens {
    size_t base, n, context, stride;
};

static bool append(struct windows *w, const struct tokens *t, size_t begin, size_t end,
                   size_t first, struct error *err)
{
    if (!mem_grow(&w->list, &w->capacity, w->n + 1, sizeof *w->list, "windows", err))
        return false;
    w->list[w->n++] = (struct engine_window){ .begin = t->base + begin, .end = t->base + end,
                                              .first = t->base + first };
    return true;
}

static bool check_two_tokens(const struct tokens *t, struct error *err)
{
    return t->n >= 2 || error_set(err, "%zu token%s, nothing to score", t->n, t->n == 1 ? "" : "s");
}

static bool strided_windows(struct windows *out, const struct tokens *t, struct error *err)
{
    if (!check_two_tokens(t, err))
        return false;
    size_t scored = 0;
    for (size_t begin = 0; begin < t->n; begin += t->stride) {
        size_t end = t->n - begin > t->context ? begin + t->context : t->n;
        size_t first = scored > begin + 1 ? scored : begin + 1;
        if (!append(out, t, begin, end, first, err))
            return false;
        scored = end;
        if (end == t->n)
            break;
    }
    return true;
}

static int64_t strided_index(size_t context, size_t stride, const struct protocol_row *row)
{
    (void)context;
    return (int64_t)row->position - (int64_t)row->window * (int64_t)stride;
}

/* Whole windows; their first `context_only` tokens are not scored. */
static bool whole_windows(struct windows *out, const struct tokens *t, size_t context_only,
                          struct error *err)
{
    if (t->n < t->context)
        return error_set(err, "%zu token%s, fewer than one window of %zu", t->n,
                         t->n == 1 ? "" : "s", t->context);
    for (size_t begin = 0; t->n - begin >= t->context; begin += t->context)
        if (!append(out, t, begin, begin + t->context, begin + context_only, err))
            return false;
    return true;
}

static int64_t whole_index(size_t context, size_t stride, const struct protocol_row *row)
{
    (void)stride;
    return (int64_t)row->position - (int64_t)row->window * (int64_t)context;
}

static bool disjoint_windows(struct windows *out, const struct tokens *t, struct error *err)
{
    return whole_windows(out, t, 1, err);
}

static bool llama_windows(struct windows *out, const struct tokens *t, struct error *err)
{
    /* A context of 2 or 3 leaves (end - first) = 0 or 1 targets a window. */
    if (t->context == 2 && t->n >= t->context)
        return error_set(err, "the second half of a window of 2 holds no prediction");
    return whole_windows(out, t, t->context / 2 + 1, err);
}

/* The last window starts earlier so that it is full: each but the first sees context + 1 tokens. */
static bool rolling_windows(struct windows *out, const struct tokens *t, struct error *err)
{
    if (!check_two_tokens(t, err))
        return false;
    for (size_t scored = 0; scored < t->n - 1;) {
        size_t left = t->n - 1 - scored, step = left < t->context ? left : t->context;
        size_t end = scored + step + 1;
        size_t begin = scored == 0 ? 0 : end - 1 - t->context;
        if (!append(out, t, begin, end, scored + 1, err))
            return false;
        scored += step;
    }
    return true;
}

/* In the first window the scored tokens follow the prefix token; in the others, which see context +
 * 1 tokens, the last one has index `context`. */
static int64_t rolling_index(size_t context, size_t stride, const struct protocol_row *row)
{
    (void)stride;
    return row->starts_document ? (int64_t)row->scored_before + 1
                                : (int64_t)context + 1 - (int64_t)row->scored_from;
}

/* ---- the protocols --------------------------------------------------------------- */

static const struct {
    const char *name;
    bool (*windows)(struct windows *out, const struct tokens *t, struct error *err);
    int64_t (*index)(size_t context, size_t stride, const struct protocol_row *row);
} protocols[] = {
    [SURPRISAL_PROTOCOL_DEFAULT] = { "default", NULL, NULL },
    [SURPRISAL_STRIDED] = { "strided", strided_windows, strided_index },
    [SURPRISAL_DISJOINT] = { "disjoint", disjoint_windows, whole_index },
    [SURPRISAL_LLAMA] = { "llama", llama_windows, whole_index },
    [SURPRISAL_ROLLING] = { "rolling", rolling_windows, rolling_index },
};
#define N_PROTOCOLS (sizeof protocols / sizeof *protocols)

const char *protocol_name(enum surprisal_protocol protocol)
{
    return protocols[protocol].name;
}

bool protocol_find(enum surprisal_protocol *protocol, const char *name, size_t n)
{
    for (size_t i = SURPRISAL_PROTOCOL_DEFAULT + 1; i < N_PROTOCOLS; i++)
        if (strlen(protocols[i].name) == n && memcmp(protocols[i].name, name, n) == 0) {
            *protocol = (enum surprisal_protocol)i;
            return true;
        }
    return false;
}

bool protocol_check(enum surprisal_protocol protocol, size_t context, size_t stride,
                    struct error *err)
{
    if (protocol == SURPRISAL_PROTOCOL_DEFAULT || (size_t)protocol >= N_PROTOCOLS)
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

bool protocol_windows(struct windows *out, enum surprisal_protocol protocol, size_t base, size_t n,
                      size_t context, size_t stride, struct error *err)
{
    const struct tokens t = { base, n, context, stride };
    return protocols[protocol].windows(out, &t, err);
}

int64_t protocol_index_in_window(enum surprisal_protocol protocol, size_t context, size_t stride,
                                 const struct protocol_row *row)
{
    return protocols[protocol].index(context, stride, row);
}

/* ---- lists of windows ------------------------------------------------------------ */

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
