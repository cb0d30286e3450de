#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at s, 0 when it is broken. */
static size_t utf8_length(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : (s[0] & 0xE0) == 0xC0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3
             : (s[0] & 0xF8) == 0xF0 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    return n;
}

void error_printable(char *text)
{
    unsigned char *s = (unsigned char *)text;
    while (*s) {
        size_t n = utf8_length(s);
        bool c1_control = n == 2 && s[0] == 0xC2 && s[1] < 0xA0;
        if (n == 0 || s[0] < 0x20 || s[0] == 0x7F || c1_control) {
            *s++ = '?';
            continue;
        }
        s += n;
    }
}

static void set(struct error *err, const char *format, va_list args)
{
    vsnprintf(err->message, sizeof err->message, format, args);
    error_printable(err->message);
}

bool error_set(struct error *err, const char *format, ...)
{
    if (!err)
        return false;
    va_list args;
    va_start(args, format);
    set(err, format, args);
    va_end(args);
    err->lacking = false;
    return false;
}

bool error_lack(struct error *err, const char *format, ...)
{
    if (!err)
        return false;
    va_list args;
    va_start(args, format);
    set(err, format, args);
    va_end(args);
    err->lacking = true;
    return false;
}

bool error_prefix(struct error *err, const char *format, ...)
{
    if (!err)
        return false;
    char rest[ERROR_MESSAGE_BYTES];
    memcpy(rest, err->message, sizeof rest);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->message)
        snprintf(err->message + n, sizeof err->message - (size_t)n, "%s", rest);
    error_printable(err->message);
    return false;
}
