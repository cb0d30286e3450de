#include "chat/value_json.h"

#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/utf8.h"

/* ---- reading ------------------------------------------------------------- */

struct reader {
    const char *text, *at, *end;        /* *end is NUL */
    const char *path;
    bool marked;
    unsigned depth;
    struct workspace *w;
    struct error *err;
};

static bool refuse(const struct reader *r, const char *why)
{
    return error_set(r->err, "%s: %s at byte %zu", r->path, why, (size_t)(r->at - r->text));
}

static void skip_space(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\t' || *r->at == '\r' || *r->at == '\n')
        r->at++;
}

/* Four hexadecimal digits behind the place of r; -1 if they are not there. */
static int32_t read_hex(const char *at, const char *end)
{
    int32_t value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = ascii_hex(at[i]);
        if (digit < 0)
            return -1;
        value = 16 * value + digit;
    }
    return value;
}

/* The escape at r->at, which is a backslash. */
static bool read_escape(struct reader *r, struct buffer *b)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char bytes[4];
    const char *simple = r->at[1] ? strchr(from, r->at[1]) : NULL;
    if (simple) {
        r->at += 2;
        return buffer_append(b, &to[simple - from], 1, r->err);
    }
    int32_t c = r->at[1] == 'u' ? read_hex(r->at + 2, r->end) : -1;
    if (c < 0)
        return refuse(r, "an unknown escape in a string");
    size_t length = 6;
    if (c >= 0xD800 && c < 0xE000) {
        int32_t low = c < 0xDC00 && r->at[6] == '\\' && r->at[7] == 'u'
                    ? read_hex(r->at + 8, r->end) : -1;
        if (low < 0xDC00 || low >= 0xE000)
            return refuse(r, "a lone surrogate in a string");
        c = 0x10000 + (c - 0xD800) * 0x400 + (low - 0xDC00);
        length = 12;
    }
    r->at += length;
    return buffer_append(b, bytes, utf8_put(bytes, (uint32_t)c), r->err);
}

/* r->at is the opening quote. */
static bool read_string(struct reader *r, struct marked_text *out)
{
    struct buffer b = { 0 };
    bool ok = true;
    r->at++;
    while (ok && *r->at != '"') {
        const char *plain = r->at;
        while ((unsigned char)*r->at >= 0x20 && *r->at != '"' && *r->at != '\\')
            r->at++;
        ok = r->at == plain || buffer_append(&b, plain, (size_t)(r->at - plain), r->err);
        if (ok && *r->at == '\\')
            ok = read_escape(r, &b);
        else if (ok && *r->at != '"')
            ok = refuse(r, r->at >= r->end ? "a string without an end"
                                           : "a control character in a string");
    }
    r->at += ok;
    const char *copy = ok ? workspace_copy(r->w, b.data, b.size, r->err) : NULL;
    *out = (struct marked_text){ .bytes = copy, .n = b.size, .marked = r->marked };
    buffer_free(&b);
    return copy != NULL;
}

static size_t skip_digits(struct reader *r)
{
    const char *begin = r->at;
    while (ascii_digit(*r->at))
        r->at++;
    return (size_t)(r->at - begin);
}

/* The digits of an integer that JSON's grammar has passed. */
static bool integer_value(struct reader *r, struct value *out, const char *begin, size_t n)
{
    bool minus = *begin == '-';
    int64_t value = 0;
    bool fits = true;
    for (size_t i = minus; fits && i < n; i++)
        fits = !__builtin_mul_overflow(value, 10, &value)
            && !__builtin_sub_overflow(value, begin[i] - '0', &value);     /* -2^63 fits */
    if (fits && !minus)
        fits = !__builtin_sub_overflow((int64_t)0, value, &value);
    *out = value_integer(value);
    if (fits)
        return true;
    const char *copy = workspace_copy(r->w, begin, n, r->err);
    out->kind = VALUE_BIG_INTEGER;
    out->of.string = (struct marked_text){ .bytes = copy, .n = n, .marked = r->marked };
    return copy != NULL;
}

static bool read_number(struct reader *r, struct value *out)
{
    const char *begin = r->at;
    bool whole = true;
    r->at += *r->at == '-';
    const char *first = r->at;
    size_t n = skip_digits(r);
    if (n == 0 || (n > 1 && *first == '0'))
        return refuse(r, "not valid JSON");
    if (*r->at == '.') {
        whole = false;
        r->at++;
        if (skip_digits(r) == 0)
            return refuse(r, "a number without digits behind its point");
    }
    if (*r->at == 'e' || *r->at == 'E') {
        whole = false;
        r->at++;
        r->at += *r->at == '+' || *r->at == '-';
        if (skip_digits(r) == 0)
            return refuse(r, "a number without digits in its exponent");
    }
    if (whole && n > VALUE_JSON_DIGITS)
        return refuse(r, "an integer of more than 4300 digits");
    if (whole)
        return integer_value(r, out, begin, (size_t)(r->at - begin));
    *out = value_float(format_parse(begin, NULL));
    return true;
}

