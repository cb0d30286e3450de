#include "chat/filters.h"

#include <math.h>
#include <string.h>

#include <utf8proc.h>

#include "base/format.h"
#include "base/utf8.h"
#include "chat/value_json.h"

/* What one call of a filter or method works with. */
struct call {
    const char *name;                   /* of the filter or method */
    const struct value *v;              /* before the bar or the dot */
    const struct filters_arguments *args;
    struct workspace *w;
    struct error *err;
};

/* ---- arguments ------------------------------------------------------------- */

/* The argument at this position or of this name; NULL: it is not given. */
static const struct value *argument(const struct call *c, size_t position, const char *name)
{
    for (size_t i = 0; i < c->args->n; i++)
        if (c->args->names[i].n ? name && marked_text_is(&c->args->names[i], name) : i == position)
            return &c->args->values[i];
    return NULL;
}

/* Refuses more arguments by position than there are, and names other than these two. */
static bool check_arguments(const struct call *c, size_t most, const char *first,
                            const char *second)
{
    for (size_t i = 0; i < c->args->n; i++) {
        const struct marked_text *name = &c->args->names[i];
        if (name->n ? !(first && marked_text_is(name, first))
                      && !(second && marked_text_is(name, second)) : i >= most)
            return error_set(c->err, "'%s' with an argument that is not supported", c->name);
    }
    return true;
}

static bool refuse_type(const struct call *c, const struct value *v)
{
    return error_set(c->err, "'%s' of %s", c->name, value_type(v));
}

/* A string argument; NULL with an error for other types. */
static const struct marked_text *text_argument(const struct call *c, const struct value *v)
{
    if (v && v->kind == VALUE_STRING)
        return &v->of.string;
    if (v)
        refuse_type(c, v);
    else
        error_set(c->err, "'%s' lacks an argument", c->name);
    return NULL;
}

static bool give_text(struct value *out, bool ok, struct marked_text_builder *b, struct call *c)
{
    struct marked_text text;
    if (!ok || !marked_text_finish(&text, b, c->w, c->err)) {
        marked_text_builder_free(b);
        return false;
    }
    *out = value_string(text);
    return true;
}

/* ---- sequences ---------------------------------------------------------------- */

static bool characters(struct value_list **list, const struct marked_text *t, struct workspace *w,
                       struct error *err)
{
    struct value made;
    if (!workspace_step(w, t->n, err)
        || !value_list_make(&made, VALUE_LIST, marked_text_length(t), w, err))
        return false;
    for (size_t i = 0, k = 0, length; i < t->n; i += length, k++) {
        utf8_get(t->bytes + i, &length);
        made.of.list->items[k] = value_string(marked_text_part(t, i, i + length));
    }
    *list = made.of.list;
    return true;
}

/* which: 0 the keys of a mapping, 1 its values, 2 tuples of both. */
static bool mapping_list(struct value *out, const struct value_mapping *m, int which,
                         struct workspace *w, struct error *err)
{
    if (!workspace_step(w, m->n, err) || !value_list_make(out, VALUE_LIST, m->n, w, err))
        return false;
    for (size_t i = 0; i < m->n; i++) {
        const struct value key = value_string(m->entries[i].key);
        struct value *item = &out->of.list->items[i];
        *item = which == 0 ? key : m->entries[i].value;
        if (which < 2)
            continue;
        if (!value_list_make(item, VALUE_TUPLE, 2, w, err))
            return false;
        item->of.list->items[0] = key;
        item->of.list->items[1] = m->entries[i].value;
    }
    return true;
}

bool filters_iterate(struct value_list **list, const struct value *v, struct workspace *w,
                     struct error *err)
{
    struct value made;
    switch (v->kind) {
    case VALUE_LIST: case VALUE_TUPLE:
        *list = v->of.list;
        return true;
    case VALUE_STRING:
        return characters(list, &v->of.string, w, err);
    case VALUE_MAPPING:
        if (!mapping_list(&made, v->of.mapping, 0, w, err))
            return false;
        *list = made.of.list;
        return true;
    case VALUE_UNDEFINED:
        if (!value_list_make(&made, VALUE_LIST, 0, w, err))
            return false;
        *list = made.of.list;
        return true;
    default:
        return error_set(err, "%s is no sequence", value_type(v));
    }
}

