#include "chat/value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "base/format.h"
#include "base/utf8.h"

#define FEW_ENTRIES 8           /* up to here a mapping is searched from its first entry */

/* ---- making -------------------------------------------------------------- */

struct value value_undefined(const char *name, size_t n)
{
    return (struct value){ .kind = VALUE_UNDEFINED, .of.string = marked_text_plain(name, n) };
}

struct value value_none(void)
{
    return (struct value){ .kind = VALUE_NONE };
}

struct value value_boolean(bool b)
{
    return (struct value){ .kind = VALUE_BOOLEAN, .of.boolean = b };
}

struct value value_integer(int64_t i)
{
    return (struct value){ .kind = VALUE_INTEGER, .of.integer = i };
}

struct value value_float(double x)
{
    return (struct value){ .kind = VALUE_FLOAT, .of.number = x };
}

struct value value_string(struct marked_text t)
{
    return (struct value){ .kind = VALUE_STRING, .of.string = t };
}

bool value_list_make(struct value *out, enum value_kind kind, size_t n, struct workspace *w,
                     struct error *err)
{
    size_t bytes;
    struct value_list *list = NULL;
    if (!size_product(&bytes, n, sizeof(struct value)))
        return error_set(err, "a list of %zu values is too long", n);
    list = workspace_take(w, sizeof *list + bytes, err);
    if (!list)
        return false;
    list->n = n;
    *out = (struct value){ .kind = kind, .of.list = list };
    return true;
}

bool value_mapping_make(struct value *out, enum value_kind kind, struct workspace *w,
                        struct error *err)
{
    *out = (struct value){ .kind = kind };
    out->of.mapping = workspace_take(w, sizeof *out->of.mapping, err);
    return out->of.mapping != NULL;
}

/* ---- mappings ------------------------------------------------------------- */

/* FNV-1a, begun with where the mapping is, which nobody who writes keys knows: they could choose
 * keys that all have one slot. */
static size_t hash(const struct value_mapping *m, const struct marked_text *key)
{
    uint64_t h = 14695981039346656037u ^ ((uint64_t)(uintptr_t)m * 0x9E3779B97F4A7C15u);
    for (size_t i = 0; i < key->n; i++)
        h = (h ^ (unsigned char)key->bytes[i]) * 1099511628211u;
    return (size_t)(h ^ (h >> 32));
}

/* The slot that holds the key, or the free one where it belongs. */
static uint32_t *find_slot(const struct value_mapping *m, const struct marked_text *key)
{
    size_t at = hash(m, key) & (m->n_slots - 1);
    while (m->slots[at] && !marked_text_equal(&m->entries[m->slots[at] - 1].key, key))
        at = (at + 1) & (m->n_slots - 1);
    return &m->slots[at];
}

struct value *value_mapping_get(const struct value_mapping *m, const struct marked_text *key)
{
    if (m->slots) {
        uint32_t found = *find_slot(m, key);
        return found ? &m->entries[found - 1].value : NULL;
    }
    for (size_t i = 0; i < m->n; i++)
        if (marked_text_equal(&m->entries[i].key, key))
            return &m->entries[i].value;
    return NULL;
}

/* Doubles the room, and makes the table of slots anew. */
static bool grow(struct value_mapping *m, struct workspace *w, struct error *err)
{
    size_t capacity = m->capacity ? 2 * m->capacity : FEW_ENTRIES;
    if (capacity > UINT32_MAX / 2)
        return error_set(err, "a mapping of %zu keys is too large", m->n);
    struct value_entry *entries = workspace_take(w, capacity * sizeof *entries, err);
    if (!entries)
        return false;
    if (m->n)
        memcpy(entries, m->entries, m->n * sizeof *entries);
    m->entries = entries;
    m->capacity = capacity;
    if (capacity <= FEW_ENTRIES)
        return true;
    m->n_slots = 2 * capacity;
    m->slots = workspace_take(w, m->n_slots * sizeof *m->slots, err);
    for (size_t i = 0; m->slots && i < m->n; i++)
        *find_slot(m, &m->entries[i].key) = (uint32_t)i + 1;
    return m->slots != NULL;
}

