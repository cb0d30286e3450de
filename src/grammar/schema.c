#include "grammar/schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "grammar/schema_parts.h"

/* ---- views: all that holds for one value, a choice made in each anyOf ------------ */

struct mark {
    const cJSON *schema;
    const char *word;           /* anyOf, oneOf or nullable */
    const cJSON *chosen;        /* of nullable: NULL, the value is null; else it is not used */
};

struct choices {
    struct mark marks[SCHEMA_MAX_CHOICES];
    size_t n;
    const cJSON *path[SCHEMA_MAX_REFS];     /* schemas that name each other */
    size_t depth;
    struct mark open;           /* schema not NULL: a choice that is not made yet */
    struct schema_view view;
};

static const struct mark *find_mark(const struct choices *c, const cJSON *schema, const char *word)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->marks[i].schema == schema && strcmp(c->marks[i].word, word) == 0)
            return &c->marks[i];
    return NULL;
}

static bool collect(struct schema *s, const cJSON *schema, struct choices *c, struct error *err);

static bool collect_parts(struct schema *s, const cJSON *schema, struct choices *c,
                          struct error *err)
{
    static const char *const words[] = { "anyOf", "oneOf" };
    const cJSON *all = json_get(schema, "allOf");
    if (all && (!cJSON_IsArray(all) || !all->child))
        return schema_refuse(s, schema, "allOf", err, "expected an array of schemas");
    for (const cJSON *a = all ? all->child : NULL; a; a = a->next)
        if (!collect(s, a, c, err))
            return false;
    if (json_get(schema, "$ref")) {
        const cJSON *to = schema_find(s, schema, err);
        if (!to || !collect(s, to, c, err))
            return false;
    }
    for (size_t i = 0; i < 2; i++) {
        const cJSON *some = json_get(schema, words[i]);
        const struct mark *mark = some ? find_mark(c, schema, words[i]) : NULL;
        if (some && (!cJSON_IsArray(some) || !some->child))
            return schema_refuse(s, schema, words[i], err, "expected an array of schemas");
        if (mark && !collect(s, mark->chosen, c, err))
            return false;
        if (some && !mark)
            c->open = (struct mark){ schema, words[i], NULL };
    }
    return true;
}

/* Adds a schema and those that it names to the view. */
static bool collect(struct schema *s, const cJSON *schema, struct choices *c, struct error *err)
{
    struct schema_view *v = &c->view;
    if (!schema_spend(s, schema, 64 + 4 * (size_t)cJSON_GetArraySize(schema) + v->n, err)
        || !schema_check_words(s, schema, err))
        return false;
    if (cJSON_IsBool(schema)) {
        v->types = cJSON_IsTrue(schema) ? v->types : 0;
        return true;
    }
    const struct mark *mark = find_mark(c, schema, "nullable");
    if (cJSON_IsTrue(json_get(schema, "nullable")) && !mark) {
        c->open = (struct mark){ schema, "nullable", NULL };
        return true;
    }
    if (mark && !mark->chosen) {
        v->types &= SCHEMA_NULL;
        return true;
    }
    for (size_t i = 0; i < c->depth; i++)
        if (c->path[i] == schema)
            return schema_refuse(s, schema, NULL, err,
                                 "it leads to itself without a value between");
    if (c->depth == SCHEMA_MAX_REFS)
        return schema_refuse(s, schema, NULL, err, "more than %d schemas that name each other",
                             SCHEMA_MAX_REFS);
    for (size_t i = 0; i < v->n; i++)
        if (v->parts[i] == schema)
            return true;
    if (!mem_grow(&v->parts, &v->capacity, v->n + 1, sizeof *v->parts, "schema", err)
        || !schema_read_types(s, schema, &v->types, err))
        return false;
    v->parts[v->n++] = schema;
    c->path[c->depth++] = schema;
    bool ok = collect_parts(s, schema, c, err);
    c->depth--;
    return ok;
}

static bool collect_all(struct schema *s, uint32_t wanted, struct choices *c, struct error *err)
{
    c->view.n = c->depth = 0;
    c->view.types = SCHEMA_ALL_TYPES;
    c->open.schema = NULL;
    size_t n = word_lists_length(&s->wanted, wanted) - 1;
    for (size_t i = 0; i < n; i++)
        if (!collect(s, s->by_number[word_lists_get(&s->wanted, wanted)[i]], c, err))
            return false;
    return true;
}

static bool compile_views(struct schema *s, uint32_t wanted, struct choices *c, uint32_t *node,
                          struct error *err);

