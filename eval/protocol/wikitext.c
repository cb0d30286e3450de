#include "eval/protocol/wikitext.h"

#include <string.h>

#include "eval/protocol/text.h"

/* Each rule builds a new text: replaces *b by *out, or frees *out after a failure. */
static bool become(struct buffer *b, struct buffer *out, bool ok)
{
    buffer_free(ok ? b : out);
    if (ok)
        *b = *out;
    return ok;
}

/* str.replace of Python: from left to right, without overlap. */
static bool replace_all(struct buffer *b, const char *from, const char *to, struct error *err)
{
    size_t n_from = strlen(from), n_to = strlen(to);
    struct buffer out = { 0 };
    const char *at = b->data, *end = b->data + b->size, *hit;
    bool ok = true;
    while (ok && (hit = memmem(at, (size_t)(end - at), from, n_from)) != NULL) {
        ok = buffer_append(&out, at, (size_t)(hit - at), err) && buffer_append(&out, to, n_to, err);
        at = hit + n_from;
    }
    return become(b, &out, ok && buffer_append(&out, at, (size_t)(end - at), err));
}

/* re.sub(r"OPEN\s*([^CLOSE]*?)\s*CLOSE", r"OPEN\1CLOSE"): removes white space just inside the
 * pair. */
static bool squeeze(struct buffer *b, char opening, char closing, struct error *err)
{
    struct buffer out = { 0 };
    const char *at = b->data, *end = b->data + b->size;
    bool ok = true;
    while (ok) {
        const char *left = memchr(at, opening, (size_t)(end - at));
        const char *right = left ? memchr(left + 1, closing, (size_t)(end - left - 1)) : NULL;
        if (!right)
            break;
        const char *inner = left + 1;
        size_t n = (size_t)(right - inner);
        text_trim(&inner, &n);
        ok = buffer_append(&out, at, (size_t)(left + 1 - at), err)
          && buffer_append(&out, inner, n, err) && buffer_append(&out, right, 1, err);
        at = right + 1;
    }
    return become(b, &out, ok && buffer_append(&out, at, (size_t)(end - at), err));
}

/* The harness's rule for "/' 3/" (by mistake) replaces the digit by the pattern's text; so do
 * we. */
static bool replace_slashed_digit(struct buffer *b, struct error *err)
{
    char from[] = "/' 0/";
    bool ok = true;
    for (char digit = '0'; ok && digit <= '9'; digit++) {
        from[3] = digit;
        ok = replace_all(b, from, "/'[0-9]/", err);
    }
    return ok;
}

bool wikitext_detokenize(struct buffer *out, const char *page, size_t n, struct error *err)
{
    /* In the order of the harness; NULL, NULL: squeeze the pairs here. */
    static const char *const rules[][2] = {
        { " @-@ ", "-" }, { " @,@ ", "," }, { " @.@ ", "." },
        { " : ", ": " }, { " ; ", "; " }, { " . ", ". " }, { " ! ", "! " }, { " ? ", "? " },
        { " , ", ", " },
        { NULL, NULL },
        { "= = = =", "====" }, { "= = =", "===" }, { "= =", "==" },
        { " \xC2\xB0 ", "\xC2\xB0" }, { " \n", "\n" }, { "\n ", "\n" }, { " N ", " 1 " },
        { " 's", "'s" },
    };
    static const char pairs[][2] = {
        { '(', ')' }, { '[', ']' }, { '{', '}' }, { '"', '"' }, { '\'', '\'' },
    };
    *out = (struct buffer){ 0 };
    bool ok = buffer_append(out, page, n, err) && replace_all(out, "s '", "s'", err)
           && replace_slashed_digit(out, err);
    for (size_t i = 0; ok && i < sizeof rules / sizeof *rules; i++) {
        if (rules[i][0])
            ok = replace_all(out, rules[i][0], rules[i][1], err);
        for (size_t j = 0; !rules[i][0] && ok && j < sizeof pairs / sizeof *pairs; j++)
            ok = squeeze(out, pairs[j][0], pairs[j][1], err);
    }
    if (!ok)
        buffer_free(out);
    return ok;
}

/* " = Title = ", but not " = = Section = = ".  As in the data set, the signs of sections are joined
 * first, so that "= =" at either end does not count as a single sign. */
static bool is_heading(const char *line, size_t n, bool *ok, struct error *err)
{
    text_trim(&line, &n);
    if (n < 3 || line[0] != '=' || line[n - 1] != '=')
        return false;
    struct buffer b = { 0 };
    *ok = buffer_append(&b, line, n, err) && replace_all(&b, "= = =", "===", err)
       && replace_all(&b, "= =", "==", err);
    bool heading = *ok && b.size >= 2 && memcmp(b.data, "= ", 2) == 0
                && memcmp(b.data + b.size - 2, " =", 2) == 0;
    buffer_free(&b);
    return heading;
}

bool wikitext_next(struct wikitext_articles *a, struct buffer *page, bool *ok, struct error *err)
{
    /* "\n" separates lines, so a text that ends in "\n" has an empty last line: at == n is still a
     * line, at == n + 1 the end.  Blank articles are dropped. */
    page->size = 0;
    bool any = false;
    while (a->at <= a->n) {
        const char *line = a->text + a->at;
        const char *newline = memchr(line, '\n', a->n - a->at);
        size_t n = newline ? (size_t)(newline - line) : a->n - a->at;
        if (any && is_heading(line, n, ok, err)) {
            const char *s = page->data;
            size_t length = page->size;
            text_trim(&s, &length);
            if (length)
                return *ok;
            page->size = 0;
            any = false;
        }
        *ok = *ok && (!any || buffer_append(page, "\n", 1, err))
           && buffer_append(page, line, n, err);
        if (!*ok)
            return false;
        any = true;
        a->at += n + 1;
    }
    return any;
}
