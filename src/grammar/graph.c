#include "grammar/graph.h"

#include <stdlib.h>
#include <string.h>

#define LONGEST 20      /* bytes of a string of graph_add_between */

struct range {
    uint8_t low, high;
};

bool graph_fail(struct graph *g, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (!g->failed)
        error_vset(&g->failure, format, args);
    va_end(args);
    g->failed = true;
    return false;
}

bool graph_fail_with(struct graph *g, const struct error *why)
{
    if (!g->failed)
        g->failure = *why;
    g->failed = true;
    return false;
}

void graph_free(struct graph *g)
{
    free(g->nodes);
    free(g->children);
    free(g->places);
    *g = (struct graph){ 0 };
}

bool graph_spend(struct graph *g, size_t work)
{
    g->work += size_min(work, GRAPH_MAX_WORK);
    return !g->failed && (g->work <= GRAPH_MAX_WORK
                          || graph_fail(g, "it is too large: it takes too much work to compile"));
}

void *graph_array(struct graph *g, size_t n, size_t size)
{
    struct error why = { 0 };
    void *array = mem_array(n, size, "automaton", &why);
    if (!array)
        graph_fail_with(g, &why);
    return array;
}

/* Room for one more of a limited number. */
static bool grow(struct graph *g, void *block, size_t *capacity, size_t needed, size_t size,
                 size_t limit)
{
    if (g->failed)
        return false;
    if (needed > limit)
        return graph_fail(g, "it is too large: it needs more than %zu places of the automaton",
                          limit);
    if (!mem_grow(block, capacity, needed, size, "automaton", &g->failure))
        g->failed = true;
    return !g->failed;
}

/* ---- byte strings ---------------------------------------------------------------- */

static uint32_t place_new(struct graph *g, uint8_t low, uint8_t high)
{
    size_t first = g->n_places == 0;    /* place 0 means "none" */
    if (!grow(g, &g->places, &g->places_capacity, g->n_places + first + 1, sizeof *g->places,
              GRAPH_MAX_PLACES))
        return 0;
    if (first)
        g->places[g->n_places++] = (struct graph_place){ 0 };
    g->places[g->n_places] = (struct graph_place){ .low = low, .high = high };
    return (uint32_t)g->n_places++;
}

uint32_t graph_tree(struct graph *g)
{
    return place_new(g, 0, 0);
}

/* The place below `at` that the range leads to.  New ones come first: strings often come sorted. */
static uint32_t descend(struct graph *g, uint32_t at, struct range r)
{
    for (uint32_t c = g->places[at].child; c; c = g->places[c].sibling)
        if (g->places[c].low == r.low && g->places[c].high == r.high)
            return c;
    uint32_t c = place_new(g, r.low, r.high);
    if (c) {
        g->places[c].sibling = g->places[at].child;
        g->places[at].child = c;
    }
    return c;
}

/* All strings of n bytes of which byte i lies in ranges[i]. */
static void add(struct graph *g, uint32_t tree, const struct range *ranges, size_t n)
{
    uint32_t at = tree;
    for (size_t i = 0; i < n && at; i++)
        at = descend(g, at, ranges[i]);
    if (at)
        g->places[at].is_end = true;
}

void graph_add_text(struct graph *g, uint32_t tree, const char *text, size_t n)
{
    uint32_t at = tree;
    for (size_t i = 0; i < n && at; i++)
        at = descend(g, at, (struct range){ (uint8_t)text[i], (uint8_t)text[i] });
    if (at)
        g->places[at].is_end = true;
}

static bool all_equal(const uint8_t *bytes, size_t n, uint8_t value)
{
    for (size_t i = 0; i < n; i++)
        if (bytes[i] != value)
            return false;
    return true;
}

/* A range of first bytes with whatever follows. */
static void add_full(struct graph *g, uint32_t prefix, uint8_t low, uint8_t high, size_t n,
                     uint8_t min, uint8_t max)
{
    struct range ranges[LONGEST];
    if (low > high)
        return;
    ranges[0] = (struct range){ low, high };
    for (size_t i = 1; i < n; i++)
        ranges[i] = (struct range){ min, max };
    add(g, prefix, ranges, n);
}

