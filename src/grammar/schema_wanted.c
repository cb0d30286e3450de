#include <stdlib.h>

#include "grammar/schema_parts.h"

bool schema_spend(const struct schema *s, const cJSON *at, size_t work, struct error *err)
{
    struct graph *g = s->text->graph;
    return graph_spend(g, work) || schema_refuse_with(s, at, NULL, &g->failure, err);
}

static uint32_t number_of(struct schema *s, const cJSON *schema, struct error *err)
{
    uint32_t words[2];
    size_t known = s->numbers.n;
    uintptr_t address = (uintptr_t)schema;
    words[0] = (uint32_t)address;
    words[1] = (uint32_t)((uint64_t)address >> 32);
    uint32_t number = word_lists_number(&s->numbers, words, 2, err);
    if (number == known) {
        if (!mem_grow(&s->by_number, &s->by_number_capacity, known + 1, sizeof *s->by_number,
                      "schema", err))
            return WORD_LISTS_FAILED;
        s->by_number[known] = schema;
    }
    return number;
}

bool schema_want(struct schema *s, const cJSON *const *schemas, size_t n, enum schema_place place,
                 uint32_t *node, struct error *err)
{
    uint32_t *list = mem_array(n + 1, sizeof *list, "schema", err);
    size_t known = s->wanted.n;
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++) {
        list[i] = number_of(s, schemas[i], err);
        ok = list[i] != WORD_LISTS_FAILED;
    }
    uint32_t number = WORD_LISTS_FAILED;
    if (ok) {
        n = word_lists_sort(list, n);
        list[n] = place;
        number = word_lists_number(&s->wanted, list, n + 1, err);
    }
    free(list);
    if (number == WORD_LISTS_FAILED
        || !mem_grow(&s->nodes, &s->nodes_capacity, s->wanted.n, sizeof *s->nodes, "schema", err))
        return false;
    if (number == known)
        s->nodes[known] = graph_reserve(s->text->graph);
    *node = s->nodes[number];
    return true;
}
