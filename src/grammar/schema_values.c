#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "grammar/schema_parts.h"

/* ---- numbers --------------------------------------------------------------------- */

/* Narrows *low and *high; *any: there is a bound. */
static bool read_bounds(const struct schema *s, const cJSON *part, int64_t *low, int64_t *high,
                        bool *any, struct error *err)
{
    static const char *const words[] = { "minimum", "exclusiveMinimum", "maximum",
                                         "exclusiveMaximum" };
    for (size_t i = 0; i < 4; i++) {
        const cJSON *item = json_get(part, words[i]);
        if (!item)
            continue;
        if (!cJSON_IsNumber(item) || !(fabs(item->valuedouble) < JSON_TEXT_EXACT))
            return schema_refuse(s, part, words[i], err, "expected a number below 2^53");
        double value = item->valuedouble, whole = i < 2 ? ceil(value) : floor(value);
        int64_t bound = (int64_t)whole;
        if (i % 2 && whole >= value && whole <= value)      /* not this number itself */
            bound += i < 2 ? 1 : -1;
        if (i < 2)
            *low = bound > *low ? bound : *low;
        else
            *high = bound < *high ? bound : *high;
        *any = true;
    }
    return true;
}

static bool number_node(const struct schema *s, const struct schema_view *v, uint32_t *node,
                        int64_t *low, int64_t *high, struct error *err)
{
    bool any = false;
    *low = INT64_MIN;
    *high = INT64_MAX;
    for (size_t i = 0; i < v->n; i++) {
        bool here = false;
        if (!read_bounds(s, v->parts[i], low, high, &here, err))
            return false;
        if (here && (v->types & SCHEMA_FRACTION))
            return schema_refuse(s, v->parts[i], NULL, err, "minimum and maximum are supported"
                                 " with type integer alone");
        any = any || here;
    }
    *node = v->types & SCHEMA_FRACTION ? s->text->number
          : any ? json_text_integer(s->text, *low, *high) : s->text->integer;
    return true;
}

/* ---- enum and const -------------------------------------------------------------- */

static unsigned type_of(const cJSON *value)
{
    if (cJSON_IsNumber(value))
        return floor(value->valuedouble) >= value->valuedouble ? SCHEMA_WHOLE : SCHEMA_FRACTION;
    return cJSON_IsNull(value) ? SCHEMA_NULL : cJSON_IsBool(value) ? SCHEMA_BOOLEAN
         : cJSON_IsString(value) ? SCHEMA_STRING : cJSON_IsObject(value) ? SCHEMA_OBJECT
         : SCHEMA_ARRAY;
}

static bool same_scalar(const cJSON *a, const cJSON *b)
{
    if (type_of(a) != type_of(b))
        return false;
    if (cJSON_IsString(a))
        return strcmp(a->valuestring, b->valuestring) == 0;
    if (cJSON_IsNumber(a))
        return a->valuedouble >= b->valuedouble && a->valuedouble <= b->valuedouble;
    return cJSON_IsNull(a) || (cJSON_IsBool(a) && cJSON_IsTrue(a) == cJSON_IsTrue(b));
}

/* Is a scalar among the values that each part lists? */
static bool is_listed(const struct schema_view *v, const cJSON *value)
{
    for (size_t i = 0; i < v->n; i++) {
        const cJSON *list = json_get(v->parts[i], "enum"), *one = json_get(v->parts[i], "const");
        bool found = !list;
        for (const cJSON *c = list ? list->child : NULL; c && !found; c = c->next)
            found = same_scalar(c, value);
        if (!found || (one && !same_scalar(one, value)))
            return false;
    }
    return true;
}

/* Refuses words that say more of a listed object or array than the list does. */
static bool check_containers(const struct schema *s, const struct schema_view *v, size_t n_lists,
                             struct error *err)
{
    static const char *const words[] = { "properties", "required", "additionalProperties", "items",
                                         "prefixItems", "minItems", "maxItems" };
    if (n_lists > 1)
        return schema_refuse(s, v->parts[0], NULL, err, "objects or arrays in two enum or const"
                             " for one value are not supported");
    for (size_t i = 0; i < v->n; i++)
        for (size_t k = 0; k < sizeof words / sizeof *words; k++)
            if (json_get(v->parts[i], words[k]))
                return schema_refuse(s, v->parts[i], words[k], err,
                                     "not supported beside objects or arrays in enum or const");
    return true;
}

struct listed {
    const struct schema_view *view;
    const struct schema_strings *strings;
    int64_t low, high;
    size_t n_lists;             /* enum and const of all parts */
};

static bool fits(const struct listed *l, const cJSON *value)
{
    unsigned type = type_of(value);
    if (type & (SCHEMA_OBJECT | SCHEMA_ARRAY))
        return l->view->types & type;
    return (l->view->types & type) && (l->n_lists == 1 || is_listed(l->view, value))
        && (type != SCHEMA_STRING || schema_strings_fit(l->strings, value->valuestring))
        && (type != SCHEMA_WHOLE || (value->valuedouble >= (double)l->low
                                     && value->valuedouble <= (double)l->high));
}