void graph_add_between(struct graph *g, uint32_t prefix, const uint8_t *low, const uint8_t *high,
                       size_t n, uint8_t min, uint8_t max)
{
    uint8_t bound[LONGEST];
    bool low_full = all_equal(low + 1, n - 1, min), high_full = all_equal(high + 1, n - 1, max);
    if (g->failed)
        return;
    if (low[0] == high[0] && !(low_full && high_full)) {
        uint32_t at = descend(g, prefix, (struct range){ low[0], low[0] });
        if (at)
            graph_add_between(g, at, low + 1, high + 1, n - 1, min, max);
        return;
    }
    if (!low_full) {
        uint32_t at = descend(g, prefix, (struct range){ low[0], low[0] });
        memset(bound, max, sizeof bound);
        if (at)
            graph_add_between(g, at, low + 1, bound, n - 1, min, max);
    }
    add_full(g, prefix, (uint8_t)(low[0] + !low_full), (uint8_t)(high[0] - !high_full), n, min,
             max);
    if (!high_full) {
        uint32_t at = descend(g, prefix, (struct range){ high[0], high[0] });
        memset(bound, min, sizeof bound);
        if (at)
            graph_add_between(g, at, bound, high + 1, n - 1, min, max);
    }
}

/* ---- nodes ----------------------------------------------------------------------- */

static uint32_t node_new(struct graph *g, struct graph_node node)
{
    size_t first = g->n_nodes == 0;
    if (!grow(g, &g->nodes, &g->nodes_capacity, g->n_nodes + first + 1, sizeof *g->nodes,
              GRAPH_MAX_NODES))
        return 0;
    if (first)
        g->nodes[g->n_nodes++] = (struct graph_node){ .kind = GRAPH_NOTHING };
    g->nodes[g->n_nodes] = node;
    return (uint32_t)g->n_nodes++;
}

uint32_t graph_bytes(struct graph *g, uint32_t tree)
{
    return node_new(g, (struct graph_node){ .kind = GRAPH_BYTES, .a = tree });
}

uint32_t graph_text(struct graph *g, const char *text, size_t n)
{
    uint32_t tree = graph_tree(g);
    graph_add_text(g, tree, text, n);
    return graph_bytes(g, tree);
}

uint32_t graph_string(struct graph *g, const char *text)
{
    return graph_text(g, text, strlen(text));
}

uint32_t graph_one_byte(struct graph *g, uint8_t low, uint8_t high)
{
    uint32_t tree = graph_tree(g);
    add(g, tree, &(struct range){ low, high }, 1);
    return graph_bytes(g, tree);
}

uint32_t graph_then(struct graph *g, uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0)
        return a + b;
    return node_new(g, (struct graph_node){ .kind = GRAPH_THEN, .a = a, .b = b });
}

uint32_t graph_sequence(struct graph *g, const uint32_t *nodes)
{
    size_t n = 0;
    while (nodes[n] != UINT32_MAX)
        n++;
    uint32_t all = 0;
    while (n > 0)
        all = graph_then(g, nodes[--n], all);
    return all;
}

static bool set_children(struct graph *g, struct graph_node *node, const uint32_t *nodes, size_t n)
{
    if (!grow(g, &g->children, &g->children_capacity, g->n_children + n, sizeof *g->children,
              4 * GRAPH_MAX_NODES))
        return false;
    if (n)
        memcpy(g->children + g->n_children, nodes, n * sizeof *nodes);
    *node = (struct graph_node){ .kind = GRAPH_EITHER, .a = (uint32_t)g->n_children,
                                 .b = (uint32_t)n };
    g->n_children += n;
    return true;
}

uint32_t graph_either(struct graph *g, const uint32_t *nodes, size_t n)
{
    struct graph_node node;
    if (n == 1)
        return nodes[0];
    return set_children(g, &node, nodes, n) ? node_new(g, node) : 0;
}

uint32_t graph_or(struct graph *g, uint32_t a, uint32_t b)
{
    return graph_either(g, (const uint32_t[]){ a, b }, 2);
}

uint32_t graph_optional(struct graph *g, uint32_t a)
{
    return graph_or(g, 0, a);
}

uint32_t graph_many(struct graph *g, uint32_t a)
{
    return node_new(g, (struct graph_node){ .kind = GRAPH_MANY, .a = a });
}

uint32_t graph_counted(struct graph *g, uint32_t a, uint32_t min, uint32_t max)
{
    if (max == 0)
        return 0;
    return node_new(g, (struct graph_node){ .kind = GRAPH_COUNTED, .a = a, .min = min,
                                            .max = max });
}

uint32_t graph_reserve(struct graph *g)
{
    return node_new(g, (struct graph_node){ .kind = GRAPH_EITHER });
}

void graph_fill(struct graph *g, uint32_t reserved, uint32_t a)
{
    if (!g->failed)
        set_children(g, &g->nodes[reserved], &a, 1);
}
