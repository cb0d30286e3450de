#include "eval/protocol/text.h"

#include <stdlib.h>
#include <string.h>

#include "base/encoding.h"
#include "base/file.h"
#include "base/stand_in.h"

size_t text_space(const char *s, size_t n)
{
    /* The characters above ASCII that str.isspace accepts (Unicode's Zs, or bidirectional type WS,
     * B or S), as UTF-8. */
    static const char wide[][4] = {
        "\xC2\x85", "\xC2\xA0", "\xE1\x9A\x80", "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF",
        "\xE2\x81\x9F", "\xE3\x80\x80",
    };
    unsigned char c = (unsigned char)s[0];
    if (c < 0x80)
        return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
    if (n >= 3 && memcmp(s, "\xE2\x80", 2) == 0 && (unsigned char)s[2] <= 0x8A)
        return 3;                                               /* U+2000 to U+200A */
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        size_t length = strlen(wide[i]);
        if (n >= length && memcmp(s, wide[i], length) == 0)
            return length;
    }
    return 0;
}

size_t text_words(const char *text, size_t n)
{
    size_t words = 1;
    bool in_space = false;
    for (size_t i = 0; i < n;) {
        size_t space = text_space(text + i, n - i);
        if (space && !in_space)
            words++;
        in_space = space != 0;
        i += space ? space : 1;         /* continuation bytes are no white space */
    }
    return words;
}

void text_trim(const char **s, size_t *n)
{
    size_t space, end = 0;
    while (*n && (space = text_space(*s, *n)) != 0) {
        *s += space;
        *n -= space;
    }
    for (size_t i = 0; i < *n; i += space ? space : 1) {
        space = text_space(*s + i, *n - i);
        if (!space)
            end = i + 1;
    }
    *n = end;
}

bool text_join_hf(struct buffer *out, const char *text, size_t n, struct error *err)
{
    *out = (struct buffer){ 0 };
    bool ok = buffer_append(out, "", 0, err);
    for (size_t begin = 0, end; ok && begin < n; begin = end) {
        const char *newline = memchr(text + begin, '\n', n - begin);
        end = newline ? (size_t)(newline - text) + 1 : n;
        if (begin > 0)
            ok = buffer_append(out, "\n\n", 2, err);
        const char *row = text + begin;
        size_t length = end - begin;
        text_trim(&row, &length);
        if (ok && length)
            ok = buffer_append(out, text + begin, end - begin, err);
    }
    if (!ok)
        buffer_free(out);
    return ok;
}

bool text_read(struct buffer *b, const char *path, enum surprisal_join join, struct error *err)
{
    if (!file_read_input(b, path, err))
        return false;
    bool ok = encoding_check(b->data, b->size, path, err);
    if (ok && stand_in_is_pointer(b->data, b->size))
        ok = stand_in_check(path, b->data, b->size, err);
    if (ok && join == SURPRISAL_JOIN_HF) {
        struct buffer joined;
        ok = text_join_hf(&joined, b->data, b->size, err);
        if (ok) {
            buffer_free(b);
            *b = joined;
        }
    }
    if (!ok)
        buffer_free(b);
    return ok;
}

/* ---- ids --------------------------------------------------------------- */

static bool is_ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The decimal number of n characters; false for anything else or more than an int32_t. */
static bool to_id(int32_t *id, const char *s, size_t n)
{
    int64_t value = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        value = 10 * value + (s[i] - '0');
        if (value > INT32_MAX)
            return false;
    }
    *id = (int32_t)value;
    return n > 0;
}

bool text_parse_ids(const char *text, size_t n, const char *path, int32_t **ids, size_t *n_ids,
                    struct error *err)
{
    int32_t *list = NULL;
    size_t count = 0, capacity = 0, line = 1;
    if (!encoding_refuse_utf16(text, n, path, err))
        return false;
    for (size_t i = encoding_mark(text, n); i < n;) {
        if (is_ascii_space(text[i])) {
            line += text[i++] == '\n';
            continue;
        }
        size_t begin = i;
        while (i < n && !is_ascii_space(text[i]))
            i++;
        int32_t id;
        if (!to_id(&id, text + begin, i - begin)) {
            const char *nul = memchr(text + begin, '\0', i - begin);
            if (nul) {
                error_set(err, "%s: line %zu: byte %zu is NUL, expected token ids in decimal",
                          path, line, (size_t)(nul - text));
                goto fail;
            }
            int shown = i - begin < 40 ? (int)(i - begin) : 40;
            error_set(err, "%s: line %zu: '%.*s' is not a token id (expected 0 to %d in decimal)",
                      path, line, shown, text + begin, INT32_MAX);
            goto fail;
        }
        if (!mem_grow(&list, &capacity, count + 1, sizeof *list, "token ids", err))
            goto fail;
        list[count++] = id;
    }
    if (!list && !(list = mem_array(1, sizeof *list, "token ids", err)))
        goto fail;
    *ids = list;
    *n_ids = count;
    return true;
fail:
    stand_in_check(path, text, n, err);         /* says it better, if it is one */
    free(list);
    return false;
}
