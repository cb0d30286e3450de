#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "grammar/schema_parts.h"

/* ---- members of objects ---------------------------------------------------------- */

static struct schema_named *find_member(struct schema_members *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->all[i].name, name) == 0)
            return &m->all[i];
    return NULL;
}

static bool add_member(const struct schema *s, const cJSON *part, struct schema_members *m,
                       const char *name, struct error *err)
{
    if (m->n == SCHEMA_MAX_MEMBERS || strlen(name) > 512)
        return schema_refuse(s, part, NULL, err, "at most %d members with names of at most 512"
                             " bytes are supported", SCHEMA_MAX_MEMBERS);
    if (!mem_grow(&m->all, &m->capacity, m->n + 1, sizeof *m->all, "schema", err))
        return false;
    m->all[m->n++] = (struct schema_named){ .name = name };
    return true;
}

/* Words of one part: the members of `properties`. */
static bool add_properties(const struct schema *s, const cJSON *part, struct schema_members *m,
                           struct error *err)
{
    const cJSON *properties = json_get(part, "properties");
    size_t before = m->n;
    if (properties && !cJSON_IsObject(properties))
        return schema_refuse(s, part, "properties", err, "expected an object");
    if (properties && !schema_unique_keys(s, properties, part, "properties", err))
        return false;
    if (!schema_spend(s, part, before * (size_t)cJSON_GetArraySize(properties) / 16, err))
        return false;
    for (const cJSON *c = properties ? properties->child : NULL; c; c = c->next) {
        struct schema_members earlier = { .all = m->all, .n = before };
        if (!find_member(&earlier, c->string) && !add_member(s, part, m, c->string, err))
            return false;
    }
    return true;
}

static bool add_required(const struct schema *s, const cJSON *part, struct schema_members *m,
                         struct error *err)
{
    const cJSON *required = json_get(part, "required");
    size_t n = 0;
    if (!schema_spend(s, part, m->n * (size_t)cJSON_GetArraySize(required) / 16, err))
        return false;
    if (required && !cJSON_IsArray(required))
        return schema_refuse(s, part, "required", err, "expected an array of names");
    for (const cJSON *c = required ? required->child : NULL; c; c = c->next) {
        if (!cJSON_IsString(c) || ++n > SCHEMA_MAX_MEMBERS)
            return schema_refuse(s, part, "required", err, "expected at most %d names",
                                 SCHEMA_MAX_MEMBERS);
        if (!find_member(m, c->valuestring) && !add_member(s, part, m, c->valuestring, err))
            return false;
        find_member(m, c->valuestring)->required = true;
    }
    return true;
}

/* In a strict schema, an object that is described has no other members. */
static bool is_described(const struct schema_view *v)
{
    for (size_t i = 0; i < v->n; i++)
        if (json_get(v->parts[i], "type") || json_get(v->parts[i], "properties"))
            return true;
    return false;
}

bool schema_find_members(struct schema *s, const struct schema_view *v, struct schema_members *m,
                         struct error *err)
{
    bool open = false;
    for (size_t i = 0; i < v->n; i++)
        if (!add_properties(s, v->parts[i], m, err))
            return false;
    for (size_t i = 0; i < v->n; i++)
        if (!add_required(s, v->parts[i], m, err))
            return false;
    if (v->n && !schema_spend(s, v->parts[0], v->n * m->n * m->n / 16, err))
        return false;
    for (size_t i = 0; i < v->n; i++) {
        const cJSON *others = json_get(v->parts[i], "additionalProperties");
        m->closed = m->closed || cJSON_IsFalse(others);
        open = open || others;
    }
    m->closed = m->closed || (s->strict && !open && is_described(v));
    return true;
}

/* What holds for a member: of each part its property of that name, else its
 * additionalProperties. */
bool schema_member_node(struct schema *s, const struct schema_view *v, const char *name,
                        enum schema_place place, uint32_t *node, struct error *err)
{
    const cJSON **all = mem_array(v->n, sizeof *all, "schema", err);
    bool declared = false, open = false;
    size_t n = 0;
    for (size_t i = 0; all && i < v->n; i++) {
        const cJSON *own = name ? json_get(json_get(v->parts[i], "properties"), name) : NULL;
        const cJSON *others = json_get(v->parts[i], "additionalProperties");
        declared = declared || own;
        open = open || others;
        if (own || others)
            all[n++] = own ? own : others;
    }
    bool ok = all != NULL;
    if (ok && s->strict && !declared && !open && is_described(v))
        *node = graph_either(s->text->graph, NULL, 0);  /* required, but none may be there */
    else
        ok = ok && schema_want(s, all, n, place, node, err);
    free(all);
    return ok;
}

/* Nodes of what follows member i: `more` if one was written before, `first` if none was (and one
 * must be). */
struct tail {
    uint32_t first, more;
};

static bool add_others(struct schema *s, const struct schema_view *v,
                       const struct schema_members *m, struct tail *tail, struct error *err)
{
    struct graph *g = s->text->graph;
    uint32_t value;
    *tail = (struct tail){ graph_either(g, NULL, 0), 0 };
    if (m->closed)
        return true;
    const char **names = mem_array(m->n, sizeof *names, "schema", err);
    if (!names || !schema_member_node(s, v, NULL, SCHEMA_JSON, &value, err)) {
        free(names);
        return false;
    }
    for (size_t i = 0; i < m->n; i++)
        names[i] = m->all[i].name;
    uint32_t one = GRAPH_SEQUENCE(g, json_text_other_name(s->text, names, m->n), s->text->colon,
                                  value);
    tail->more = graph_many(g, graph_then(g, s->text->comma, one));
    tail->first = graph_then(g, one, tail->more);
    free(names);
    return true;
}

