#include <stdlib.h>

#include "grammar/graph.h"

/* For each node, in which nodes it occurs: links of one list a node. */
struct uses {
    uint32_t *first;            /* [n_nodes]: link + 1 */
    uint32_t *parent, *next;    /* [n_links] */
    size_t n_links;
};

static void add_use(struct uses *u, uint32_t child, uint32_t parent)
{
    u->parent[u->n_links] = parent;
    u->next[u->n_links] = u->first[child];
    u->first[child] = (uint32_t)++u->n_links;
}

static void find_uses(struct uses *u, const struct graph *g)
{
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct graph_node *node = &g->nodes[i];
        if (node->kind >= GRAPH_THEN && node->kind != GRAPH_EITHER)
            add_use(u, node->a, i);
        if (node->kind == GRAPH_THEN)
            add_use(u, node->b, i);
        for (uint32_t k = 0; node->kind == GRAPH_EITHER && k < node->b; k++)
            add_use(u, g->children[node->a + k], i);
    }
}

/* Has a text, whatever its children have. */
static bool has_text_alone(const struct graph *g, const struct graph_node *node)
{
    if (node->kind == GRAPH_BYTES)
        return g->places[node->a].is_end || g->places[node->a].child;
    return node->kind == GRAPH_NOTHING || node->kind == GRAPH_MANY
        || (node->kind == GRAPH_COUNTED && node->min == 0);
}

static bool has_text(const struct graph_node *node, const bool *has)
{
    return node->kind != GRAPH_THEN || (has[node->a] && has[node->b]);
}

static void cut(struct graph *g, const bool *has)
{
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct graph_node *node = &g->nodes[i];
        uint32_t kept = 0;
        for (uint32_t k = 0; node->kind == GRAPH_EITHER && k < node->b; k++)
            if (has[g->children[node->a + k]])
                g->children[node->a + kept++] = g->children[node->a + k];
        if (node->kind == GRAPH_EITHER)
            node->b = kept;
        if (!has[i])
            *node = (struct graph_node){ .kind = GRAPH_EITHER };
        else if ((node->kind == GRAPH_MANY || node->kind == GRAPH_COUNTED) && !has[node->a])
            *node = (struct graph_node){ .kind = GRAPH_NOTHING };
    }
}

bool graph_is_empty(const struct graph *g, uint32_t node)
{
    return node > 0 && g->nodes[node].kind == GRAPH_EITHER && g->nodes[node].b == 0;
}

bool graph_finish(struct graph *g, struct error *err)
{
    if (g->failed)
        return error_copy(err, &g->failure);
    size_t n = g->n_nodes, n_links = 2 * n + g->n_children, n_open = 0;
    struct uses u = { mem_array(n + 1, 4, "automaton", err),
                      mem_array(n_links, 4, "automaton", err),
                      mem_array(n_links, 4, "automaton", err), 0 };
    bool *has = mem_array(n + 1, 1, "automaton", err);
    uint32_t *open = mem_array(n + 1, 4, "automaton", err);
    bool ok = u.first && u.parent && u.next && has && open;
    if (ok)
        find_uses(&u, g);
    for (uint32_t i = 0; ok && i < n; i++)
        if (has_text_alone(g, &g->nodes[i])) {
            has[i] = true;
            open[n_open++] = i;
        }
    while (ok && n_open > 0)
        for (uint32_t at = u.first[open[--n_open]], next; at; at = next) {
            uint32_t parent = u.parent[at - 1];
            next = u.next[at - 1];
            if (!has[parent] && has_text(&g->nodes[parent], has)) {
                has[parent] = true;
                open[n_open++] = parent;
            }
        }
    if (ok)
        cut(g, has);
    free(u.first);
    free(u.parent);
    free(u.next);
    free(has);
    free(open);
    return ok;
}