/* ---- text --------------------------------------------------------------------- */

/* Upper or lower case, character by character. */
static bool change_case(struct value *out, struct call *c, const struct marked_text *t, bool upper)
{
    struct marked_text_builder b = { .limit = c->w->bytes_limit };
    bool ok = workspace_step(c->w, t->n, c->err);
    for (size_t i = 0, length; ok && i < t->n; i += length) {
        char bytes[8];
        uint32_t point = utf8_get(t->bytes + i, &length);
        int32_t changed =
            upper ? utf8proc_toupper((int32_t)point) : utf8proc_tolower((int32_t)point);
        const struct marked_text was = marked_text_part(t, i, i + length);
        bool marked = was.marks ? was.marks[0] : was.marked;
        if (upper && point == 0xDF)
            ok = marked_text_append_bytes(&b, "SS", 2, marked, c->err);
        else
            ok = marked_text_append_bytes(&b, bytes, utf8_put(bytes, (uint32_t)changed), marked,
                                          c->err);
    }
    return give_text(out, ok, &b, c);
}

/* The count of replacements or splits; -1: no limit. */
static bool count_argument(int64_t *count, const struct call *c, size_t position, const char *name)
{
    const struct value *v = argument(c, position, name);
    *count = -1;
    if (!v || v->kind == VALUE_NONE)
        return true;
    if (v->kind != VALUE_INTEGER)
        return refuse_type(c, v);
    *count = v->of.integer;
    return true;
}

static bool replace(struct value *out, struct call *c, const struct marked_text *t)
{
    int64_t count;
    if (!check_arguments(c, 3, "count", NULL) || !count_argument(&count, c, 2, "count"))
        return false;
    const struct marked_text *old = text_argument(c, argument(c, 0, NULL));
    const struct marked_text *new = old ? text_argument(c, argument(c, 1, NULL)) : NULL;
    if (!new)
        return false;
    struct marked_text_builder b = { .limit = c->w->bytes_limit };
    bool ok = workspace_step(c->w, t->n, c->err);
    size_t at = 0, found;
    while (ok && count != 0 && (found = marked_text_find(t, old, at)) <= t->n) {
        size_t length = 0;              /* an empty text stands before each character */
        if (old->n == 0 && found < t->n)
            utf8_get(t->bytes + found, &length);
        const struct marked_text before = marked_text_part(t, at, found);
        const struct marked_text one = marked_text_part(t, found, found + length);
        ok = marked_text_append(&b, &before, c->err) && marked_text_append(&b, new, c->err)
          && marked_text_append(&b, &one, c->err) && workspace_step(c->w, 0, c->err);
        at = found + old->n + length;
        count -= count > 0;
        if (old->n == 0 && length == 0)
            break;
    }
    const struct marked_text rest = marked_text_part(t, at, t->n);
    ok = ok && marked_text_append(&b, &rest, c->err);
    return give_text(out, ok, &b, c);
}

/* Python's split: at a separator, or (NULL) at runs of white space.  Both passes find the same
 * pieces; the first counts them. */
static size_t split_pieces(struct value *items, const struct marked_text *t,
                           const struct marked_text *separator, int64_t most)
{
    size_t n = 0, at = 0;
    for (;; n++) {
        struct marked_text rest = marked_text_part(t, at, t->n);
        size_t end, next;
        if (!separator) {
            rest = marked_text_strip(&rest, NULL, true, false);
            if (rest.n == 0)
                return n;
            size_t begin = t->n - rest.n, length = 0;
            for (end = begin; end < t->n; end += length)
                if (marked_text_is_space(utf8_get(t->bytes + end, &length)))
                    break;
            end = most == 0 ? t->n : end;
            rest = marked_text_part(t, begin, end);
            next = end;
        } else {
            end = most == 0 ? t->n + 1 : marked_text_find(t, separator, at);
            next = end + separator->n;
            rest = marked_text_part(t, at, size_min(end, t->n));
        }
        if (items)
            items[n] = value_string(rest);
        most -= most > 0;
        at = next;
        if (separator && end > t->n)
            return n + 1;
    }
}

