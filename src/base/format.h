/* format.h - numbers to text and back, always in the C locale.
 *
 * After setlocale(LC_ALL, "de_DE.UTF-8"), which any GTK, Qt, R or PHP program may call, printf
 * writes 4,86 and strtod stops at the point of 4.86, in this library too: nobody could read its
 * JSON, and gates would compare with 0.  So every number goes through these functions.  (The same
 * holds for whatever else depends on a locale: character classes below, JSON in base/json.h,
 * error_reason in base/error.h.)
 *
 * They switch only the calling thread to the C locale (uselocale), and back.  The program's locale,
 * those of other threads, the thread's own locale, and errno stay as they were.  The functions of
 * surprisal.h could not do this once for all, because threads that OpenMP starts do not inherit a
 * thread's locale.  The switch allocates nothing: C libraries keep the C locale as a constant. */
#ifndef SURPRISAL_BASE_FORMAT_H
#define SURPRISAL_BASE_FORMAT_H

#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* snprintf and vsnprintf. */
int format_text(char *out, size_t n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int format_text_v(char *out, size_t n, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* strtod; end may be NULL. */
double format_parse(const char *text, char **end);

/* strftime: 0 when the text does not fit into n bytes. */
size_t format_time(char *out, size_t n, const char *format, const struct tm *at);

/* For functions of other libraries that depend on the locale.  Between enter and leave this
 * thread's locale is C. */
struct format_locale {
    locale_t c, before;
    int error;
};
void format_locale_enter(struct format_locale *l);
void format_locale_leave(struct format_locale *l);

/* isdigit and so on for ASCII only: in the locales of some character sets, bytes of UTF-8 would be
 * letters and spaces. */
static inline bool ascii_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The value of a hexadecimal digit, -1 for another character. */
static inline int ascii_hex(char c)
{
    return ascii_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static inline bool ascii_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Does text begin with a word, in letters of any case?  word: in small ones. */
static inline bool ascii_begins(const char *text, const char *word)
{
    for (; *word; text++, word++)
        if (*text != *word && !(ascii_letter(*text) && (*text | 0x20) == *word))
            return false;
    return true;
}

#endif