bool value_mapping_set(struct value_mapping *m, const struct marked_text *key,
                       const struct value *v, struct workspace *w, struct error *err)
{
    struct value *there = value_mapping_get(m, key);
    if (there) {
        *there = *v;
        return true;
    }
    if (m->n == m->capacity && !grow(m, w, err))
        return false;
    m->entries[m->n] = (struct value_entry){ *key, *v };
    m->n++;
    if (m->slots)
        *find_slot(m, key) = (uint32_t)m->n;
    return true;
}

const struct value *value_member(const struct value *v, const char *key)
{
    const struct marked_text text = marked_text_plain(key, strlen(key));
    return v->kind == VALUE_MAPPING ? value_mapping_get(v->of.mapping, &text) : NULL;
}

/* ---- asking --------------------------------------------------------------- */

bool value_is_string(const struct value *v, const char *word)
{
    return v->kind == VALUE_STRING && marked_text_is(&v->of.string, word);
}

bool value_truth(const struct value *v)
{
    switch (v->kind) {
    case VALUE_UNDEFINED: case VALUE_NONE: return false;
    case VALUE_BOOLEAN: return v->of.boolean;
    case VALUE_INTEGER: return v->of.integer != 0;
    case VALUE_FLOAT:   return v->of.number != 0;
    case VALUE_STRING:  return v->of.string.n > 0;
    case VALUE_LIST: case VALUE_TUPLE: return v->of.list->n > 0;
    case VALUE_MAPPING: return v->of.mapping->n > 0;
    default: return true;
    }
}

const char *value_type(const struct value *v)
{
    static const char *const names[] = {
        "an undefined value", "none", "a boolean", "an integer", "an integer", "a float",
        "a string", "a list", "a tuple", "a mapping", "a namespace", "a loop", "a macro",
        "a function",
    };
    return names[v->kind];
}

static bool equal(bool *out, const struct value *a, const struct value *b, unsigned depth,
                  struct workspace *w, struct error *err);

static bool lists_equal(bool *out, const struct value_list *a, const struct value_list *b,
                        unsigned depth, struct workspace *w, struct error *err)
{
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++)
        if (!equal(out, &a->items[i], &b->items[i], depth + 1, w, err))
            return false;
    return true;
}

static bool mappings_equal(bool *out, const struct value_mapping *a,
                           const struct value_mapping *b, unsigned depth, struct workspace *w,
                           struct error *err)
{
    *out = a->n == b->n;
    for (size_t i = 0; *out && i < a->n; i++) {
        const struct value *other = value_mapping_get(b, &a->entries[i].key);
        *out = other != NULL;
        if (other && !equal(out, &a->entries[i].value, other, depth + 1, w, err))
            return false;
    }
    return true;
}

/* Of a boolean, integer or float. */
static bool is_number(const struct value *v)
{
    return v->kind == VALUE_BOOLEAN || v->kind == VALUE_INTEGER || v->kind == VALUE_FLOAT;
}

static int compare_numbers(const struct value *a, const struct value *b)
{
    if (a->kind == VALUE_FLOAT || b->kind == VALUE_FLOAT) {
        double x = a->kind == VALUE_FLOAT ? a->of.number
                 : a->kind == VALUE_BOOLEAN ? a->of.boolean : (double)a->of.integer;
        double y = b->kind == VALUE_FLOAT ? b->of.number
                 : b->kind == VALUE_BOOLEAN ? b->of.boolean : (double)b->of.integer;
        return x < y ? -1 : x > y;
    }
    int64_t i = a->kind == VALUE_BOOLEAN ? a->of.boolean : a->of.integer;
    int64_t j = b->kind == VALUE_BOOLEAN ? b->of.boolean : b->of.integer;
    return i < j ? -1 : i > j;
}