static bool split(struct value *out, struct call *c, const struct marked_text *t)
{
    int64_t most;
    const struct value *v = argument(c, 0, "sep");
    const struct marked_text *separator = NULL;
    if (!check_arguments(c, 2, "sep", "maxsplit") || !count_argument(&most, c, 1, "maxsplit"))
        return false;
    if (v && v->kind != VALUE_NONE && !(separator = text_argument(c, v)))
        return false;
    if (separator && separator->n == 0)
        return error_set(c->err, "'split' with an empty separator");
    size_t n = split_pieces(NULL, t, separator, most);
    if (!workspace_step(c->w, t->n + n, c->err)
        || !value_list_make(out, VALUE_LIST, n, c->w, c->err))
        return false;
    split_pieces(out->of.list->items, t, separator, most);
    return true;
}

static bool strip(struct value *out, struct call *c, const struct marked_text *t, bool left,
                  bool right)
{
    const struct value *v = argument(c, 0, "chars");
    const struct marked_text *set = NULL;
    if (!check_arguments(c, 1, "chars", NULL)
        || (v && v->kind != VALUE_NONE && !(set = text_argument(c, v)))
        || !workspace_step(c->w, set ? t->n * set->n : t->n, c->err))
        return false;
    *out = value_string(marked_text_strip(t, set, left, right));
    return true;
}

static bool has_affix(const struct marked_text *t, const struct marked_text *affix, bool front)
{
    if (affix->n > t->n)
        return false;
    const struct marked_text there = front ? marked_text_part(t, 0, affix->n)
                                           : marked_text_part(t, t->n - affix->n, t->n);
    return marked_text_equal(&there, affix);
}

/* startswith and endswith: one text, or a tuple of them. */
static bool test_affix(struct value *out, struct call *c, const struct marked_text *t, bool front)
{
    const struct value *v = argument(c, 0, NULL);
    if (!check_arguments(c, 1, NULL, NULL))
        return false;
    bool found = false;
    if (v && v->kind == VALUE_TUPLE) {
        for (size_t i = 0; i < v->of.list->n; i++) {
            const struct marked_text *affix = text_argument(c, &v->of.list->items[i]);
            if (!affix)
                return false;
            found = found || has_affix(t, affix, front);
        }
    } else {
        const struct marked_text *affix = text_argument(c, v);
        if (!affix)
            return false;
        found = has_affix(t, affix, front);
    }
    *out = value_boolean(found);
    return true;
}

/* ---- filters ------------------------------------------------------------------- */

static bool filter_tojson(struct value *out, struct call *c)
{
    static const char *const ignored[] = { "ensure_ascii", "sort_keys", "separators" };
    int indent = -1;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        const struct value *v = argument(c, SIZE_MAX, ignored[i]);
        if (v && v->kind != VALUE_NONE && !(v->kind == VALUE_BOOLEAN && !v->of.boolean))
            return error_set(c->err, "'tojson' with %s is not supported", ignored[i]);
    }
    for (size_t i = 0; i < c->args->n; i++) {
        bool known = marked_text_is(&c->args->names[i], "indent");
        for (size_t k = 0; k < sizeof ignored / sizeof *ignored; k++)
            known = known || marked_text_is(&c->args->names[i], ignored[k]);
        if (!known)
            return error_set(c->err, "'tojson' with an argument that is not supported");
    }
    const struct value *v = argument(c, SIZE_MAX, "indent");
    if (v && v->kind != VALUE_NONE) {
        if (v->kind != VALUE_INTEGER || v->of.integer < 0 || v->of.integer > 16)
            return error_set(c->err, "'tojson' with an indent that is not from 0 to 16");
        indent = (int)v->of.integer;
    }
    struct marked_text_builder b = { .limit = c->w->bytes_limit };
    bool ok = value_json_write(&b, c->v, indent, c->w, c->err);
    return give_text(out, ok, &b, c);
}

