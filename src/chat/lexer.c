#include "chat/lexer.h"

#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/utf8.h"

struct lexer {
    const char *path, *source;          /* [n] and a NUL; line ends are LF */
    size_t n, at;
    unsigned line;
    bool line_starts; /* only white space can stand between a line's start and at */
    struct lexer_token *tokens;         /* owned */
    size_t n_tokens, capacity;
    struct workspace *w;
    struct error *err;
};

static bool refuse(const struct lexer *l, const char *why)
{
    return error_set(l->err, "%s: line %u: %s", l->path, l->line, why);
}

static bool add(struct lexer *l, enum lexer_kind kind, struct marked_text text)
{
    if (!mem_grow(&l->tokens, &l->capacity, l->n_tokens + 1, sizeof *l->tokens,
                  "the words of a template", l->err))
        return false;
    l->tokens[l->n_tokens] = (struct lexer_token){ .kind = kind, .line = l->line, .text = text };
    l->n_tokens++;
    return true;
}

static struct marked_text part(const struct lexer *l, size_t begin, size_t end)
{
    return marked_text_plain(l->source + begin, end - begin);
}

static bool stands(const struct lexer *l, size_t at, const char *word)
{
    size_t n = strlen(word);
    return l->n - at >= n && memcmp(l->source + at, word, n) == 0;
}

/* Moves on to `at`, counting lines. */
static void move_to(struct lexer *l, size_t at)
{
    for (; l->at < at; l->at++)
        l->line += l->source[l->at] == '\n';
}

/* ---- between tags ---------------------------------------------------------- */

/* What is left of the text [l->at, end) in front of a tag. */
static size_t trimmed_end(const struct lexer *l, size_t end, bool is_output, char sign)
{
    const struct marked_text text = part(l, l->at, end);
    if (sign == '-')
        return l->at + marked_text_strip(&text, NULL, false, true).n;
    if (sign == '+' || is_output)
        return end;
    const char *last = text.n ? memrchr(text.bytes, '\n', text.n) : NULL;
    size_t line = last ? (size_t)(last + 1 - text.bytes) : 0;
    if (!last && !l->line_starts)
        return end;
    const struct marked_text tail = marked_text_part(&text, line, text.n);
    return marked_text_strip(&tail, NULL, true, false).n == 0 ? l->at + line : end;
}

/* Behind the end of a tag: `minus` takes all white space, otherwise a block's line end goes. */
static void skip_behind(struct lexer *l, bool minus, bool is_output)
{
    size_t end = l->at;
    if (minus) {
        const struct marked_text rest = part(l, l->at, l->n);
        end = l->n - marked_text_strip(&rest, NULL, true, false).n;
    } else if (!is_output && end < l->n && l->source[end] == '\n')
        end++;
    move_to(l, end);
    l->line_starts = l->source[end - 1] == '\n';
}

/* l->at is at "{#". */
static bool skip_comment(struct lexer *l)
{
    const struct marked_text all = part(l, 0, l->n), close = marked_text_plain("#}", 2);
    size_t end = marked_text_find(&all, &close, l->at + 2);
    if (end > l->n)
        return refuse(l, "a comment without an end");
    bool minus = end > l->at + 2 && l->source[end - 1] == '-';
    bool plus = end > l->at + 2 && l->source[end - 1] == '+';
    move_to(l, end + 2);
    skip_behind(l, minus, plus);
    return true;
}

/* ---- inside of tags ----------------------------------------------------------- */

/* \x, \u, \U and octal escapes: the code point, and where it ends. */
static bool numeric_escape(struct lexer *l, size_t *at, uint32_t *c)
{
    const char *s = l->source;
    char kind = s[*at];
    size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
    uint64_t value = 0;
    if (digits)
        ++*at;
    for (size_t i = 0; i < digits; i++, ++*at) {
        int digit = ascii_hex(s[*at]);
        if (digit < 0)
            return refuse(l, "a broken escape in a string");
        value = 16 * value + (unsigned)digit;
    }
    for (size_t i = 0; !digits && i < 3 && s[*at] >= '0' && s[*at] <= '7'; i++, ++*at)
        value = 8 * value + (unsigned)(s[*at] - '0');
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
        return refuse(l, "an escape in a string that is no character");
    *c = (uint32_t)value;
    return true;
}

