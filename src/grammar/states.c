#include "grammar/states.h"

#include <stdlib.h>
#include <string.h>

#define END 0u          /* cells */
#define CUT 1u
#define UNKNOWN UINT32_MAX

static void fail(struct states *s, const char *why)
{
    if (!s->failed)
        error_set(&s->failure, "%s", why);
    s->failed = true;
}

static bool grow(struct states *s, void *block, size_t *capacity, size_t needed, size_t size)
{
    if (s->failed)
        return false;
    if (needed > *capacity && states_bytes(s) > STATES_MAX_BYTES)
        fail(s, "too many ways to go on: the automaton of the answer would need more than 256 MiB");
    else if (!mem_grow(block, capacity, needed, size, "automaton", &s->failure))
        s->failed = true;
    return !s->failed;
}

size_t states_bytes(const struct states *s)
{
    return word_lists_bytes(&s->cells) + word_lists_bytes(&s->members)
         + s->members.n * sizeof *s->all + s->n_marks * 4 + s->n_tables * 1024;
}

/* ---- cells and states by number -------------------------------------------------- */

static struct states_cell get_cell(const struct states *s, uint32_t i)
{
    const uint32_t *words = word_lists_get(&s->cells, i);
    return (struct states_cell){ words[0], words[1], words[2] };
}

static uint32_t cell_of(struct states *s, uint32_t node, uint32_t at, uint32_t next)
{
    const uint32_t words[] = { node, at, next };
    if (!grow(s, &s->marks, &s->marks_capacity, s->cells.n + 1, sizeof *s->marks))
        return END;
    uint32_t i = word_lists_number(&s->cells, words, 3, &s->failure);
    if (i == WORD_LISTS_FAILED) {
        s->failed = true;
        return END;
    }
    if (i == s->n_marks)
        s->marks[s->n_marks++] = 0;
    return i;
}

/* The state of the cells in s->found. */
static uint32_t state_of_found(struct states *s)
{
    if (s->n_found > STATES_MAX_MEMBERS)
        fail(s, "too many ways to go on: more than 65536 at one place of the answer");
    if (!grow(s, &s->all, &s->capacity, s->members.n + 1, sizeof *s->all))
        return STATES_DEAD;
    s->n_found = word_lists_sort(s->found, s->n_found);
    size_t n = s->members.n;
    uint32_t i = word_lists_number(&s->members, s->found, s->n_found, &s->failure);
    if (i == WORD_LISTS_FAILED) {
        s->failed = true;
        return STATES_DEAD;
    }
    if (i < n)
        return i;
    s->all[i] = (struct state){ .table = UNKNOWN };
    for (size_t k = 0; k < s->n_found; k++) {
        s->all[i].accepts = s->all[i].accepts || s->found[k] == END;
        s->all[i].is_cut = s->all[i].is_cut || s->found[k] == CUT;
    }
    return i;
}

/* ---- expansion: from chains to the cells that wait for a byte -------------------- */

static void open_push(struct states *s, uint32_t cell)
{
    if (s->failed || s->marks[cell] == s->expansion)
        return;
    if (grow(s, &s->open, &s->open_capacity, s->n_open + 1, sizeof *s->open)) {
        s->marks[cell] = s->expansion;
        s->open[s->n_open++] = cell;
    }
}

static void find(struct states *s, uint32_t cell)
{
    if (grow(s, &s->found, &s->found_capacity, s->n_found + 1, sizeof *s->found))
        s->found[s->n_found++] = cell;
}

/* A node before anything of it was read. */
static uint32_t begin(struct states *s, uint32_t node, uint32_t next)
{
    if (node == 0)
        return next;
    const struct graph_node *n = &s->graph->nodes[node];
    return cell_of(s, node, n->kind == GRAPH_BYTES ? n->a : 0, next);
}

static void open_cell(struct states *s, uint32_t cell)
{
    struct states_cell c = get_cell(s, cell);
    const struct graph_node *node = cell > CUT ? &s->graph->nodes[c.node] : NULL;
    if (!node) {
        find(s, cell);
        return;
    }
    switch (node->kind) {
    case GRAPH_NOTHING:
        open_push(s, c.next);
        break;
    case GRAPH_BYTES:
        if (s->graph->places[c.at].child)
            find(s, cell);
        if (s->graph->places[c.at].is_end)
            open_push(s, c.next);
        break;
    case GRAPH_THEN:
        open_push(s, begin(s, node->a, begin(s, node->b, c.next)));
        break;
    case GRAPH_EITHER:
        for (uint32_t i = 0; i < node->b && !s->failed; i++)
            open_push(s, begin(s, s->graph->children[node->a + i], c.next));
        break;
    case GRAPH_MANY:
        open_push(s, c.next);
        open_push(s, begin(s, node->a, cell));
        break;
    case GRAPH_COUNTED:
        if (c.at >= node->min)
            open_push(s, c.next);
        if (c.at < node->max)
            open_push(s, begin(s, node->a, cell_of(s, c.node, c.at + 1, c.next)));
        break;
    }
}

static void expansion_begin(struct states *s)
{
    s->n_open = s->n_found = 0;
    if (++s->expansion == 0) {          /* after 2^32 of them old marks would count again */
        memset(s->marks, 0, s->n_marks * sizeof *s->marks);
        s->expansion = 1;
    }
}

static uint32_t expansion_end(struct states *s)
{
    while (s->n_open > 0 && !s->failed) {
        if (s->n_found > STATES_MAX_MEMBERS)
            break;
        open_cell(s, s->open[--s->n_open]);
    }
    return s->failed ? STATES_DEAD : state_of_found(s);
}