static bool filter_length(struct value *out, struct call *c)
{
    size_t n;
    switch (c->v->kind) {
    case VALUE_UNDEFINED: n = 0; break;
    case VALUE_STRING:
        if (!workspace_step(c->w, c->v->of.string.n, c->err))
            return false;
        n = marked_text_length(&c->v->of.string);
        break;
    case VALUE_LIST: case VALUE_TUPLE: n = c->v->of.list->n; break;
    case VALUE_MAPPING: n = c->v->of.mapping->n; break;
    default: return refuse_type(c, c->v);
    }
    *out = value_integer((int64_t)n);
    return check_arguments(c, 0, NULL, NULL);
}

/* The value's str(), of any type. */
static bool own_text(struct marked_text *t, struct call *c)
{
    return value_to_text(t, c->v, c->w, c->err);
}

static bool filter_trim(struct value *out, struct call *c)
{
    struct marked_text t;
    return own_text(&t, c) && strip(out, c, &t, true, true);
}

static bool filter_string(struct value *out, struct call *c)
{
    struct marked_text t;
    if (!own_text(&t, c))
        return false;
    *out = value_string(t);
    return check_arguments(c, 0, NULL, NULL);
}

static bool filter_safe(struct value *out, struct call *c)
{
    return filter_string(out, c);
}

static bool filter_upper(struct value *out, struct call *c)
{
    struct marked_text t;
    return check_arguments(c, 0, NULL, NULL) && own_text(&t, c) && change_case(out, c, &t, true);
}

static bool filter_lower(struct value *out, struct call *c)
{
    struct marked_text t;
    return check_arguments(c, 0, NULL, NULL) && own_text(&t, c) && change_case(out, c, &t, false);
}

static bool filter_replace(struct value *out, struct call *c)
{
    struct marked_text t;
    return own_text(&t, c) && replace(out, c, &t);
}

static bool filter_items(struct value *out, struct call *c)
{
    if (!check_arguments(c, 0, NULL, NULL))
        return false;
    if (c->v->kind == VALUE_UNDEFINED)
        return value_list_make(out, VALUE_LIST, 0, c->w, c->err);
    return c->v->kind == VALUE_MAPPING ? mapping_list(out, c->v->of.mapping, 2, c->w, c->err)
                                       : refuse_type(c, c->v);
}

static bool filter_default(struct value *out, struct call *c)
{
    const struct value *other = argument(c, 0, "default_value");
    const struct value *boolean = argument(c, 1, "boolean");
    bool use = c->v->kind == VALUE_UNDEFINED
            || (boolean && value_truth(boolean) && !value_truth(c->v));
    *out = !use ? *c->v : other ? *other : value_string(marked_text_plain("", 0));
    return check_arguments(c, 2, "default_value", "boolean");
}

static bool filter_list(struct value *out, struct call *c)
{
    struct value_list *list;
    if (!check_arguments(c, 0, NULL, NULL) || !filters_iterate(&list, c->v, c->w, c->err))
        return false;
    *out = (struct value){ .kind = VALUE_LIST, .of.list = list };
    return true;
}

static bool filter_first(struct value *out, struct call *c)
{
    struct value_list *list;
    if (!check_arguments(c, 0, NULL, NULL) || !filters_iterate(&list, c->v, c->w, c->err))
        return false;
    *out = list->n ? list->items[0] : value_undefined("the first of nothing", 20);
    return true;
}

static bool filter_last(struct value *out, struct call *c)
{
    struct value_list *list;
    if (!check_arguments(c, 0, NULL, NULL) || !filters_iterate(&list, c->v, c->w, c->err))
        return false;
    *out = list->n ? list->items[list->n - 1] : value_undefined("the last of nothing", 19);
    return true;
}

static bool filter_join(struct value *out, struct call *c)
{
    struct value_list *list;
    struct marked_text between = marked_text_plain("", 0);
    const struct value *d = argument(c, 0, "d");
    if (!check_arguments(c, 1, "d", NULL) || (d && !value_to_text(&between, d, c->w, c->err))
        || !filters_iterate(&list, c->v, c->w, c->err))
        return false;
    struct marked_text_builder b = { .limit = c->w->bytes_limit };
    bool ok = true;
    for (size_t i = 0; ok && i < list->n; i++)
        ok = (i == 0 || marked_text_append(&b, &between, c->err))
          && value_print(&b, &list->items[i], c->w, c->err);
    return give_text(out, ok, &b, c);
}

