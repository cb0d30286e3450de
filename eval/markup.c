#include "eval/markup.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/output_file.h"

#define REPLACEMENT "\xEF\xBF\xBD"      /* U+FFFD */

static void append(struct markup *m, const char *bytes, size_t n)
{
    m->failed = m->failed || !buffer_append(&m->out, bytes, n, m->err);
}

void markup_raw(struct markup *m, const char *text)
{
    append(m, text, strlen(text));
}

void markup_printf(struct markup *m, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    m->failed = m->failed || !buffer_vprintf(&m->out, m->err, format, args);
    va_end(args);
}

/* What stands for the character at s (of well-formed text), NULL when it stands for itself;
 * *length: its bytes. */
static const char *escape(char picture[4], const unsigned char *s, size_t *length)
{
    *length = 1;
    switch (s[0]) {
    case '&':  return "&amp;";
    case '<':  return "&lt;";
    case '>':  return "&gt;";
    case '"':  return "&quot;";
    case '\'': return "&#39;";
    case 0x7F: return "\xE2\x90\xA1";
    case '\n': return "\xE2\x86\xB5";     /* U+21B5: its picture is missing in most fonts */
    }
    if (s[0] < 0x20) {
        snprintf(picture, 4, "\xE2\x90%c", 0x80 + s[0]);
        return picture;
    }
    *length = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    bool c1_control = s[0] == 0xC2 && s[1] < 0xA0;
    /* U+FDD0 to U+FDEF, and the last two of each plane. */
    bool arabic = s[0] == 0xEF && s[1] == 0xB7 && s[2] >= 0x90 && s[2] <= 0xAF;
    bool last = *length > 2 && (s[*length - 1] & 0xFE) == 0xBE && s[*length - 2] == 0xBF
             && (*length == 3 ? s[0] == 0xEF : (s[1] & 0x0F) == 0x0F);
    return c1_control || arabic || last ? REPLACEMENT : NULL;
}

void markup_text(struct markup *m, const char *text)
{
    if (!text)
        return;
    bool valid = utf8_valid(text, strlen(text), NULL);
    const char *plain = text, *s = text;        /* plain: start of what stands for itself */
    while (*s) {
        char picture[4];
        size_t length = 1;
        const char *escaped = !valid && (unsigned char)*s >= 0x80 ? REPLACEMENT
                            : escape(picture, (const unsigned char *)s, &length);
        s += length;
        if (!escaped)
            continue;
        append(m, plain, (size_t)(s - length - plain));
        markup_raw(m, escaped);
        plain = s;
    }
    append(m, plain, (size_t)(s - plain));
}

bool markup_save(struct markup *m, const char *path)
{
    bool ok = !m->failed && output_file_write(path, m->out.data, m->out.size, m->err);
    markup_free(m);
    return ok;
}

void markup_free(struct markup *m)
{
    buffer_free(&m->out);
}