static bool object_node(struct schema *s, const struct schema_view *v,
                        const struct schema_members *m, uint32_t *node, struct error *err)
{
    struct graph *g = s->text->graph;
    struct tail tail;
    bool may_be_empty = true;
    if (!add_others(s, v, m, &tail, err))
        return false;
    for (size_t i = m->n; i-- > 0 && !g->failed; ) {
        uint32_t value;
        if (!schema_member_node(s, v, m->all[i].name, SCHEMA_JSON, &value, err))
            return false;
        uint32_t one = json_text_member(s->text, m->all[i].name, value);
        uint32_t first = graph_then(g, one, tail.more);
        uint32_t more = GRAPH_SEQUENCE(g, s->text->comma, one, tail.more);
        may_be_empty = may_be_empty && !m->all[i].required;
        tail.first = m->all[i].required ? first : graph_or(g, first, tail.first);
        tail.more = m->all[i].required ? more : graph_or(g, more, tail.more);
    }
    *node = json_text_brackets(s->text, true, tail.first, may_be_empty);
    return true;
}

bool schema_object(struct schema *s, const struct schema_view *v, uint32_t *node,
                   struct error *err)
{
    struct schema_members m = { 0 };
    bool ok = schema_find_members(s, v, &m, err) && object_node(s, v, &m, node, err);
    free(m.all);
    return ok;
}

/* ---- arrays ---------------------------------------------------------------------- */

/* What holds for element i: of each part prefixItems[i], else items. */
static bool element_node(struct schema *s, const struct schema_view *v, size_t index,
                         uint32_t *node, struct error *err)
{
    const cJSON **all = mem_array(v->n, sizeof *all, "schema", err);
    size_t n = 0;
    for (size_t i = 0; all && i < v->n; i++) {
        const cJSON *prefix = json_get(v->parts[i], "prefixItems");
        const cJSON *own = index < (size_t)cJSON_GetArraySize(prefix)
                         ? cJSON_GetArrayItem(prefix, (int)index)
                         : json_get(v->parts[i], "items");
        if (own)
            all[n++] = own;
    }
    bool ok = all && schema_want(s, all, n, SCHEMA_JSON, node, err);
    free(all);
    return ok;
}

struct lengths {
    uint32_t min, max;
    size_t n_first;             /* elements that prefixItems describes */
};

static bool read_lengths(const struct schema *s, const struct schema_view *v, struct lengths *l,
                         struct error *err)
{
    size_t total = v->n;
    *l = (struct lengths){ .max = UINT32_MAX };
    for (size_t i = 0; i < v->n; i++) {
        const cJSON *prefix = json_get(v->parts[i], "prefixItems");
        const cJSON *items = json_get(v->parts[i], "items");
        uint32_t min = 0, max = UINT32_MAX;
        if ((prefix && !cJSON_IsArray(prefix)) || cJSON_IsArray(items)
            || cJSON_GetArraySize(prefix) > SCHEMA_MAX_MEMBERS)
            return schema_refuse(s, v->parts[i], cJSON_IsArray(items) ? "items" : "prefixItems",
                                 err, "expected %s", cJSON_IsArray(items) ? "one schema"
                                 : "an array of at most 4096 schemas");
        if (!schema_read_count(s, v->parts[i], "minItems", &min, err)
            || !schema_read_count(s, v->parts[i], "maxItems", &max, err))
            return false;
        l->min = min > l->min ? min : l->min;
        l->max = max < l->max ? max : l->max;
        l->n_first = size_max(l->n_first, (size_t)cJSON_GetArraySize(prefix));
        total += (size_t)cJSON_GetArraySize(prefix);
    }
    /* for each element, element_node goes through all of them */
    return v->n == 0 || schema_spend(s, v->parts[0], l->n_first * total / 16, err);
}

/* How many more there may be behind i. */
static uint32_t less(uint32_t count, size_t i)
{
    return count == UINT32_MAX ? count : count > i ? count - (uint32_t)i : 0;
}

bool schema_array(struct schema *s, const struct schema_view *v, uint32_t *node, struct error *err)
{
    struct graph *g = s->text->graph;
    struct lengths l;
    uint32_t element;
    if (!read_lengths(s, v, &l, err) || !element_node(s, v, l.n_first, &element, err))
        return false;
    if (l.min > l.max) {
        *node = graph_either(g, NULL, 0);
        return true;
    }
    size_t n = size_max(l.n_first, 1);
    uint32_t rest = json_text_repeated(g, graph_then(g, s->text->comma, element), less(l.min, n),
                                       less(l.max, n));
    for (size_t i = n; i-- > 0 && !g->failed; ) {
        if (i < l.n_first && !element_node(s, v, i, &element, err))
            return false;
        if (i == 0)
            rest = l.max > 0 ? graph_then(g, element, rest) : UINT32_MAX;
        else if (l.max > i) {
            rest = GRAPH_SEQUENCE(g, s->text->comma, element, rest);
            rest = l.min > i ? rest : graph_optional(g, rest);
        } else {
            rest = 0;
        }
    }
    *node = json_text_brackets(s->text, false, rest, l.min == 0);
    return true;
}