/* The leading part of float()'s grammar without names: digits, point, exponent. */
static bool plain_number(const struct marked_text *t, bool *whole)
{
    size_t digits = 0;
    *whole = true;
    for (size_t i = 0; i < t->n; i++) {
        char c = t->bytes[i];
        digits += ascii_digit(c);
        if (c == '.' || c == 'e' || c == 'E')
            *whole = false;
        else if (!ascii_digit(c) && c != '+' && c != '-')
            return false;
    }
    return digits > 0 && t->n < 64;
}

static bool filter_int(struct value *out, struct call *c)
{
    const struct value *other = argument(c, 0, "default");
    const struct value *v = c->v;
    *out = other ? *other : value_integer(0);
    if (!check_arguments(c, 1, "default", NULL))
        return false;
    double x = NAN;
    if (v->kind == VALUE_UNDEFINED)
        return refuse_type(c, v);
    if (v->kind == VALUE_INTEGER || v->kind == VALUE_BIG_INTEGER)
        *out = *v;
    else if (v->kind == VALUE_BOOLEAN)
        *out = value_integer(v->of.boolean);
    else if (v->kind == VALUE_FLOAT)
        x = v->of.number;
    else if (v->kind == VALUE_STRING) {
        bool whole;
        char text[64], *end;
        const struct marked_text t = marked_text_strip(&v->of.string, NULL, true, true);
        if (!plain_number(&t, &whole))
            return true;
        memcpy(text, t.bytes, t.n);
        text[t.n] = '\0';
        x = format_parse(text, &end);
        if (*end)
            return true;
        if (whole && fabs(x) > 9007199254740992.0)       /* not exact as a double */
            return error_set(c->err, "'int' of a text with a number beyond 64 bits");
    }
    if (isfinite(x) && fabs(x) >= 9e18)
        return error_set(c->err, "'int' of a number beyond 64 bits");
    if (isfinite(x))
        *out = value_integer((int64_t)x);
    return true;
}

static const struct {
    const char *name;
    bool (*apply)(struct value *out, struct call *c);
} filters[] = {
    { "tojson", filter_tojson }, { "length", filter_length }, { "count", filter_length },
    { "trim", filter_trim }, { "items", filter_items }, { "string", filter_string },
    { "safe", filter_safe }, { "default", filter_default }, { "d", filter_default },
    { "first", filter_first }, { "last", filter_last }, { "join", filter_join },
    { "upper", filter_upper }, { "lower", filter_lower }, { "list", filter_list },
    { "int", filter_int }, { "replace", filter_replace },
};

int filters_find(const struct marked_text *name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (marked_text_is(name, filters[i].name))
            return (int)i;
    return -1;
}

bool filters_apply(struct value *out, unsigned filter, const struct value *v,
                   const struct filters_arguments *args, struct workspace *w, struct error *err)
{
    struct call c = { filters[filter].name, v, args, w, err };
    return filters[filter].apply(out, &c);
}

/* ---- tests ---------------------------------------------------------------------- */

enum { MASK_ALL = -1 };
#define MASK(kind) (1 << VALUE_##kind)

/* A test is a set of kinds; `true` and `false` ask for the value too. */
static const struct {
    const char *name;
    int kinds;
    int boolean;                /* -1: either */
} tests[] = {
    { "defined", MASK_ALL & ~MASK(UNDEFINED), -1 },
    { "undefined", MASK(UNDEFINED), -1 },
    { "none", MASK(NONE), -1 },
    { "string", MASK(STRING), -1 },
    { "mapping", MASK(MAPPING), -1 },
    { "iterable", MASK(UNDEFINED) | MASK(STRING) | MASK(LIST) | MASK(TUPLE) | MASK(MAPPING)
                  | MASK(LOOP), -1 },
    { "sequence", MASK(UNDEFINED) | MASK(STRING) | MASK(LIST) | MASK(TUPLE) | MASK(MAPPING), -1 },
    { "true", MASK(BOOLEAN), true },
    { "false", MASK(BOOLEAN), false },
    { "boolean", MASK(BOOLEAN), -1 },
    { "number", MASK(BOOLEAN) | MASK(INTEGER) | MASK(BIG_INTEGER) | MASK(FLOAT), -1 },
    { "integer", MASK(INTEGER) | MASK(BIG_INTEGER), -1 },
    { "float", MASK(FLOAT), -1 },
};