/* Counts the work of `fits`, and of building what does. */
static bool spend_value(const struct schema *s, const struct listed *l, const cJSON *value,
                        struct error *err)
{
    bool is_read = cJSON_IsString(value) && l->view->types & SCHEMA_STRING;
    size_t n_text = is_read ? strlen(value->valuestring) : 0;
    return schema_spend(s, l->view->parts[0], 1 + n_text * (1 + l->strings->n) / 16, err);
}

/* One of n values, as far as they fit. */
static bool values_node(struct schema *s, const struct listed *l, const cJSON *const *values,
                        size_t n, uint32_t *node, struct error *err)
{
    const cJSON **scalars = mem_array(n, sizeof *scalars, "schema", err);
    uint32_t *ways = mem_array(n + 1, sizeof *ways, "schema", err);
    size_t n_scalars = 0, n_ways = 0;
    bool ok = scalars && ways;
    for (size_t i = 0; ok && i < n; i++) {
        bool is_container = cJSON_IsObject(values[i]) || cJSON_IsArray(values[i]);
        if (!(ok = spend_value(s, l, values[i], err)) || !fits(l, values[i]))
            continue;
        if (!is_container)
            scalars[n_scalars++] = values[i];
        else if ((ok = check_containers(s, l->view, l->n_lists, err)))
            ways[n_ways++] = json_text_value(s->text, values[i]);
    }
    if (ok) {
        ways[n_ways++] = json_text_scalars(s->text, scalars, n_scalars,
                                           l->view->place == SCHEMA_PARAMETER ? CHARSET_RAW
                                                                              : CHARSET_JSON);
        *node = graph_either(s->text->graph, ways, n_ways);
    }
    free(scalars);
    free(ways);
    return ok;
}

/* The view's first list; *n_lists: how many there are. */
static bool find_list(const struct schema *s, const struct schema_view *v, const cJSON **list,
                      size_t *n_lists, struct error *err)
{
    *list = NULL;
    *n_lists = 0;
    for (size_t i = 0; i < v->n; i++) {
        const cJSON *one = json_get(v->parts[i], "const"), *some = json_get(v->parts[i], "enum");
        if (some && !cJSON_IsArray(some))
            return schema_refuse(s, v->parts[i], "enum", err, "expected an array");
        *n_lists += (size_t)(one != NULL) + (size_t)(some != NULL);
        if ((one || some) && (!*list || one))
            *list = one ? one : some;
    }
    size_t n = *n_lists > 1 ? (size_t)cJSON_GetArraySize(*list) : 0;
    for (size_t i = 0; i < v->n; i++)           /* each value is sought in each list */
        if (!schema_spend(s, v->parts[i], n * (size_t)cJSON_GetArraySize(json_get(v->parts[i],
                                                                   "enum")) / 16, err))
            return false;
    return true;
}

static bool listed_node(struct schema *s, const struct listed *l, const cJSON *list,
                        uint32_t *node, struct error *err)
{
    bool is_enum = strcmp(list->string, "enum") == 0;
    size_t n = 0;
    const cJSON **values = mem_array(is_enum ? (size_t)cJSON_GetArraySize(list) : 1,
                                     sizeof *values, "schema", err);
    if (!values)
        return false;
    if (!is_enum)
        values[n++] = list;
    for (const cJSON *c = is_enum ? list->child : NULL; c; c = c->next)
        values[n++] = c;
    bool ok = values_node(s, l, values, n, node, err);
    free(values);
    return ok;
}

/* ---- all types ------------------------------------------------------------------- */

static bool free_values(struct schema *s, const struct schema_view *v,
                        const struct schema_strings *strings, uint32_t number, uint32_t *node,
                        struct error *err)
{
    const struct json_text *t = s->text;
    uint32_t ways[8];
    size_t n = 0;
    if (v->types & SCHEMA_OBJECT && !schema_object(s, v, &ways[n++], err))
        return false;
    if (v->types & SCHEMA_ARRAY && !schema_array(s, v, &ways[n++], err))
        return false;
    if (v->types & SCHEMA_STRING)
        ways[n++] = schema_strings_node(s, strings, v->place);
    if (v->types & (SCHEMA_WHOLE | SCHEMA_FRACTION))
        ways[n++] = number;
    if (v->types & SCHEMA_NULL)
        ways[n++] = t->null;
    if (v->types & SCHEMA_BOOLEAN) {
        ways[n++] = t->yes;
        ways[n++] = t->no;
    }
    *node = graph_either(t->graph, ways, n);
    return true;
}

bool schema_values(struct schema *s, const struct schema_view *v, uint32_t *node, struct error *err)
{
    struct schema_strings strings = { .max = UINT32_MAX };
    struct listed l = { .view = v, .strings = &strings, .low = INT64_MIN, .high = INT64_MAX };
    const cJSON *list;
    uint32_t number = 0;
    bool ok = find_list(s, v, &list, &l.n_lists, err)
           && (!(v->types & SCHEMA_STRING) || schema_strings_read(s, v, &strings, err))
           && (!(v->types & (SCHEMA_WHOLE | SCHEMA_FRACTION))
               || number_node(s, v, &number, &l.low, &l.high, err));
    if (ok)
        ok = list ? listed_node(s, &l, list, node, err)
                  : free_values(s, v, &strings, number, node, err);
    schema_strings_free(&strings);
    return ok;
}