static bool read_value(struct reader *r, struct value *out);

/* Grows by doubling; the items are moved to the workspace at the end. */
static bool read_list(struct reader *r, struct value *out)
{
    struct value *items = NULL;
    size_t n = 0, capacity = 0;
    bool ok = true;
    r->at++;
    skip_space(r);
    while (ok && *r->at != ']') {
        ok = mem_grow(&items, &capacity, n + 1, sizeof *items, "a JSON array", r->err)
          && read_value(r, &items[n]);
        n += ok;
        if (ok && *r->at == ',') {
            r->at++;
            skip_space(r);
            ok = *r->at != ']' || refuse(r, "a comma before the end of an array");
        } else if (ok && *r->at != ']')
            ok = refuse(r, "an array without an end");
    }
    r->at += ok;
    ok = ok && value_list_make(out, VALUE_LIST, n, r->w, r->err);
    if (ok && n)
        memcpy(out->of.list->items, items, n * sizeof *items);
    free(items);
    return ok;
}

static bool read_entry(struct reader *r, struct value_mapping *m)
{
    struct marked_text key;
    struct value v;
    if (*r->at != '"')
        return refuse(r, "an object's key that is not a string");
    if (!read_string(r, &key))
        return false;
    skip_space(r);
    if (*r->at != ':')
        return refuse(r, "a key without a value");
    r->at++;
    return read_value(r, &v) && value_mapping_set(m, &key, &v, r->w, r->err);
}

static bool read_object(struct reader *r, struct value *out)
{
    if (!value_mapping_make(out, VALUE_MAPPING, r->w, r->err))
        return false;
    r->at++;
    skip_space(r);
    while (*r->at != '}') {
        if (!read_entry(r, out->of.mapping))
            return false;
        if (*r->at == ',') {
            r->at++;
            skip_space(r);
            if (*r->at == '}')
                return refuse(r, "a comma before the end of an object");
        } else if (*r->at != '}')
            return refuse(r, "an object without an end");
    }
    r->at++;
    return true;
}

static bool read_word(struct reader *r, struct value *out)
{
    static const struct {
        const char *word;
        struct value value;
    } words[] = {
        { "null", { .kind = VALUE_NONE } },
        { "true", { .kind = VALUE_BOOLEAN, .of.boolean = true } },
        { "false", { .kind = VALUE_BOOLEAN, .of.boolean = false } },
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        size_t n = strlen(words[i].word);
        if ((size_t)(r->end - r->at) >= n && memcmp(r->at, words[i].word, n) == 0) {
            r->at += n;
            *out = words[i].value;
            return true;
        }
    }
    return refuse(r, r->at >= r->end ? "the JSON value ends too soon" : "not valid JSON");
}

/* Skips the white space on both sides. */
static bool read_value(struct reader *r, struct value *out)
{
    skip_space(r);
    if (r->depth == VALUE_DEPTH)
        return refuse(r, "JSON nested deeper than 64");
    r->depth++;
    bool ok;
    if (*r->at == '{')
        ok = read_object(r, out);
    else if (*r->at == '[')
        ok = read_list(r, out);
    else if (*r->at == '"') {
        struct marked_text t;
        ok = read_string(r, &t);
        *out = value_string(t);
    } else if (*r->at == '-' || ascii_digit(*r->at))
        ok = read_number(r, out);
    else
        ok = read_word(r, out);
    r->depth--;
    if (ok)
        skip_space(r);
    return ok;
}

bool value_json_read(struct value *out, const char *text, size_t n, const char *path, bool marked,
                     struct workspace *w, struct error *err)
{
    size_t bad;
    if (!utf8_valid(text, n, &bad))
        return error_set(err, "%s: invalid UTF-8 at byte %zu", path, bad);
    const char *copy = workspace_copy(w, text, n, err);     /* with a NUL behind */
    if (!copy)
        return false;
    struct reader r = { .text = copy, .at = copy, .end = copy + n, .path = path, .marked = marked,
                        .w = w, .err = err };
    if (!read_value(&r, out))
        return false;
    return r.at == r.end || refuse(&r, "text after the JSON value");
}

/* ---- writing -------------------------------------------------------------- */

