#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "grammar/json_text.h"

struct other_names {
    struct graph *graph;
    const char *const *names;       /* sorted */
    uint32_t all, rest;             /* any character; any number of them */
    uint32_t same[128], other[128]; /* nodes of a character and of all others; 0: not made yet */
};

/* The n characters, or all others. */
static uint32_t characters(struct graph *g, const uint32_t *c, size_t n, bool is_other)
{
    struct charset set = { 0 };
    struct error err = { 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = charset_add(&set, c[i], c[i], &err);
    ok = ok && charset_tidy(&set, &err) && (!is_other || charset_invert(&set, &err));
    uint32_t node = ok ? charset_node(g, &set, CHARSET_JSON) : 0;
    if (!ok)
        graph_fail_with(g, &err);
    charset_free(&set);
    return node;
}

static uint32_t one_character(struct other_names *o, uint32_t c, bool is_other)
{
    uint32_t *kept = c < 128 ? &(is_other ? o->other : o->same)[c] : NULL;
    if (kept && *kept)
        return *kept;
    uint32_t node = characters(o->graph, &c, 1, is_other);
    if (kept)
        *kept = node;
    return node;
}

/* What may follow the first `at` bytes, which the names from `from` to before `to` share. */
static uint32_t other_than(struct other_names *o, size_t from, size_t to, size_t at)
{
    struct graph *g = o->graph;
    bool ends = o->names[from][at] == 0;
    uint32_t *ways = graph_array(g, to - from + 2, sizeof *ways);
    uint32_t *first = graph_array(g, to - from + 1, sizeof *first);
    size_t n = 0, n_ways = 0;
    while (from < to && o->names[from][at] == 0)
        from++;
    while (from < to && !g->failed) {
        size_t length, end = from + 1;
        uint32_t c = utf8_get(o->names[from] + at, &length);
        while (end < to && strncmp(o->names[end] + at, o->names[from] + at, length) == 0)
            end++;
        first[n++] = c;
        ways[n_ways++] = graph_then(g, one_character(o, c, false),
                                    other_than(o, from, end, at + length));
        from = end;
    }
    if (!g->failed) {
        uint32_t other = n == 0 ? o->all : n == 1 ? one_character(o, first[0], true)
                                                  : characters(g, first, n, true);
        ways[n_ways++] = graph_then(g, other, o->rest);
        if (!ends)
            ways[n_ways++] = 0;     /* the empty text */
    }
    uint32_t node = g->failed ? 0 : graph_either(g, ways, n_ways);
    free(ways);
    free(first);
    return node;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

uint32_t json_text_other_name(const struct json_text *t, const char *const *names, size_t n)
{
    struct other_names o = { .graph = t->graph };
    if (n == 0)
        return t->any_string;
    const char **sorted = graph_array(t->graph, n, sizeof *sorted);
    if (!sorted)
        return 0;
    memcpy(sorted, names, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_bytes);
    o.names = sorted;
    o.all = characters(t->graph, NULL, 0, true);
    o.rest = graph_many(t->graph, o.all);
    uint32_t inside = other_than(&o, 0, n, 0);
    free(sorted);
    return GRAPH_SEQUENCE(t->graph, t->quote, inside, t->quote);
}
