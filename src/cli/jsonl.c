#include "jsonl.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 256

struct reader {
    const char *p, *end;
    const char *why;
};

static bool fail(struct reader *r, const char *why)
{
    r->why = why;
    return false;
}

static bool grow(void *block, size_t *capacity, size_t needed, size_t size)
{
    void **p = block;
    if (needed <= *capacity)
        return true;
    size_t target = *capacity < 64 ? 64 : *capacity;
    while (target < needed)
        target *= 2;
    void *grown = realloc(*p, target * size);
    if (!grown)
        return false;
    *p = grown;
    *capacity = target;
    return true;
}

static bool append(struct reader *r, struct jsonl_text *out, const char *bytes, size_t n)
{
    if (!grow(&out->bytes, &out->capacity, out->n + n + 1, 1))
        return fail(r, "out of memory");
    memcpy(out->bytes + out->n, bytes, n);
    out->n += n;
    return true;
}

static void skip_space(struct reader *r)
{
    while (r->p < r->end && (*r->p == ' ' || (*r->p >= '\t' && *r->p <= '\r')))
        r->p++;
}

/* Takes c, after white space; false without a message if there is another character. */
static bool accept(struct reader *r, char c)
{
    skip_space(r);
    if (r->p == r->end || *r->p != c)
        return false;
    r->p++;
    return true;
}

/* ---- strings --------------------------------------------------------------- */

static bool read_hex(struct reader *r, unsigned *out)
{
    unsigned x = 0;
    for (int i = 0; i < 4; i++, r->p++) {
        char c = r->p < r->end ? *r->p : 'x';
        unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0')
                       : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                       : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10) : 16;
        if (digit == 16)
            return fail(r, "\\u needs four hexadecimal digits");
        x = 16 * x + digit;
    }
    *out = x;
    return true;
}

static bool append_code_point(struct reader *r, struct jsonl_text *out, unsigned c)
{
    char utf8[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xC0, 0xE0, 0xF0 };
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        utf8[i] = (char)(0x80 | (c & 0x3F));
    utf8[0] = (char)(lead[n] | c);
    return append(r, out, utf8, n);
}

/* After "\u": a character, or the first of two surrogates. */
static bool read_unicode(struct reader *r, struct jsonl_text *out)
{
    unsigned c, low;
    if (!read_hex(r, &c))
        return false;
    if (c >= 0xDC00 && c <= 0xDFFF)
        return fail(r, "a lone surrogate");
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (r->end - r->p < 2 || memcmp(r->p, "\\u", 2) != 0)
            return fail(r, "a lone surrogate");
        r->p += 2;
        if (!read_hex(r, &low))
            return false;
        if (low < 0xDC00 || low > 0xDFFF)
            return fail(r, "a lone surrogate");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    return append_code_point(r, out, c);
}

static bool read_escape(struct reader *r, struct jsonl_text *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    char c = r->p < r->end ? *r->p++ : '\0';
    if (c == 'u')
        return read_unicode(r, out);
    const char *at = c ? strchr(from, c) : NULL;
    return at ? append(r, out, &to[at - from], 1) : fail(r, "an unknown escape in a string");
}

/* out is replaced. */
static bool read_string(struct reader *r, struct jsonl_text *out)
{
    out->n = 0;
    if (!accept(r, '"'))
        return fail(r, "a string was expected");
    for (;;) {
        const char *plain = r->p;
        while (r->p < r->end && *r->p != '"' && *r->p != '\\' && (unsigned char)*r->p >= 0x20)
            r->p++;
        if (!append(r, out, plain, (size_t)(r->p - plain)))
            return false;
        if (r->p == r->end)
            return fail(r, "a string has no end");
        char c = *r->p++;
        if (c == '"')
            return true;
        if (c != '\\')
            return fail(r, "a control character in a string");
        if (!read_escape(r, out))
            return false;
    }
}

/* ---- other values ----------------------------------------------------------- */

static bool read_id(struct reader *r, int32_t *id)
{
    int64_t x = 0;
    skip_space(r);
    const char *begin = r->p;
    for (; r->p < r->end && *r->p >= '0' && *r->p <= '9' && x <= INT32_MAX; r->p++)
        x = 10 * x + (*r->p - '0');
    bool fraction = r->p < r->end && strchr(".eE", *r->p) && *r->p;
    if (r->p == begin || x > INT32_MAX || fraction || (*begin == '0' && r->p - begin > 1))
        return fail(r, "an id is not a whole number from 0 to 2147483647");
    *id = (int32_t)x;
    return true;
}

static bool read_ids(struct reader *r, struct jsonl_ids *out)
{
    out->n = 0;
    if (!accept(r, '['))
        return fail(r, "an array of ids was expected");
    if (accept(r, ']'))
        return true;
    do {
        if (!grow(&out->ids, &out->capacity, out->n + 1, sizeof *out->ids))
            return fail(r, "out of memory");
        if (!read_id(r, &out->ids[out->n++]))
            return false;
    } while (accept(r, ','));
    return accept(r, ']') || fail(r, "an array has no end");
}

static bool skip_digits(struct reader *r)
{
    const char *begin = r->p;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
        r->p++;
    return r->p > begin;
}