/* One escape: *at is behind the backslash. */
static bool resolve_escape(struct lexer *l, struct buffer *b, size_t *at)
{
    static const char from[] = "abfnrtv\\'\"", to[] = "\a\b\f\n\r\t\v\\'\"";
    const char c = l->source[*at], *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        ++*at;
        return buffer_append(b, &to[simple - from], 1, l->err);
    }
    if (c == '\n') {                    /* the line goes on */
        ++*at;
        return true;
    }
    if (c != 'x' && c != 'u' && c != 'U' && !(c >= '0' && c <= '7'))
        return buffer_append(b, "\\", 1, l->err);
    char bytes[4];
    uint32_t point = 0;
    return numeric_escape(l, at, &point)
        && buffer_append(b, bytes, utf8_put(bytes, point), l->err);
}

/* l->at is the quote. */
static bool read_string(struct lexer *l)
{
    char quote = l->source[l->at];
    struct buffer b = { 0 };
    size_t at = l->at + 1;
    bool ok = true;
    while (ok && at < l->n && l->source[at] != quote) {
        if (l->source[at] == '\\' && at + 1 < l->n) {
            at++;
            ok = resolve_escape(l, &b, &at);
        } else
            ok = buffer_append(&b, l->source + at++, 1, l->err);
    }
    if (ok && at >= l->n)
        ok = refuse(l, "a string without an end");
    const char *copy = ok ? workspace_copy(l->w, b.data, b.size, l->err) : NULL;
    ok = copy && add(l, LEXER_STRING, marked_text_plain(copy, b.size));
    buffer_free(&b);
    if (ok)
        move_to(l, at + 1);
    return ok;
}

static bool is_name_byte(char c, bool first)
{
    return ascii_letter(c) || c == '_' || (!first && ascii_digit(c));
}

static bool read_name(struct lexer *l)
{
    size_t end = l->at;
    while (end < l->n && is_name_byte(l->source[end], false))
        end++;
    bool ok = add(l, LEXER_NAME, part(l, l->at, end));
    move_to(l, end);
    return ok;
}

static bool read_number(struct lexer *l)
{
    size_t end = l->at;
    bool whole = true;
    int64_t value = 0;
    for (;
         ascii_digit(l->source[end]) || (l->source[end] == '_' && ascii_digit(l->source[end + 1]));
         end++)
        if (l->source[end] != '_'
            && (__builtin_mul_overflow(value, 10, &value)
                || __builtin_add_overflow(value, l->source[end] - '0', &value)))
            return refuse(l, "a number beyond 64 bits");
    if (l->source[end] == '.' && ascii_digit(l->source[end + 1])) {
        whole = false;
        for (end++; ascii_digit(l->source[end]); end++)
            ;
    }
    size_t e =
        end + 1 + (l->source[end] && (l->source[end + 1] == '-' || l->source[end + 1] == '+'));
    if ((l->source[end] == 'e' || l->source[end] == 'E') && ascii_digit(l->source[e])) {
        whole = false;
        for (end = e; ascii_digit(l->source[end]); end++)
            ;
    }
    const struct marked_text text = part(l, l->at, end);
    if (is_name_byte(l->source[end], false) || (!whole && memchr(text.bytes, '_', text.n)))
        return refuse(l, "a number of another form than 12, 1.5 or 1e3");
    if (!add(l, whole ? LEXER_INTEGER : LEXER_FLOAT, text))
        return false;
    struct lexer_token *t = &l->tokens[l->n_tokens - 1];
    if (whole)
        t->of.integer = value;
    else
        t->of.number = format_parse(text.bytes, NULL);
    move_to(l, end);
    return true;
}

static bool read_operator(struct lexer *l, unsigned *open)
{
    static const char *const operators[] = {
        "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ":",
        "|", ",", "(", ")", "[", "]", "{", "}",
    };
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        const char *o = operators[i];
        if (!stands(l, l->at, o))
            continue;
        if (strchr("([{", *o))
            ++*open;
        else if (strchr(")]}", *o) && *open)
            --*open;
        bool ok = add(l, LEXER_OPERATOR, marked_text_plain(o, strlen(o)));
        move_to(l, l->at + strlen(o));
        return ok;
    }
    size_t length = utf8_length(l->source + l->at, l->n - l->at);
    return error_set(l->err, "%s: line %u: '%.*s' does not belong into a tag", l->path, l->line,
                     (int)length, l->source + l->at);
}

