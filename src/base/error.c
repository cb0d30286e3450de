#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/utf8.h"

#define CUT "\xE2\x80\xA6"              /* U+2026: three dots */
#define CUT_BYTES (sizeof CUT - 1)
#define LONG_WORD 160                   /* bytes; longer words are cut first, */
#define KEPT_WORD 96                    /* down to this */

void error_printable(char *text)
{
    while (*text) {
        size_t n = utf8_length(text, 4);
        if (n == 0 || utf8_is_control(text)) {
            *text++ = '?';
            continue;
        }
        text += n;
    }
}

const char *error_reason(int number)
{
    struct format_locale locale;
    format_locale_enter(&locale);
    const char *reason = strerror(number);
    format_locale_leave(&locale);
    return reason;
}

/* ---- long messages ---------------------------------------------------------- */

static bool is_inside(char c)           /* a character of UTF-8 */
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* Replaces at least n bytes in the middle of text[begin, end) by three dots. */
static void cut_middle(char *text, size_t begin, size_t end, size_t n)
{
    size_t from = begin + (end - begin - n) / 2, to = from + n;
    while (from > begin && is_inside(text[from]))
        from--;
    while (to < end && is_inside(text[to]))
        to++;
    memmove(text + from + CUT_BYTES, text + to, strlen(text + to) + 1);
    memcpy(text + from, CUT, CUT_BYTES);
}

/* Cuts the longest word, most likely a path; false when no word is long. */
static bool cut_word(char *text, size_t excess)
{
    size_t longest = 0, begin = 0;
    for (size_t at = 0, n; text[at]; at += n + (text[at + n] == ' ')) {
        n = strcspn(text + at, " ");
        if (n > longest) {
            longest = n;
            begin = at;
        }
    }
    if (longest <= LONG_WORD)
        return false;
    size_t most = longest - KEPT_WORD, n = excess + CUT_BYTES;
    cut_middle(text, begin, begin + longest, n < most ? n : most);
    return true;
}

/* A message begins with its object and ends with its reason: keep both. */
static void shorten(char *text, size_t most)
{
    size_t n;
    while ((n = strlen(text)) > most)
        if (!cut_word(text, n - most))
            cut_middle(text, 0, n, n - most + CUT_BYTES);
}

/* ---- messages ----------------------------------------------------------------- */

void error_vset(struct error *err, const char *format, va_list args)
{
    if (!err)
        return;
    va_list again;
    va_copy(again, args);
    int n = format_text_v(err->message, sizeof err->message, format, args);
    /* Too long.  Without memory for the whole text, keep its begin. */
    char *whole = n >= (int)sizeof err->message ? malloc((size_t)n + 1) : NULL;
    if (whole) {
        format_text_v(whole, (size_t)n + 1, format, again);
        error_printable(whole);
        shorten(whole, sizeof err->message - 1);
        strcpy(err->message, whole);
        free(whole);
    }
    va_end(again);
    error_printable(err->message);
    err->lacking = false;
}

const char *error_clean(struct error *safe, const char *text)
{
    error_set(safe, "%s", text);
    return safe->message;
}

bool error_set(struct error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_vset(err, format, args);
    va_end(args);
    return false;
}

bool error_lack(struct error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error_vset(err, format, args);
    va_end(args);
    if (err)
        err->lacking = true;
    return false;
}

bool error_copy(struct error *err, const struct error *from)
{
    if (err)
        *err = *from;
    return false;
}

bool error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return false;
    const struct error rest = *err;
    struct error prefix = { 0 };
    va_list args;
    va_start(args, format);
    error_vset(&prefix, format, args);
    va_end(args);
    error_set(err, "%s%s", prefix.message, rest.message);
    err->lacking = rest.lacking;
    return false;
}
