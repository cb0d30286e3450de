#include <stdlib.h>
#include <string.h>

#include "grammar/dfa.h"
#include "grammar/word_lists.h"

#define SHORTEST_RUN 8u         /* of equal links that become a count */

/* A state from which all characters that can follow lead to one other. */
struct link {
    bool is_link, accepts;
    uint32_t set, target;       /* a node of these characters; a state */
    uint32_t length, end;       /* of the run of equal links that begins here */
};

struct product {
    struct graph *graph;
    const struct dfa *dfas;
    size_t n;
    uint32_t min, max;
    enum charset_form form;
    struct word_lists states;   /* of each automaton, then the count */
    uint32_t *nodes;            /* [states.n] */
    size_t nodes_capacity;
    uint32_t *first;            /* [n_first]: where any automaton's intervals begin */
    size_t n_first;
    struct word_lists sets;     /* ranges of characters that have a node */
    uint32_t *set_nodes;
    size_t set_nodes_capacity;
    struct link *links;         /* [states.n] */
    size_t links_capacity;
};

static bool product_intervals(struct product *p)
{
    size_t total = 1;
    for (size_t i = 0; i < p->n; i++)
        total += p->dfas[i].n_intervals;
    p->first = graph_array(p->graph, total, sizeof *p->first);
    if (!p->first)
        return false;
    total = 1;
    for (size_t i = 0; i < p->n; i++) {
        memcpy(p->first + total, p->dfas[i].first, p->dfas[i].n_intervals * sizeof *p->first);
        total += p->dfas[i].n_intervals;
    }
    p->n_first = word_lists_sort(p->first, total);
    return true;
}

/* The state's number; it has a node that is filled in its turn.  Nothing can follow: UINT32_MAX. */
static uint32_t product_state(struct product *p, const uint32_t *state)
{
    for (size_t i = 0; i < p->n; i++)
        if (state[i] == 0)
            return UINT32_MAX;
    size_t known = p->states.n;
    uint32_t number = word_lists_number(&p->states, state, p->n + 1, &p->graph->failure);
    if (number == WORD_LISTS_FAILED
        || (number == known && !mem_grow(&p->nodes, &p->nodes_capacity, known + 1,
                                         sizeof *p->nodes, "pattern", &p->graph->failure))) {
        p->graph->failed = true;
        return UINT32_MAX;
    }
    if (p->states.n > DFA_MAX_PAIRS)
        graph_fail(p->graph, "the pattern and the lengths together need too large an automaton");
    if (number == known)
        p->nodes[known] = graph_reserve(p->graph);
    return number;
}

/* From the automata's states and the count, by the characters of an interval. */
static uint32_t product_step(struct product *p, uint32_t from, uint32_t c, uint32_t *state)
{
    const uint32_t *at = word_lists_get(&p->states, from);
    uint32_t count = at[p->n];
    if (count == p->max)
        return UINT32_MAX;
    for (size_t i = 0; i < p->n; i++)
        state[i] = dfa_step(&p->dfas[i], at[i], c);
    state[p->n] = p->max == UINT32_MAX && count >= p->min ? count : count + 1;
    return product_state(p, state);
}

/* A node of a character of the set, which is emptied. */
static uint32_t set_node(struct product *p, struct charset *s)
{
    struct graph *g = p->graph;
    if (!charset_tidy(s, &g->failure)) {
        g->failed = true;
        return 0;
    }
    size_t known = p->sets.n;
    uint32_t i = word_lists_number(&p->sets, (const uint32_t *)s->ranges, 2 * s->n, &g->failure);
    if (i == WORD_LISTS_FAILED || !mem_grow(&p->set_nodes, &p->set_nodes_capacity, known + 1,
                                            sizeof *p->set_nodes, "pattern", &g->failure)) {
        g->failed = true;
        return 0;
    }
    if (i == known)
        p->set_nodes[i] = charset_node(g, s, p->form);
    s->n = 0;
    return p->set_nodes[i];
}

static int by_target(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (x[0] > y[0]) - (x[0] < y[0]);
}