static bool equal(bool *out, const struct value *a, const struct value *b, unsigned depth,
                  struct workspace *w, struct error *err)
{
    *out = false;
    if (depth > VALUE_DEPTH)
        return error_set(err, "values are nested deeper than %d", VALUE_DEPTH);
    if (!workspace_step(w, 0, err))
        return false;
    if (is_number(a) && is_number(b)) {
        *out = compare_numbers(a, b) == 0;
        return true;
    }
    if (a->kind != b->kind)
        return true;
    switch (a->kind) {
    case VALUE_UNDEFINED: case VALUE_NONE:
        *out = true;
        return true;
    case VALUE_STRING: case VALUE_BIG_INTEGER:
        *out = marked_text_equal(&a->of.string, &b->of.string);
        return true;
    case VALUE_LIST: case VALUE_TUPLE:
        return lists_equal(out, a->of.list, b->of.list, depth, w, err);
    case VALUE_MAPPING:
        return mappings_equal(out, a->of.mapping, b->of.mapping, depth, w, err);
    default:
        *out = a->kind != VALUE_FUNCTION && a->of.mapping == b->of.mapping;
        return true;
    }
}

bool value_equal(bool *out, const struct value *a, const struct value *b, struct workspace *w,
                 struct error *err)
{
    return equal(out, a, b, 0, w, err);
}

bool value_order(int *order, const struct value *a, const struct value *b, struct error *err)
{
    if (is_number(a) && is_number(b)) {
        *order = compare_numbers(a, b);
        return true;
    }
    if (a->kind != VALUE_STRING || b->kind != VALUE_STRING)
        return error_set(err, "%s and %s have no order", value_type(a), value_type(b));
    /* UTF-8 sorts as its code points do. */
    const struct marked_text *s = &a->of.string, *t = &b->of.string;
    size_t n = size_min(s->n, t->n);
    int c = n ? memcmp(s->bytes, t->bytes, n) : 0;
    *order = c ? c : s->n < t->n ? -1 : s->n > t->n;
    return true;
}

/* ---- as text ---------------------------------------------------------------- */

bool value_print_float(struct marked_text_builder *b, double x, struct error *err)
{
    char text[64], digits[32];
    if (!isfinite(x))
        return marked_text_append_word(b, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf", err);
    for (int precision = 0; precision < 17; precision++) {
        format_text(text, sizeof text, "%.*e", precision, x);
        if (format_parse(text, NULL) == x)
            break;
    }
    /* -d.ddde+XX */
    const char *at = text;
    bool minus = *at == '-';
    at += minus;
    int n = 0;
    for (; *at != 'e'; at++)
        if (*at != '.')
            digits[n++] = *at;
    digits[n] = '\0';
    int exponent = (int)format_parse(at + 1, NULL);
    const char *sign = minus ? "-" : "";
    if (exponent < -4 || exponent >= 16)
        format_text(text, sizeof text, "%s%.1s%s%se%c%02d", sign, digits, n > 1 ? "." : "",
                    digits + 1, exponent < 0 ? '-' : '+', abs(exponent));
    else if (exponent < 0)
        format_text(text, sizeof text, "%s0.%.*s%s", sign, -exponent - 1, "000", digits);
    else if (exponent + 1 >= n)
        format_text(text, sizeof text, "%s%s%.*s.0", sign, digits, exponent + 1 - n,
                    "0000000000000000");
    else
        format_text(text, sizeof text, "%s%.*s.%s", sign, exponent + 1, digits,
                    digits + exponent + 1);
    return marked_text_append_word(b, text, err);
}

/* Does Python's repr show the character as it is (str.isprintable)? */
static bool is_printable(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN: case UTF8PROC_CATEGORY_CC: case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS: case UTF8PROC_CATEGORY_CO: case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return c == ' ';
    default:
        return true;
    }
}

