#include "chat/coercion.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "chat/value_json.h"

/* ---- types of a schema -------------------------------------------------------- */

/* Names that clients use; those that end in * are prefixes. */
static const struct {
    const char *name;
    unsigned type;
} names[] = {
    { "string", COERCION_STRING }, { "str", COERCION_STRING }, { "text", COERCION_STRING },
    { "varchar", COERCION_STRING }, { "char", COERCION_STRING }, { "enum", COERCION_STRING },
    { "int*", COERCION_INTEGER }, { "uint*", COERCION_INTEGER }, { "long*", COERCION_INTEGER },
    { "short*", COERCION_INTEGER }, { "unsigned*", COERCION_INTEGER },
    { "number", COERCION_NUMBER }, { "float*", COERCION_NUMBER }, { "num*", COERCION_NUMBER },
    { "double", COERCION_NUMBER }, { "boolean", COERCION_BOOLEAN }, { "bool", COERCION_BOOLEAN },
    { "array", COERCION_ARRAY }, { "list*", COERCION_ARRAY }, { "arr", COERCION_ARRAY },
    { "tuple", COERCION_ARRAY }, { "object", COERCION_OBJECT }, { "dict*", COERCION_OBJECT },
    { "map", COERCION_OBJECT }, { "obj", COERCION_OBJECT }, { "null", COERCION_NULL },
};

static unsigned named_type(const struct value *name)
{
    if (name->kind != VALUE_STRING)
        return 0;
    const struct marked_text *t = &name->of.string;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i].name);
        bool prefix = names[i].name[n - 1] == '*';
        n -= prefix;
        if ((prefix ? t->n >= n : t->n == n) && memcmp(t->bytes, names[i].name, n) == 0)
            return names[i].type;
    }
    return 0;
}

static unsigned type_of_value(const struct value *v)
{
    switch (v->kind) {
    case VALUE_NONE:    return COERCION_NULL;
    case VALUE_BOOLEAN: return COERCION_BOOLEAN;
    case VALUE_INTEGER: case VALUE_BIG_INTEGER: return COERCION_INTEGER;
    case VALUE_FLOAT:   return COERCION_NUMBER;
    case VALUE_LIST:    return COERCION_ARRAY;
    case VALUE_MAPPING: return COERCION_OBJECT;
    default:            return COERCION_STRING;
    }
}

/* "#/$defs/x" below root; NULL: not there. */
static const struct value *follow(const struct value *ref, const struct value *root)
{
    const struct value *at = root;
    if (ref->kind != VALUE_STRING || ref->of.string.n == 0 || ref->of.string.bytes[0] != '#')
        return NULL;
    const struct marked_text *t = &ref->of.string;
    for (size_t i = 1; at && i < t->n;) {
        size_t end = i + 1;
        while (end < t->n && t->bytes[end] != '/')
            end++;
        const struct marked_text key = marked_text_part(t, i + 1, end);
        at = t->bytes[i] == '/' && at->kind == VALUE_MAPPING
           ? value_mapping_get(at->of.mapping, &key) : NULL;
        i = end;
    }
    return at;
}

static unsigned types_at(const struct value *schema, const struct value *root, unsigned depth,
                         unsigned *looked);

/* Of the schemas in a list. */
static unsigned union_of(const struct value *list, const struct value *root, unsigned depth,
                         unsigned *looked)
{
    unsigned types = 0;
    for (size_t i = 0; list && list->kind == VALUE_LIST && i < list->of.list->n; i++)
        types |= types_at(&list->of.list->items[i], root, depth, looked);
    return types;
}

static unsigned own_types(const struct value *schema)
{
    const struct value *type = value_member(schema, "type"), *v;
    unsigned types = 0;
    if (type && type->kind == VALUE_LIST)
        for (size_t i = 0; i < type->of.list->n; i++)
            types |= named_type(&type->of.list->items[i]);
    else if (type)
        types = named_type(type);
    if (!types && (v = value_member(schema, "const")))
        types = type_of_value(v);
    v = value_member(schema, "enum");
    for (size_t i = 0; !type && v && v->kind == VALUE_LIST && i < v->of.list->n; i++)
        types |= type_of_value(&v->of.list->items[i]);
    return types;
}

/* looked: schemas so far; a few that name each other often would otherwise be walked for ever. */
static unsigned types_at(const struct value *schema, const struct value *root, unsigned depth,
                         unsigned *looked)
{
    static const char *const unions[] = { "anyOf", "oneOf", "allOf" };
    if (schema->kind != VALUE_MAPPING || depth > COERCION_DEPTH || ++*looked > 1000)
        return 0;
    const struct value *ref = value_member(schema, "$ref"), *nullable;
    const struct value *target = ref ? follow(ref, root) : NULL;
    unsigned types = own_types(schema);
    if (!types && target)
        types = types_at(target, root, depth + 1, looked);
    for (size_t i = 0; !types && i < sizeof unions / sizeof *unions; i++)
        types |= union_of(value_member(schema, unions[i]), root, depth + 1, looked);
    if (!types && value_member(schema, "properties"))
        types = COERCION_OBJECT;
    if (!types && value_member(schema, "items"))
        types = COERCION_ARRAY;
    nullable = value_member(schema, "nullable");
    return types | (nullable && value_truth(nullable) ? COERCION_NULL : 0);
}

