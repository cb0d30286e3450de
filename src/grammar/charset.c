#include "grammar/charset.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

bool charset_add(struct charset *s, uint32_t first, uint32_t last, struct error *err)
{
    if (first > last)
        return true;
    if (!mem_grow(&s->ranges, &s->capacity, s->n + 1, sizeof *s->ranges, "characters", err))
        return false;
    s->ranges[s->n++] = (struct charset_range){ first, last };
    return true;
}

void charset_free(struct charset *s)
{
    free(s->ranges);
    *s = (struct charset){ 0 };
}

static int by_first(const void *a, const void *b)
{
    const struct charset_range *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static void merge(struct charset *s)
{
    size_t kept = 0;
    if (s->n > 1)
        qsort(s->ranges, s->n, sizeof *s->ranges, by_first);
    for (size_t i = 0; i < s->n; i++) {
        struct charset_range r = s->ranges[i];
        if (kept && r.first <= s->ranges[kept - 1].last + 1) {
            if (r.last > s->ranges[kept - 1].last)
                s->ranges[kept - 1].last = r.last;
        } else {
            s->ranges[kept++] = r;
        }
    }
    s->n = kept;
}

/* The ranges between those of a merged set. */
static bool complement(struct charset *s, struct error *err)
{
    struct charset rest = { 0 };
    uint32_t next = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < s->n; i++) {
        ok = s->ranges[i].first == 0 || charset_add(&rest, next, s->ranges[i].first - 1, err);
        next = s->ranges[i].last + 1;
    }
    ok = ok && charset_add(&rest, next, CHARSET_LAST, err);
    charset_free(s);
    *s = rest;
    return ok;
}

/* Surrogates are taken out as what a complement lacks. */
bool charset_tidy(struct charset *s, struct error *err)
{
    merge(s);
    if (!complement(s, err) || !charset_add(s, 0xD800, 0xDFFF, err))
        return false;
    merge(s);
    return complement(s, err);
}

bool charset_invert(struct charset *s, struct error *err)
{
    return complement(s, err) && charset_tidy(s, err);
}

/* ---- as bytes -------------------------------------------------------------------- */

/* What a JSON string cannot hold as it is. */
static bool needs_escape(uint32_t c)
{
    return c < 0x20 || c == '"' || c == '\\';
}

/* The letter behind a backslash, 0 if only \u will do. */
static char short_escape(uint32_t c)
{
    static const char controls[] = "\bb\tt\nn\ff\rr\"\"\\\\";
    for (size_t i = 0; controls[i]; i += 2)
        if ((unsigned char)controls[i] == c)
            return controls[i + 1];
    return 0;
}

static void add_escape(struct graph *g, uint32_t tree, uint32_t c)
{
    static const char *const digits[] = { "0123456789abcdef", "0123456789ABCDEF" };
    char text[6] = { '\\', short_escape(c) };
    if (text[1]) {
        graph_add_text(g, tree, text, 2);
        return;
    }
    for (size_t k = 0; k < 2; k++) {
        text[1] = 'u';
        text[2] = text[3] = '0';
        text[4] = c >= 0x10 ? '1' : '0';
        text[5] = digits[k][c & 15];
        graph_add_text(g, tree, text, 6);
    }
}

/* Characters from first to last; no surrogates. */
static void add_utf8(struct graph *g, uint32_t tree, uint32_t first, uint32_t last)
{
    static const uint32_t lasts[] = { 0x7F, 0x7FF, 0xFFFF, CHARSET_LAST };
    for (size_t i = 0; i < 4 && first <= last; i++) {
        uint8_t low[4], high[4];
        if (first > lasts[i])
            continue;
        uint32_t end = last < lasts[i] ? last : lasts[i];
        utf8_put((char *)low, first);
        utf8_put((char *)high, end);
        graph_add_between(g, tree, low, high, i + 1, 0x80, 0xBF);
        first = end + 1;
    }
}

static void add_json(struct graph *g, uint32_t tree, uint32_t first, uint32_t last)
{
    static const struct charset_range plain[] = { { 0x20, '"' - 1 }, { '"' + 1, '\\' - 1 },
                                                  { '\\' + 1, CHARSET_LAST } };
    for (uint32_t c = first; c <= last && c <= '\\'; c++)
        if (needs_escape(c))
            add_escape(g, tree, c);
    for (size_t i = 0; i < 3; i++) {
        uint32_t low = first > plain[i].first ? first : plain[i].first;
        uint32_t high = last < plain[i].last ? last : plain[i].last;
        if (low <= high)
            add_utf8(g, tree, low, high);
    }
}

uint32_t charset_node(struct graph *g, const struct charset *s, enum charset_form form)
{
    uint32_t tree = graph_tree(g);
    for (size_t i = 0; i < s->n && !g->failed; i++)
        if (form == CHARSET_JSON)
            add_json(g, tree, s->ranges[i].first, s->ranges[i].last);
        else
            add_utf8(g, tree, s->ranges[i].first, s->ranges[i].last);
    return graph_bytes(g, tree);
}

bool charset_write(struct buffer *b, uint32_t c, enum charset_form form, struct error *err)
{
    char text[4];
    if (form == CHARSET_RAW || !needs_escape(c))
        return buffer_append(b, text, utf8_put(text, c), err);
    if (short_escape(c))
        return buffer_printf(b, err, "\\%c", short_escape(c));
    return buffer_printf(b, err, "\\u%04x", (unsigned)c);
}