bool value_json_write_inside(struct marked_text_builder *b, const struct marked_text *t,
                             struct error *err)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    size_t plain = 0;                   /* start of the run that needs no escape */
    bool ok = true;
    for (size_t i = 0; ok && i < t->n; i++) {
        unsigned char c = (unsigned char)t->bytes[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        const struct marked_text run = marked_text_part(t, plain, i);
        const char *simple = c ? strchr(from, c) : NULL;
        char escape[8];
        if (simple)
            format_text(escape, sizeof escape, "\\%c", to[simple - from]);
        else
            format_text(escape, sizeof escape, "\\u%04x", c);
        plain = i + 1;
        ok = marked_text_append(b, &run, err)
          && marked_text_append_bytes(b, escape, strlen(escape), true, err);
    }
    const struct marked_text rest = marked_text_part(t, plain, t->n);
    return ok && marked_text_append(b, &rest, err);
}

bool value_json_write_string(struct marked_text_builder *b, const struct marked_text *t,
                             struct error *err)
{
    return marked_text_append_word(b, "\"", err) && value_json_write_inside(b, t, err)
        && marked_text_append_word(b, "\"", err);
}

struct writer {
    struct marked_text_builder *b;
    int indent;                         /* negative: all on one line */
    unsigned depth;
    struct workspace *w;
    struct error *err;
};

static bool write_value(struct writer *p, const struct value *v);

/* A line end and the indent, if there is one. */
static bool new_line(struct writer *p)
{
    bool ok = p->indent < 0 || marked_text_append_word(p->b, "\n", p->err);
    for (int i = 0; ok && i < p->indent * (int)p->depth; i++)
        ok = marked_text_append_word(p->b, " ", p->err);
    return ok;
}

static bool separate(struct writer *p, size_t i)
{
    return (i == 0 || marked_text_append_word(p->b, p->indent < 0 ? ", " : ",", p->err))
        && new_line(p);
}

static bool write_list(struct writer *p, const struct value_list *list)
{
    if (list->n == 0)
        return marked_text_append_word(p->b, "[]", p->err);
    bool ok = marked_text_append_word(p->b, "[", p->err);
    p->depth++;
    for (size_t i = 0; ok && i < list->n; i++)
        ok = separate(p, i) && write_value(p, &list->items[i]);
    p->depth--;
    return ok && new_line(p) && marked_text_append_word(p->b, "]", p->err);
}

static bool write_mapping(struct writer *p, const struct value_mapping *m)
{
    if (m->n == 0)
        return marked_text_append_word(p->b, "{}", p->err);
    bool ok = marked_text_append_word(p->b, "{", p->err);
    p->depth++;
    for (size_t i = 0; ok && i < m->n; i++)
        ok = separate(p, i) && value_json_write_string(p->b, &m->entries[i].key, p->err)
          && marked_text_append_word(p->b, ": ", p->err) && write_value(p, &m->entries[i].value);
    p->depth--;
    return ok && new_line(p) && marked_text_append_word(p->b, "}", p->err);
}

static bool write_value(struct writer *p, const struct value *v)
{
    if (p->depth > VALUE_DEPTH)
        return error_set(p->err, "values are nested deeper than %d", VALUE_DEPTH);
    if (!workspace_step(p->w, 0, p->err))
        return false;
    switch (v->kind) {
    case VALUE_NONE:
        return marked_text_append_word(p->b, "null", p->err);
    case VALUE_BOOLEAN:
        return marked_text_append_word(p->b, v->of.boolean ? "true" : "false", p->err);
    case VALUE_FLOAT:
        if (v->of.number - v->of.number != 0)       /* Python's words for what JSON lacks */
            return marked_text_append_word(p->b, v->of.number > 0 ? "Infinity"
                                           : v->of.number < 0 ? "-Infinity" : "NaN", p->err);
        return value_print_float(p->b, v->of.number, p->err);
    case VALUE_INTEGER: case VALUE_BIG_INTEGER:
        return value_print(p->b, v, p->w, p->err);
    case VALUE_STRING:
        return value_json_write_string(p->b, &v->of.string, p->err);
    case VALUE_LIST: case VALUE_TUPLE:
        return write_list(p, v->of.list);
    case VALUE_MAPPING:
        return write_mapping(p, v->of.mapping);
    default:
        return error_set(p->err, "%s has no form in JSON", value_type(v));
    }
}

bool value_json_write(struct marked_text_builder *b, const struct value *v, int indent,
                      struct workspace *w, struct error *err)
{
    struct writer p = { .b = b, .indent = indent, .w = w, .err = err };
    return write_value(&p, v);
}