/* A whole tag; l->at is at its beginning. */
static bool read_tag(struct lexer *l, bool is_output)
{
    unsigned open = 0;
    const char *close = is_output ? "}}" : "%}";
    unsigned line = l->line;
    bool ok = add(l, is_output ? LEXER_OUTPUT_BEGIN : LEXER_BLOCK_BEGIN, part(l, l->at, l->at + 2));
    move_to(l, l->at + 2);
    if (l->source[l->at] == '-' || l->source[l->at] == '+')
        move_to(l, l->at + 1);
    while (ok) {
        const struct marked_text rest = part(l, l->at, l->n);
        move_to(l, l->n - marked_text_strip(&rest, NULL, true, false).n);
        char c = l->source[l->at];
        bool sign = (c == '-' || (c == '+' && !is_output)) && stands(l, l->at + 1, close);
        if (l->at >= l->n) {
            l->line = line;
            return refuse(l, "a tag without an end");
        }
        if (!open && (sign || stands(l, l->at, close))) {
            ok = add(l, is_output ? LEXER_OUTPUT_END : LEXER_BLOCK_END, part(l, l->at, l->at));
            move_to(l, l->at + 2 + sign);
            skip_behind(l, sign && c == '-', is_output || (sign && c == '+'));
            return ok;
        }
        if (is_name_byte(c, true))
            ok = read_name(l);
        else if (ascii_digit(c))
            ok = read_number(l);
        else if (c == '\'' || c == '"')
            ok = read_string(l);
        else
            ok = read_operator(l, &open);
    }
    return false;
}

/* ---- the whole ------------------------------------------------------------------ */

/* The next tag at or behind `at`; l->n: there is none. */
static size_t find_tag(const struct lexer *l, size_t at)
{
    for (; at + 1 < l->n; at++)
        if (l->source[at] == '{' && strchr("{%#", l->source[at + 1]))
            return at;
    return l->n;
}

static bool read_all(struct lexer *l)
{
    while (l->at < l->n) {
        size_t tag = find_tag(l, l->at);
        bool is_output = tag < l->n && l->source[tag + 1] == '{';
        size_t end = tag < l->n ? trimmed_end(l, tag, is_output, l->source[tag + 2]) : tag;
        if (end > l->at && !add(l, LEXER_TEXT, part(l, l->at, end)))
            return false;
        move_to(l, tag);
        if (tag == l->n)
            break;
        if (!(l->source[tag + 1] == '#' ? skip_comment(l) : read_tag(l, is_output)))
            return false;
    }
    return add(l, LEXER_END, part(l, l->n, l->n));
}

/* Gives a copy with LF for CR LF and CR, without the last line end. */
static char *normalized(const char *source, size_t n, size_t *n_out, struct workspace *w,
                        struct error *err)
{
    char *copy = workspace_copy(w, source, n, err);
    size_t k = 0;
    for (size_t i = 0; copy && i < n; i++) {
        bool pair = source[i] == '\r' && i + 1 < n && source[i + 1] == '\n';
        copy[k++] = source[i] == '\r' ? '\n' : source[i];
        i += pair;
    }
    if (!copy)
        return NULL;
    k -= k && copy[k - 1] == '\n';
    copy[k] = '\0';
    *n_out = k;
    return copy;
}

bool lexer_run(struct lexer_token **tokens, size_t *n, const char *source, size_t n_bytes,
               const char *path, struct workspace *w, struct error *err)
{
    struct lexer l = { .path = path, .line = 1, .line_starts = true, .w = w, .err = err };
    size_t bad;
    if (n_bytes > LEXER_TEMPLATE_BYTES)
        return error_set(err, "%s: the template has more than %zu KiB", path,
                         LEXER_TEMPLATE_BYTES >> 10);
    if (!utf8_valid(source, n_bytes, &bad))
        return error_set(err, "%s: invalid UTF-8 at byte %zu", path, bad);
    if (n_bytes && memchr(source, '\0', n_bytes))
        return error_set(err, "%s: NUL character in the template", path);
    l.source = normalized(source, n_bytes, &l.n, w, err);
    bool ok = l.source && read_all(&l);
    *tokens = ok ? workspace_take(w, l.n_tokens * sizeof **tokens, err) : NULL;
    if (*tokens)
        memcpy(*tokens, l.tokens, l.n_tokens * sizeof **tokens);
    *n = l.n_tokens;
    free(l.tokens);
    return *tokens != NULL;
}
