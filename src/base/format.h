/* format.h - numbers to text and back, always as in the C locale.
 *
 * A program that called setlocale(LC_ALL, "de_DE.UTF-8"), as any GTK, Qt, R or PHP program does, makes
 * printf write 4,86 and strtod stop at the point of 4.86, in this library too: JSON that nobody can
 * read, gates that compare with 0.  So every number goes through these functions.  (So does what else
 * depends on a locale: classes of characters, JSON in base/json.h, error_reason in base/error.h.)
 *
 * They switch the calling thread alone to the C locale (uselocale) and back.  The program's locale,
 * those of other threads, a locale of the thread's own, and errno stay as they were.  The switch is
 * here and not in the functions of surprisal.h, because threads that OpenMP starts do not inherit it.
 * It costs no allocation: C libraries keep the C locale as a constant. */
#ifndef SURPRISAL_BASE_FORMAT_H
#define SURPRISAL_BASE_FORMAT_H

#include <locale.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* snprintf and vsnprintf. */
int format_text(char *out, size_t n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
int format_text_v(char *out, size_t n, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

/* strtod; end may be NULL. */
double number_parse(const char *text, char **end);

/* For functions of other libraries that ask the locale.  Between the two this thread's locale is C. */
struct format_locale {
    locale_t c, before;
    int error;
};
void format_locale_enter(struct format_locale *l);
void format_locale_leave(struct format_locale *l);

/* isdigit and so on, of ASCII: bytes of UTF-8 are letters and spaces in locales of other character sets. */
static inline bool ascii_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool ascii_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool ascii_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

#endif