/* ---- steps ----------------------------------------------------------------------- */

/* Also fills the table for the bytes from *low to *high, which all cells treat as they do this. */
static uint32_t find_step(struct states *s, uint32_t state, uint8_t byte)
{
    uint8_t low = 0, high = 255;
    expansion_begin(s);
    for (uint32_t i = 0; i < word_lists_length(&s->members, state); i++) {
        uint32_t cell = word_lists_get(&s->members, state)[i], matched = 0;
        struct states_cell c = get_cell(s, cell);
        if (cell <= CUT)
            continue;
        for (uint32_t p = s->graph->places[c.at].child; p; p = s->graph->places[p].sibling) {
            const struct graph_place *place = &s->graph->places[p];
            if (byte < place->low)
                high = high < place->low ? high : (uint8_t)(place->low - 1);
            else if (byte > place->high)
                low = low > place->high ? low : (uint8_t)(place->high + 1);
            else {
                matched = p;
                low = low > place->low ? low : place->low;
                high = high < place->high ? high : place->high;
            }
        }
        if (matched)
            open_push(s, cell_of(s, c.node, matched, c.next));
    }
    uint32_t to = expansion_end(s);
    uint32_t *table = s->tables + (size_t)256 * s->all[state].table;
    for (size_t b = low; b <= high; b++)
        table[b] = to;
    return to;
}

uint32_t states_step_slowly(struct states *s, uint32_t state, uint8_t byte)
{
    if (s->failed)
        return STATES_DEAD;
    if (s->all[state].table == UNKNOWN) {
        if (!grow(s, &s->tables, &s->tables_capacity, (s->n_tables + 1) * 256, sizeof *s->tables))
            return STATES_DEAD;
        memset(s->tables + s->n_tables * 256, 0xFF, 256 * sizeof *s->tables);
        s->all[state].table = (uint32_t)s->n_tables++;
    }
    return find_step(s, state, byte);
}

/* ---- states that others share ---------------------------------------------------- */

static uint32_t shared_count(const struct graph_node *node, uint32_t count, size_t n_bytes)
{
    if (count >= node->min)
        return node->max - count > n_bytes ? node->min : count;
    return node->min - count > n_bytes ? node->min - (uint32_t)n_bytes - 1 : count;
}

/* The first `depth` cells of a chain of `from`, in s->open, become one of s. */
static uint32_t shared_chain(struct states *s, const struct states *from, uint32_t cell,
                             size_t n_bytes, size_t depth)
{
    for (s->n_open = 0; cell > CUT && s->n_open < depth; cell = get_cell(from, cell).next) {
        if (!grow(s, &s->open, &s->open_capacity, s->n_open + 1, sizeof *s->open))
            return END;
        s->open[s->n_open++] = cell;
    }
    uint32_t chain = cell == END ? END : CUT;
    while (s->n_open > 0) {
        struct states_cell c = get_cell(from, s->open[--s->n_open]);
        const struct graph_node *node = &s->graph->nodes[c.node];
        if (node->kind == GRAPH_COUNTED)
            c.at = shared_count(node, c.at, n_bytes);
        chain = cell_of(s, c.node, c.at, chain);
    }
    return chain;
}

/* What states_ahead gives, of a state of `from`, which may be s itself. */
static uint32_t shared_state(struct states *s, const struct states *from, uint32_t state,
                             size_t n_bytes, size_t depth)
{
    expansion_begin(s);
    for (uint32_t i = 0; i < word_lists_length(&from->members, state) && !s->failed; i++) {
        uint32_t cell = shared_chain(s, from, word_lists_get(&from->members, state)[i], n_bytes,
                                     depth);
        if (!s->failed && s->marks[cell] != s->expansion) {
            s->marks[cell] = s->expansion;
            find(s, cell);
        }
    }
    return s->failed ? STATES_DEAD : state_of_found(s);
}

uint32_t states_ahead(struct states *s, uint32_t state, size_t n_bytes, size_t depth)
{
    return shared_state(s, s, state, n_bytes, depth);
}

/* ---- opening, and beginning anew with a few states ------------------------------- */

static bool open_empty(struct states *s, const struct graph *g)
{
    *s = (struct states){ .graph = g };
    cell_of(s, UNKNOWN, END, 0);        /* the cells END and CUT, which belong to no node */
    cell_of(s, UNKNOWN, CUT, 0);
    state_of_found(s);                  /* STATES_DEAD */
    return !s->failed;
}

bool states_open(struct states *s, const struct graph *g, uint32_t start_node, uint32_t *start,
                 struct error *err)
{
    if (open_empty(s, g)) {
        expansion_begin(s);
        open_push(s, begin(s, start_node, END));
        *start = expansion_end(s);
    }
    return !s->failed || error_copy(err, &s->failure);
}

void states_close(struct states *s)
{
    word_lists_free(&s->cells);
    word_lists_free(&s->members);
    free(s->marks);
    free(s->all);
    free(s->tables);
    free(s->open);
    free(s->found);
    *s = (struct states){ 0 };
}

bool states_keep(struct states *s, uint32_t *kept, size_t n, struct error *err)
{
    struct states fresh;
    open_empty(&fresh, s->graph);
    for (size_t i = 0; i < n && !fresh.failed; i++)
        kept[i] = shared_state(&fresh, s, kept[i], SIZE_MAX, SIZE_MAX);
    states_close(s);
    *s = fresh;
    return !s->failed || error_copy(err, &s->failure);
}
