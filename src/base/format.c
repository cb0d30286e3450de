#include "base/format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void format_locale_enter(struct format_locale *l)
{
    l->error = errno;
    l->c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    l->before = uselocale(l->c);
    errno = l->error;
}

void format_locale_leave(struct format_locale *l)
{
    l->error = errno;           /* set between enter and leave: the caller may need it */
    uselocale(l->before);
    if (l->c)
        freelocale(l->c);
    errno = l->error;
}

int format_text_v(char *out, size_t n, const char *format, va_list args)
{
    struct format_locale l;
    format_locale_enter(&l);
    int length = vsnprintf(out, n, format, args);
    format_locale_leave(&l);
    return length;
}

int format_text(char *out, size_t n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = format_text_v(out, n, format, args);
    va_end(args);
    return length;
}

double format_parse(const char *text, char **end)
{
    struct format_locale l;
    format_locale_enter(&l);
    double x = strtod(text, end);
    format_locale_leave(&l);
    return x;
}

size_t format_time(char *out, size_t n, const char *format, const struct tm *at)
{
    struct format_locale l;
    format_locale_enter(&l);
    size_t length = strftime(out, n, format, at);
    format_locale_leave(&l);
    return length;
}