unsigned coercion_types(const struct value *schema, const struct value *root)
{
    unsigned looked = 0;
    return types_at(schema, root, 0, &looked);
}

bool coercion_is_text(unsigned types)
{
    return types == 0 || types == COERCION_STRING;
}

/* ---- values ---------------------------------------------------------------------- */

static bool is_one_of(const struct marked_text *t, const char *const *words)
{
    for (; *words; words++)
        if (marked_text_is(t, *words))
            return true;
    return false;
}

/* The digits of an integer without sign and leading zeros; false: it is none. */
static bool integer_digits(const struct marked_text *t, bool *minus, struct marked_text *digits)
{
    size_t at = t->n && (t->bytes[0] == '+' || t->bytes[0] == '-');
    *minus = at && t->bytes[0] == '-';
    if (at == t->n)
        return false;
    for (size_t i = at; i < t->n; i++)
        if (!ascii_digit(t->bytes[i]))
            return false;
    while (at + 1 < t->n && t->bytes[at] == '0')
        at++;
    *digits = marked_text_part(t, at, t->n);
    *minus = *minus && !marked_text_is(digits, "0");
    return true;
}

/* A number of digits, point and exponent, that is finite. */
static bool float_value(const struct marked_text *t, double *x)
{
    char text[512], *end;
    size_t digits = 0;
    if (t->n >= sizeof text)
        return false;
    for (size_t i = 0; i < t->n; i++) {
        digits += ascii_digit(t->bytes[i]);
        if (!ascii_digit(t->bytes[i]) && (!t->bytes[i] || !strchr("+-.eE", t->bytes[i])))
            return false;
    }
    memcpy(text, t->bytes, t->n);
    text[t->n] = '\0';
    *x = format_parse(text, &end);
    return digits && *end == '\0' && isfinite(*x);
}

/* A number, if it is one; *done: it was, and is written. */
static bool write_number(struct marked_text_builder *b, const struct marked_text *t, bool *done,
                         struct error *err)
{
    struct marked_text digits;
    bool minus;
    double x;
    char text[40];
    *done = true;
    if (integer_digits(t, &minus, &digits))
        return (!minus || marked_text_append_word(b, "-", err))
            && marked_text_append(b, &digits, err);
    if (!float_value(t, &x)) {
        *done = false;
        return true;
    }
    if (x != floor(x) || fabs(x) >= 1e16)
        return value_print_float(b, x, err);
    format_text(text, sizeof text, "%.0f", x);
    return marked_text_append_word(b, text, err);
}

/* JSON of one of the kinds that are wanted. */
static bool write_nested(struct marked_text_builder *b, const struct marked_text *t, unsigned types,
                         bool *done, struct workspace *w, struct error *err)
{
    struct value v;
    struct error ignored = { 0 };
    *done = value_json_read(&v, t->bytes, t->n, "argument", false, w, &ignored)
         && ((v.kind == VALUE_MAPPING && (types & COERCION_OBJECT))
             || (v.kind == VALUE_LIST && (types & COERCION_ARRAY)));
    return !*done || value_json_write(b, &v, -1, w, err);
}

bool coercion_write(struct marked_text_builder *b, unsigned types, const struct marked_text *text,
                    struct workspace *w, struct error *err)
{
    static const char *const nulls[] = { "null", "None", "NULL", NULL };
    static const char *const trues[] = { "True", "true", "1", NULL };
    static const char *const falses[] = { "False", "false", "0", NULL };
    const struct marked_text t = marked_text_strip(text, NULL, true, true);
    bool done = false;
    if (coercion_is_text(types))
        return value_json_write_string(b, text, err);
    if (((types & COERCION_NULL) || !(types & COERCION_STRING)) && is_one_of(&t, nulls))
        return marked_text_append_word(b, "null", err);
    if ((types & (COERCION_INTEGER | COERCION_NUMBER)) && !write_number(b, &t, &done, err))
        return false;
    if (!done && (types & COERCION_BOOLEAN) && is_one_of(&t, trues))
        return marked_text_append_word(b, "true", err);
    if (!done && (types & COERCION_BOOLEAN) && is_one_of(&t, falses))
        return marked_text_append_word(b, "false", err);
    if (!done && (types & (COERCION_OBJECT | COERCION_ARRAY))
        && !write_nested(b, &t, types, &done, w, err))
        return false;
    return done || value_json_write_string(b, text, err);
}