static bool print_character(struct marked_text_builder *b, const struct marked_text *t, size_t at,
                            char quote, size_t *length, struct error *err)
{
    uint32_t c = utf8_get(t->bytes + at, length);
    char text[16];
    if (c == '\n' || c == '\r' || c == '\t')
        format_text(text, sizeof text, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
    else if (c == '\\' || c == (unsigned char)quote)
        format_text(text, sizeof text, "\\%c", (int)c);
    else if (is_printable(c)) {
        const struct marked_text part = marked_text_part(t, at, at + *length);
        return marked_text_append(b, &part, err);
    } else
        format_text(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x",
                    c);
    return marked_text_append_bytes(b, text, strlen(text), true, err);
}

static bool print_string(struct marked_text_builder *b, const struct marked_text *t,
                         struct error *err)
{
    bool has_single = t->n && memchr(t->bytes, '\'', t->n);
    bool has_double = t->n && memchr(t->bytes, '"', t->n);
    char quote = has_single && !has_double ? '"' : '\'';
    bool ok = marked_text_append_bytes(b, &quote, 1, false, err);
    for (size_t i = 0, length; ok && i < t->n; i += length)
        ok = print_character(b, t, i, quote, &length, err);
    return ok && marked_text_append_bytes(b, &quote, 1, false, err);
}

static bool print_at(struct marked_text_builder *b, const struct value *v, unsigned depth,
                     struct workspace *w, struct error *err);

static bool print_list(struct marked_text_builder *b, const struct value *v, unsigned depth,
                       struct workspace *w, struct error *err)
{
    const struct value_list *list = v->of.list;
    bool tuple = v->kind == VALUE_TUPLE;
    bool ok = marked_text_append_word(b, tuple ? "(" : "[", err);
    for (size_t i = 0; ok && i < list->n; i++)
        ok = (i == 0 || marked_text_append_word(b, ", ", err))
          && print_at(b, &list->items[i], depth + 1, w, err);
    return ok && marked_text_append_word(b, !tuple ? "]" : list->n == 1 ? ",)" : ")", err);
}

static bool print_mapping(struct marked_text_builder *b, const struct value_mapping *m,
                          unsigned depth, struct workspace *w, struct error *err)
{
    bool ok = marked_text_append_word(b, "{", err);
    for (size_t i = 0; ok && i < m->n; i++)
        ok = (i == 0 || marked_text_append_word(b, ", ", err))
          && print_string(b, &m->entries[i].key, err) && marked_text_append_word(b, ": ", err)
          && print_at(b, &m->entries[i].value, depth + 1, w, err);
    return ok && marked_text_append_word(b, "}", err);
}

/* depth 0: str(), else repr(). */
static bool print_at(struct marked_text_builder *b, const struct value *v, unsigned depth,
                     struct workspace *w, struct error *err)
{
    char digits[32];
    if (depth > VALUE_DEPTH)
        return error_set(err, "values are nested deeper than %d", VALUE_DEPTH);
    if (!workspace_step(w, 0, err))
        return false;
    switch (v->kind) {
    case VALUE_UNDEFINED:
        return marked_text_append_word(b, depth ? "Undefined" : "", err);
    case VALUE_NONE:
        return marked_text_append_word(b, "None", err);
    case VALUE_BOOLEAN:
        return marked_text_append_word(b, v->of.boolean ? "True" : "False", err);
    case VALUE_INTEGER:
        format_text(digits, sizeof digits, "%lld", (long long)v->of.integer);
        return marked_text_append_word(b, digits, err);
    case VALUE_FLOAT:
        return value_print_float(b, v->of.number, err);
    case VALUE_STRING:
        return depth ? print_string(b, &v->of.string, err)
                     : marked_text_append(b, &v->of.string, err);
    case VALUE_BIG_INTEGER:
        return marked_text_append(b, &v->of.string, err);
    case VALUE_LIST: case VALUE_TUPLE:
        return print_list(b, v, depth, w, err);
    case VALUE_MAPPING:
        return print_mapping(b, v->of.mapping, depth, w, err);
    default:
        return error_set(err, "%s cannot be printed", value_type(v));
    }
}

bool value_print(struct marked_text_builder *b, const struct value *v, struct workspace *w,
                 struct error *err)
{
    return print_at(b, v, 0, w, err);
}

bool value_to_text(struct marked_text *out, const struct value *v, struct workspace *w,
                   struct error *err)
{
    if (v->kind == VALUE_STRING) {
        *out = v->of.string;
        return true;
    }
    struct marked_text_builder b = { .limit = w->bytes_limit };
    bool ok = value_print(&b, v, w, err);
    if (!ok)
        marked_text_builder_free(&b);
    return ok && marked_text_finish(out, &b, w, err);
}
