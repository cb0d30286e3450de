#include "server/writer.h"

#include <string.h>

#include "base/json.h"

void writer_print(struct writer *w, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    w->ok = w->ok && buffer_vprintf(w->b, w->err, format, args);
    va_end(args);
}

/* The escape of a character that ends a line for some; NULL for others. */
static const char *escape_of(const char *s, size_t n)
{
    if (n >= 2 && memcmp(s, "\xC2\x85", 2) == 0)
        return "\\u0085";
    if (n >= 3 && memcmp(s, "\xE2\x80\xA8", 3) == 0)
        return "\\u2028";
    return n >= 3 && memcmp(s, "\xE2\x80\xA9", 3) == 0 ? "\\u2029" : NULL;
}

void writer_text(struct writer *w, const char *text, size_t n)
{
    size_t done = 0;
    writer_print(w, "\"");
    for (size_t i = 0; w->ok && i < n; i++) {
        const char *escape = escape_of(text + i, n - i);
        if (!escape)
            continue;
        w->ok = json_append_escaped(w->b, text + done, i - done, w->err);
        writer_print(w, "%s", escape);
        done = i + (text[i] == '\xC2' ? 2 : 3);
    }
    w->ok = w->ok && json_append_escaped(w->b, text + done, n - done, w->err);
    writer_print(w, "\"");
}

void writer_word(struct writer *w, const char *text)
{
    if (text)
        writer_text(w, text, strlen(text));
    else
        writer_print(w, "null");
}

void writer_buffer(struct writer *w, const struct buffer *text)
{
    writer_text(w, text->data ? text->data : "", text->size);
}

void writer_text_or_null(struct writer *w, const struct buffer *text)
{
    if (text->size)
        writer_buffer(w, text);
    else
        writer_print(w, "null");
}

void writer_logprob(struct writer *w, double x)
{
    if (!(x > WRITER_LEAST))
        writer_print(w, "-9999.0");
    else
        writer_print(w, "%.17g", x);
}

void writer_ids(struct writer *w, const int32_t *ids, size_t n)
{
    writer_print(w, "[");
    for (size_t i = 0; i < n; i++)
        writer_print(w, i ? ",%d" : "%d", (int)ids[i]);
    writer_print(w, "]");
}
