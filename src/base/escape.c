#include "base/escape.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#define REPLACEMENT "\xEF\xBF\xBD"      /* U+FFFD */

/* The replacement of the character at s (of well-formed text), NULL when it needs none; *length:
 * the bytes of the character. */
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

bool escape_text(struct buffer *out, const char *text, struct error *err)
{
    bool valid = utf8_valid(text, strlen(text), NULL), ok = true;
    const char *plain = text, *s = text;        /* plain: start of a run without escapes */
    while (ok && *s) {
        char picture[4];
        size_t length = 1;
        const char *escaped = !valid && (unsigned char)*s >= 0x80 ? REPLACEMENT
                            : escape(picture, (const unsigned char *)s, &length);
        s += length;
        if (!escaped)
            continue;
        ok = buffer_append(out, plain, (size_t)(s - plain) - length, err)
          && buffer_append(out, escaped, strlen(escaped), err);
        plain = s;
    }
    return ok && buffer_append(out, plain, (size_t)(s - plain), err);
}