/* What may follow a state: for each state that a character leads to, these characters and it. */
static uint32_t product_ways(struct product *p, uint32_t from, uint32_t (*to)[3], uint32_t *ways,
                             uint32_t *state)
{
    struct charset set = { 0 };
    size_t n = 0, n_ways = 0;
    uint32_t set_of_last = 0;
    const uint32_t *at = word_lists_get(&p->states, from);
    bool accepts = at[p->n] >= p->min;
    for (size_t i = 0; i < p->n; i++)
        accepts = accepts && p->dfas[i].accepts[at[i]];
    if (accepts)
        ways[n_ways++] = 0;
    for (size_t i = 0; i < p->n_first && !p->graph->failed; i++) {
        uint32_t last = i + 1 < p->n_first ? p->first[i + 1] - 1 : CHARSET_LAST;
        uint32_t target = p->first[i] <= last ? product_step(p, from, p->first[i], state)
                                              : UINT32_MAX;
        if (target != UINT32_MAX)
            memcpy(to[n++], (const uint32_t[]){ target, p->first[i], last }, sizeof to[0]);
    }
    if (n > 1)
        qsort(to, n, sizeof *to, by_target);
    for (size_t i = 0; i < n && !p->graph->failed; i++) {
        if (!charset_add(&set, to[i][1], to[i][2], &p->graph->failure))
            p->graph->failed = true;
        else if (i + 1 == n || to[i + 1][0] != to[i][0]) {
            set_of_last = set_node(p, &set);
            ways[n_ways++] = graph_then(p->graph, set_of_last, p->nodes[to[i][0]]);
        }
    }
    charset_free(&set);
    if (mem_grow(&p->links, &p->links_capacity, from + 1, sizeof *p->links, "pattern",
                 &p->graph->failure))
        p->links[from] = (struct link){ n > 0 && to[0][0] == to[n - 1][0], accepts, set_of_last,
                                        n ? to[0][0] : 0, 1, n ? to[0][0] : 0 };
    else
        p->graph->failed = true;
    return graph_either(p->graph, ways, n_ways);
}

/* Runs of equal links, as in .{0,1000}, become counts: their states then share masks. */
static void count_runs(struct product *p)
{
    struct graph *g = p->graph;
    for (size_t i = p->states.n; i-- > 0 && !g->failed; ) {
        struct link *l = &p->links[i], *next = l->target > i ? &p->links[l->target] : l;
        if (!l->is_link)
            continue;
        if (next != l && next->is_link && next->set == l->set && next->accepts == l->accepts) {
            l->length = next->length + 1;
            l->end = next->end;
        }
        if (l->length < SHORTEST_RUN)
            continue;
        uint32_t on = graph_then(g, graph_counted(g, l->set, l->length, l->length),
                                 p->nodes[l->end]);
        graph_fill(g, p->nodes[i], !l->accepts ? on
                   : graph_or(g, on, graph_counted(g, l->set, 0, l->length - 1)));
    }
}

uint32_t dfa_node(struct graph *g, const struct dfa *dfas, size_t n, uint32_t min, uint32_t max,
                  enum charset_form form)
{
    struct product p = { .graph = g, .dfas = dfas, .n = n, .min = min, .max = max, .form = form };
    uint32_t *state = graph_array(g, n + 1, sizeof *state);
    bool ok = product_intervals(&p);
    uint32_t *ways = ok ? graph_array(g, p.n_first + 1, sizeof *ways) : NULL;
    uint32_t (*to)[3] = ok ? graph_array(g, p.n_first, sizeof *to) : NULL;
    for (size_t i = 0; i < n && !g->failed; i++)
        state[i] = dfas[i].start;
    uint32_t start = g->failed ? UINT32_MAX : product_state(&p, state);
    for (uint32_t i = 0; i < p.states.n && graph_spend(g, (1 + n) * p.n_first); i++)
        graph_fill(g, p.nodes[i], product_ways(&p, i, to, ways, state));
    if (!g->failed)
        count_runs(&p);
    uint32_t node = g->failed || start == UINT32_MAX ? graph_either(g, NULL, 0) : p.nodes[start];
    word_lists_free(&p.states);
    word_lists_free(&p.sets);
    free(p.nodes);
    free(p.first);
    free(p.set_nodes);
    free(p.links);
    free(state);
    free(ways);
    free(to);
    return node;
}