static bool skip_number(struct reader *r)
{
    if (r->p < r->end && *r->p == '-')
        r->p++;
    bool zero = r->p < r->end && *r->p == '0';
    bool ok = zero ? (r->p++, true) : skip_digits(r);
    if (ok && r->p < r->end && *r->p == '.')
        ok = (r->p++, skip_digits(r));
    if (ok && r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
        r->p++;
        if (r->p < r->end && (*r->p == '+' || *r->p == '-'))
            r->p++;
        ok = skip_digits(r);
    }
    return ok || fail(r, "not valid JSON");
}

static bool skip_value(struct reader *r, int depth);

/* The rest of an array or object. */
static bool skip_items(struct reader *r, char closing, int depth)
{
    struct jsonl_text key = { 0 };
    bool ok = true;
    if (accept(r, closing))
        return true;
    do {
        if (closing == '}')
            ok = read_string(r, &key) && (accept(r, ':') || fail(r, "not valid JSON"));
        ok = ok && skip_value(r, depth + 1);
    } while (ok && accept(r, ','));
    free(key.bytes);
    return ok && (accept(r, closing) || fail(r, "not valid JSON"));
}

static bool skip_value(struct reader *r, int depth)
{
    static const char *const literals[] = { "true", "false", "null" };
    if (depth > MAX_DEPTH)
        return fail(r, "nested too deeply");
    skip_space(r);
    char c = r->p < r->end ? *r->p : '\0';
    if (c == '"') {
        struct jsonl_text ignored = { 0 };
        bool ok = read_string(r, &ignored);
        free(ignored.bytes);
        return ok;
    }
    if (accept(r, '['))
        return skip_items(r, ']', depth);
    if (accept(r, '{'))
        return skip_items(r, '}', depth);
    for (size_t i = 0; i < sizeof literals / sizeof *literals; i++) {
        size_t n = strlen(literals[i]);
        if ((size_t)(r->end - r->p) >= n && memcmp(r->p, literals[i], n) == 0) {
            r->p += n;
            return true;
        }
    }
    return skip_number(r);
}

/* ---- lines ------------------------------------------------------------------ */

/* What a line holds: exactly one of the two is asked for. */
struct wanted {
    struct jsonl_text *text;
    struct jsonl_ids *ids;
};

static bool read_wanted(struct reader *r, const struct wanted *w)
{
    return w->text ? read_string(r, w->text) : read_ids(r, w->ids);
}

/* The rest of an object that must have the wanted member, once. */
static bool read_object(struct reader *r, const struct wanted *w)
{
    const char *name = w->text ? "text" : "ids";
    struct jsonl_text key = { 0 };
    bool found = false, ok = true;
    if (!accept(r, '}')) {
        do {
            ok = read_string(r, &key) && (accept(r, ':') || fail(r, "not valid JSON"));
            bool match = ok && key.n == strlen(name) && memcmp(key.bytes, name, key.n) == 0;
            if (match && found)
                ok = fail(r, w->text ? "\"text\" is given twice" : "\"ids\" is given twice");
            ok = ok && (match ? read_wanted(r, w) : skip_value(r, 1));
            found = found || match;
        } while (ok && accept(r, ','));
        ok = ok && (accept(r, '}') || fail(r, "not valid JSON"));
    }
    free(key.bytes);
    return ok && (found || fail(r, w->text ? "there is no \"text\"" : "there is no \"ids\""));
}

static bool read_line(const struct wanted *w, const char *line, size_t n, const char **why)
{
    struct reader r = { .p = line, .end = line + n };
    bool ok = accept(&r, '{') ? read_object(&r, w) : read_wanted(&r, w);
    skip_space(&r);
    if (ok && r.p < r.end)
        ok = fail(&r, "something follows the JSON value");
    *why = r.why;
    return ok;
}

bool jsonl_read_text(struct jsonl_text *out, const char *line, size_t n, const char **why)
{
    return read_line(&(struct wanted){ .text = out }, line, n, why);
}

bool jsonl_read_ids(struct jsonl_ids *out, const char *line, size_t n, const char **why)
{
    return read_line(&(struct wanted){ .ids = out }, line, n, why);
}

bool jsonl_is_blank(const char *line, size_t n)
{
    struct reader r = { .p = line, .end = line + n };
    skip_space(&r);
    return r.p == r.end;
}

void jsonl_put_string(FILE *f, const char *s, size_t n)
{
    putc('"', f);
    size_t plain = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        fwrite(s + plain, 1, i - plain, f);
        plain = i + 1;
        if (c == '"' || c == '\\')
            fprintf(f, "\\%c", c);
        else if (c == '\n')
            fputs("\\n", f);
        else
            fprintf(f, "\\u%04x", c);
    }
    fwrite(s + plain, 1, n - plain, f);
    putc('"', f);
}

void jsonl_put_ids(FILE *f, const int32_t *ids, size_t n, const char *separator)
{
    for (size_t i = 0; i < n; i++) {
        char digits[12], *c = digits + sizeof digits;
        unsigned x = (unsigned)ids[i];
        do
            *--c = (char)('0' + x % 10);
        while (x /= 10);
        if (i)
            fputs(separator, f);
        fwrite(c, 1, (size_t)(digits + sizeof digits - c), f);
    }
}
