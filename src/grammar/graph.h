/* graph.h - the texts that an answer may be, as a graph of expressions over bytes.
 *
 * A node stands for a set of texts: one of some byte strings, one node and then another, one of
 * several, any number of repetitions.  Children may be named before they are built (graph_reserve),
 * so a set may contain itself, as JSON's values do.  matcher.h walks it.
 *
 * Functions that build do not fail one by one: after the first failure (memory, a graph that is too
 * large) they give node 0, and graph_finish reports it. */
#ifndef SURPRISAL_GRAMMAR_GRAPH_H
#define SURPRISAL_GRAMMAR_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

#define GRAPH_MAX_NODES  ((size_t)1 << 20)  /* 20 bytes each */
#define GRAPH_MAX_PLACES ((size_t)1 << 22)  /* 12 bytes each */
#define GRAPH_MAX_WORK   ((size_t)1 << 25)  /* of a whole request, in units of some 50 ns */

/* Bytes that UTF-8 never has stand for tokens that are no text: GRAPH_TAG, then which one. */
#define GRAPH_TAG       0xFF
#define GRAPH_OTHER_TAG 0xFE    /* any token that no text may contain */

enum graph_kind {
    GRAPH_NOTHING,      /* the empty text                                               */
    GRAPH_BYTES,        /* one of the byte strings below place a                        */
    GRAPH_THEN,         /* a, then b                                                    */
    GRAPH_EITHER,       /* one of the b children from children[a] on; b = 0: no text    */
    GRAPH_MANY,         /* a any number of times; a is never empty                      */
    GRAPH_COUNTED,      /* a from min to max times; a is never empty                    */
};

struct graph_node {
    enum graph_kind kind;
    uint32_t a, b;
    uint32_t min, max;
};

/* A place in a tree of byte strings: it is reached by a byte from low to high.  Ranges of siblings
 * are disjoint. */
struct graph_place {
    uint8_t low, high;
    bool is_end;                /* a string ends here */
    uint32_t child, sibling;    /* the first, the next; 0: none */
};

/* Zero-initialise; owns everything; release with graph_free.  Node 0 is the empty text. */
struct graph {
    struct graph_node *nodes;
    size_t n_nodes, nodes_capacity;
    uint32_t *children;
    size_t n_children, children_capacity;
    struct graph_place *places;
    size_t n_places, places_capacity;
    size_t work;                /* of what was built, beside its size */
    bool failed;
    struct error failure;
};

/* Both of the error and of the graph: always false. */
bool graph_fail(struct graph *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool graph_fail_with(struct graph *g, const struct error *why);
void graph_free(struct graph *g);
/* Counts work whose result may be small; too much of it is a failure: false. */
bool graph_spend(struct graph *g, size_t work);
/* An array of zeros for whoever builds, who frees it; NULL: the graph has failed. */
void *graph_array(struct graph *g, size_t n, size_t size);

/* ---- byte strings ---------------------------------------------------------------- */

/* A new tree without strings.  A range of bytes that is added must equal a range that the tree has
 * at that place, or be disjoint from all of them. */
uint32_t graph_tree(struct graph *g);
void graph_add_text(struct graph *g, uint32_t tree, const char *text, size_t n);
/* All strings from low to high, two strings of n bytes (1 to 20), behind `prefix`, a place of the
 * tree; bytes behind the first go from `min` to `max`, as digits and UTF-8's do. */
void graph_add_between(struct graph *g, uint32_t prefix, const uint8_t *low, const uint8_t *high,
                       size_t n, uint8_t min, uint8_t max);

/* ---- nodes ----------------------------------------------------------------------- */

uint32_t graph_bytes(struct graph *g, uint32_t tree);
uint32_t graph_text(struct graph *g, const char *text, size_t n);
uint32_t graph_string(struct graph *g, const char *text);   /* up to its NUL */
uint32_t graph_one_byte(struct graph *g, uint8_t low, uint8_t high);
uint32_t graph_then(struct graph *g, uint32_t a, uint32_t b);
/* The nodes in turn, up to the first UINT32_MAX. */
uint32_t graph_sequence(struct graph *g, const uint32_t *nodes);
#define GRAPH_SEQUENCE(g, ...) graph_sequence(g, (const uint32_t[]){ __VA_ARGS__, UINT32_MAX })
uint32_t graph_either(struct graph *g, const uint32_t *nodes, size_t n);
uint32_t graph_or(struct graph *g, uint32_t a, uint32_t b);
uint32_t graph_optional(struct graph *g, uint32_t a);
uint32_t graph_many(struct graph *g, uint32_t a);
uint32_t graph_counted(struct graph *g, uint32_t a, uint32_t min, uint32_t max);
/* A node to be filled later. */
uint32_t graph_reserve(struct graph *g);
void graph_fill(struct graph *g, uint32_t reserved, uint32_t a);

/* Takes out of the graph what leads to no text, so that whatever begins can end.  Reports what
 * failed while building. */
bool graph_finish(struct graph *g, struct error *err);
/* Of a finished graph: has the node no text at all? */
bool graph_is_empty(const struct graph *g, uint32_t node);

#endif