/* One node for each way to make the open choice. */
static bool compile_choice(struct schema *s, uint32_t wanted, struct choices *c, uint32_t *node,
                           struct error *err)
{
    struct mark *mark = &c->marks[c->n], open = c->open;
    bool is_null = strcmp(open.word, "nullable") == 0, ok = true;
    const cJSON *some = is_null ? NULL : json_get(open.schema, open.word)->child;
    uint32_t *ways = NULL;
    size_t n = 0, capacity = 0;
    if (c->n == SCHEMA_MAX_CHOICES)
        return schema_refuse(s, open.schema, open.word, err, "more than %d choices at one place",
                             SCHEMA_MAX_CHOICES);
    c->n++;
    for (size_t i = 0; ok && (is_null ? i < 2 : some != NULL); i++) {
        *mark = open;
        mark->chosen = is_null ? i ? open.schema : NULL : some;
        ok = mem_grow(&ways, &capacity, n + 1, sizeof *ways, "schema", err)
          && compile_views(s, wanted, c, &ways[n], err);
        n++;
        some = some ? some->next : NULL;
    }
    c->n--;
    if (ok)
        *node = graph_either(s->text->graph, ways, n);
    free(ways);
    return ok;
}

static bool compile_views(struct schema *s, uint32_t wanted, struct choices *c, uint32_t *node,
                          struct error *err)
{
    if (!collect_all(s, wanted, c, err))
        return false;
    if (c->open.schema)
        return compile_choice(s, wanted, c, node, err);
    return schema_values(s, &c->view, node, err);
}

/* ---- from outside ---------------------------------------------------------------- */

/* Compiles all that is wanted, and what that wants in turn. */
static bool compile_wanted(struct schema *s, struct error *err)
{
    struct graph *g = s->text->graph;
    bool ok = true;
    for (; ok && s->n_done < s->wanted.n; s->n_done++) {
        struct choices *c = mem_array(1, sizeof *c, "schema", err);
        uint32_t wanted = (uint32_t)s->n_done, node;
        if (!c)
            return false;
        c->view.place = word_lists_get(&s->wanted, wanted)[word_lists_length(&s->wanted, wanted)
                                                           - 1];
        ok = compile_views(s, wanted, c, &node, err);
        if (ok)
            graph_fill(g, s->nodes[wanted], node);
        if (ok && g->failed)
            ok = schema_refuse_with(s, c->view.n ? c->view.parts[0] : s->root, NULL, &g->failure,
                                    err);
        free(c->view.parts);
        free(c);
    }
    return ok;
}

struct schema *schema_open(struct json_text *text, const cJSON *root, const char *name,
                           bool strict, struct error *err)
{
    struct schema *s = mem_array(1, sizeof *s, "schema", err);
    if (s) {
        s->text = text;
        s->root = root;
        s->name = name;
        s->strict = strict;
    }
    return s;
}

bool schema_compile(struct schema *s, enum schema_place place, uint32_t *node, struct error *err)
{
    return schema_want(s, &s->root, 1, place, node, err) && compile_wanted(s, err);
}

bool schema_compile_parameters(struct schema *s, struct schema_member **members, size_t *n,
                               struct error *err)
{
    struct choices *c = mem_array(1, sizeof *c, "schema", err);
    struct schema_members m = { 0 };
    uint32_t wanted;
    bool ok = c && schema_want(s, &s->root, 1, SCHEMA_JSON, &wanted, err)
           && collect_all(s, 0, c, err);
    s->n_done = 1;              /* the root is no value here */
    if (ok && c->open.schema)
        ok = schema_refuse(s, c->open.schema, c->open.word, err,
                           "not supported for the parameters of a function");
    ok = ok && schema_find_members(s, &c->view, &m, err);
    if (ok && !m.closed)
        ok = schema_refuse(s, s->root, "additionalProperties", err, "a strict function takes no"
                           " others than its declared parameters");
    *n = ok ? m.n : 0;
    *members = ok ? mem_array(m.n, sizeof **members, "schema", err) : NULL;
    ok = *members != NULL;
    for (size_t i = 0; ok && i < m.n; i++) {
        (*members)[i] = (struct schema_member){ m.all[i].name, 0, m.all[i].required };
        ok = schema_member_node(s, &c->view, m.all[i].name, SCHEMA_PARAMETER, &(*members)[i].node,
                                err);
    }
    ok = ok && compile_wanted(s, err);
    free(m.all);
    if (c)
        free(c->view.parts);
    free(c);
    return ok;
}

void schema_close(struct schema *s)
{
    if (!s)
        return;
    word_lists_free(&s->numbers);
    word_lists_free(&s->wanted);
    free(s->by_number);
    free(s->nodes);
    free(s);
}
