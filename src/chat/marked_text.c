#include "chat/marked_text.h"

#include <string.h>

#include "base/utf8.h"

struct marked_text marked_text_plain(const char *bytes, size_t n)
{
    return (struct marked_text){ .bytes = bytes, .n = n };
}

struct marked_text marked_text_part(const struct marked_text *t, size_t begin, size_t end)
{
    return (struct marked_text){ .bytes = t->bytes + begin, .n = end - begin,
                                 .marks = t->marks ? t->marks + begin : NULL,
                                 .marked = t->marked };
}

bool marked_text_equal(const struct marked_text *a, const struct marked_text *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->bytes, b->bytes, a->n) == 0);
}

bool marked_text_is(const struct marked_text *t, const char *word)
{
    return t->n == strlen(word) && memcmp(t->bytes, word, t->n) == 0;
}

size_t marked_text_find(const struct marked_text *t, const struct marked_text *sought, size_t from)
{
    if (from > t->n)
        return t->n + 1;
    if (sought->n == 0)
        return from;
    const char *found = memmem(t->bytes + from, t->n - from, sought->bytes, sought->n);
    return found ? (size_t)(found - t->bytes) : t->n + 1;
}

size_t marked_text_length(const struct marked_text *t)
{
    return utf8_count(t->bytes, t->n);
}

bool marked_text_is_space(uint32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0
        || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029
        || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* Does the character of `length` bytes at s belong to what is stripped? */
static bool strips(const char *s, size_t length, const struct marked_text *set)
{
    size_t each;
    if (!set)
        return marked_text_is_space(utf8_get(s, &each));
    for (size_t i = 0; i < set->n; i += each) {
        utf8_get(set->bytes + i, &each);
        if (each == length && memcmp(set->bytes + i, s, length) == 0)
            return true;
    }
    return false;
}

struct marked_text marked_text_strip(const struct marked_text *t, const struct marked_text *set,
                                     bool left, bool right)
{
    size_t begin = 0, end = t->n, length;
    while (left && begin < end) {
        utf8_get(t->bytes + begin, &length);
        if (!strips(t->bytes + begin, length, set))
            break;
        begin += length;
    }
    while (right && begin < end) {
        size_t at = end - 1;
        while (at > begin && ((unsigned char)t->bytes[at] & 0xC0) == 0x80)
            at--;
        if (!strips(t->bytes + at, end - at, set))
            break;
        end = at;
    }
    return marked_text_part(t, begin, end);
}

/* ---- growing ------------------------------------------------------------ */

static bool grow(struct marked_text_builder *b, const char *bytes, size_t n, struct error *err)
{
    if (b->limit && (n > b->limit || b->bytes.size > b->limit - n))
        return error_set(err, "the text has more than %zu MiB", b->limit >> 20);
    return n == 0 || buffer_append(&b->bytes, bytes, n, err);
}

bool marked_text_append(struct marked_text_builder *b, const struct marked_text *t,
                        struct error *err)
{
    if (!t->marks)
        return marked_text_append_bytes(b, t->bytes, t->n, t->marked, err);
    return grow(b, t->bytes, t->n, err)
        && (t->n == 0 || buffer_append(&b->marks, t->marks, t->n, err));
}

bool marked_text_append_bytes(struct marked_text_builder *b, const char *bytes, size_t n,
                              bool marked, struct error *err)
{
    if (!grow(b, bytes, n, err))
        return false;
    char same[256];
    memset(same, marked, sizeof same);
    for (size_t left = n; left; left -= size_min(left, sizeof same))
        if (!buffer_append(&b->marks, same, size_min(left, sizeof same), err))
            return false;
    return true;
}

bool marked_text_append_word(struct marked_text_builder *b, const char *word, struct error *err)
{
    return marked_text_append_bytes(b, word, strlen(word), false, err);
}

bool marked_text_finish(struct marked_text *out, struct marked_text_builder *b,
                        struct workspace *w, struct error *err)
{
    size_t n = b->bytes.size;
    bool one = n == 0 || memchr(b->marks.data, !b->marks.data[0], n) == NULL;
    const char *bytes = workspace_copy(w, b->bytes.data, n, err);
    const char *marks = bytes && !one ? workspace_copy(w, b->marks.data, n, err) : NULL;
    *out = (struct marked_text){ .bytes = bytes, .n = n, .marks = (const uint8_t *)marks,
                                 .marked = n && b->marks.data[0] };
    marked_text_builder_free(b);
    return bytes && (one || marks);
}

void marked_text_builder_free(struct marked_text_builder *b)
{
    buffer_free(&b->bytes);
    buffer_free(&b->marks);
}