int filters_find_test(const struct marked_text *name)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (marked_text_is(name, tests[i].name))
            return (int)i;
    return -1;
}

bool filters_test(unsigned test, const struct value *v)
{
    return (tests[test].kinds & (1 << v->kind))
        && (tests[test].boolean < 0 || v->of.boolean == (tests[test].boolean != 0));
}

/* ---- methods -------------------------------------------------------------------- */

static bool method_startswith(struct value *out, struct call *c)
{
    return test_affix(out, c, &c->v->of.string, true);
}

static bool method_endswith(struct value *out, struct call *c)
{
    return test_affix(out, c, &c->v->of.string, false);
}

static bool method_split(struct value *out, struct call *c)
{
    return split(out, c, &c->v->of.string);
}

static bool method_strip(struct value *out, struct call *c)
{
    return strip(out, c, &c->v->of.string, true, true);
}

static bool method_lstrip(struct value *out, struct call *c)
{
    return strip(out, c, &c->v->of.string, true, false);
}

static bool method_rstrip(struct value *out, struct call *c)
{
    return strip(out, c, &c->v->of.string, false, true);
}

static bool method_replace(struct value *out, struct call *c)
{
    return replace(out, c, &c->v->of.string);
}

static bool method_get(struct value *out, struct call *c)
{
    const struct value *key = argument(c, 0, NULL), *other = argument(c, 1, NULL);
    if (!check_arguments(c, 2, NULL, NULL) || !key)
        return key ? false : error_set(c->err, "'get' lacks an argument");
    const struct value *found = key->kind == VALUE_STRING
                              ? value_mapping_get(c->v->of.mapping, &key->of.string) : NULL;
    *out = found ? *found : other ? *other : value_none();
    return true;
}

static bool method_keys(struct value *out, struct call *c)
{
    return check_arguments(c, 0, NULL, NULL)
        && mapping_list(out, c->v->of.mapping, 0, c->w, c->err);
}

static bool method_values(struct value *out, struct call *c)
{
    return check_arguments(c, 0, NULL, NULL)
        && mapping_list(out, c->v->of.mapping, 1, c->w, c->err);
}

static const struct {
    const char *name;
    enum value_kind of;
    bool (*call)(struct value *out, struct call *c);
} methods[] = {
    { "startswith", VALUE_STRING, method_startswith },
    { "endswith", VALUE_STRING, method_endswith },
    { "split", VALUE_STRING, method_split },
    { "strip", VALUE_STRING, method_strip },
    { "lstrip", VALUE_STRING, method_lstrip },
    { "rstrip", VALUE_STRING, method_rstrip },
    { "replace", VALUE_STRING, method_replace },
    { "upper", VALUE_STRING, filter_upper },
    { "lower", VALUE_STRING, filter_lower },
    { "get", VALUE_MAPPING, method_get },
    { "items", VALUE_MAPPING, filter_items },
    { "keys", VALUE_MAPPING, method_keys },
    { "values", VALUE_MAPPING, method_values },
};

int filters_find_method(const struct marked_text *name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (marked_text_is(name, methods[i].name))
            return (int)i;
    return -1;
}

bool filters_has_method(const struct value *v, unsigned method)
{
    return v->kind == methods[method].of;
}

bool filters_call_method(struct value *out, unsigned method, const struct value *v,
                         const struct filters_arguments *args, struct workspace *w,
                         struct error *err)
{
    struct call c = { methods[method].name, v, args, w, err };
    return methods[method].call(out, &c);
}
