/* states.h - where a text stands in a graph: sets of ways to go on, made as they are needed.
 *
 * A way to go on is a chain of cells: a node, how far one is in it (a place of its byte strings,
 * the repetitions so far), and the chain that follows.  Equal chains are one, so a state is a
 * sorted set of numbers and equal states are one.  The step by a byte is computed once and kept.
 *
 * Source: K. Thompson, "Regular Expression Search Algorithm" (1968), with chains for the stack of a
 * recursive transition network. */
#ifndef SURPRISAL_GRAMMAR_STATES_H
#define SURPRISAL_GRAMMAR_STATES_H

#include "grammar/graph.h"
#include "grammar/word_lists.h"

#define STATES_DEAD 0u          /* nothing can follow, and the text may not end here */
#define STATES_MAX_BYTES ((size_t)256 << 20)
#define STATES_MAX_MEMBERS ((size_t)1 << 16)

struct states_cell {
    uint32_t node, at, next;
};

struct state {
    uint32_t table;             /* its steps: tables[256 * table ...]; UINT32_MAX: none yet */
    bool accepts;               /* the text may end here */
    bool is_cut;                /* states_ahead did not keep what comes next */
};

/* After a failure (memory, an automaton that is too large) everything is STATES_DEAD, and `failed`
 * and `failure` say so. */
struct states {
    const struct graph *graph;  /* borrowed, finished */
    struct word_lists cells;    /* owned, as all that follows; 0: the end, 1: what was cut */
    struct word_lists members;  /* of a state: cells, sorted */
    struct state *all;          /* [members.n] */
    size_t capacity;
    uint32_t *marks;            /* [cells.n]: the last expansion that saw the cell */
    size_t n_marks, marks_capacity;
    uint32_t *tables;
    size_t n_tables, tables_capacity;
    uint32_t *open, *found;     /* of the expansion at work */
    size_t n_open, open_capacity, n_found, found_capacity;
    uint32_t expansion;
    bool failed;
    struct error failure;
};

/* Release with states_close, also after a failure.  *start: the state of the empty text. */
bool states_open(struct states *s, const struct graph *g, uint32_t start_node, uint32_t *start,
                 struct error *err);
void states_close(struct states *s);
size_t states_bytes(const struct states *s);

/* The state after one more byte; the second where the step is not known yet. */
uint32_t states_step_slowly(struct states *s, uint32_t state, uint8_t byte);
static inline uint32_t states_step(struct states *s, uint32_t state, uint8_t byte)
{
    uint32_t table = s->all[state].table;
    uint32_t to = table == UINT32_MAX ? UINT32_MAX : s->tables[(size_t)256 * table + byte];
    return to == UINT32_MAX ? states_step_slowly(s, state, byte) : to;
}
/* A state that cannot be told from this one by n_bytes more bytes, and that many others share:
 * counts that n_bytes repetitions bring to no limit are made equal, and chains end after `depth`
 * cells.  Where a step would need the rest of a chain, it leads to a state with is_cut. */
uint32_t states_ahead(struct states *s, uint32_t state, size_t n_bytes, size_t depth);
/* Forgets all but n states, and gives these new numbers. */
bool states_keep(struct states *s, uint32_t *kept, size_t n, struct error *err);

#endif
