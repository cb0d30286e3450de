/* What a caller of base/format.h keeps.  What it is for, other locales, needs some of them:
 * tests/faults/test_numbers.py. */
#include <errno.h>
#include <string.h>

#include "base/format.h"
#include "tests/check.h"

static void test_numbers(void)
{
    char text[8], *end;
    check(format_text(text, sizeof text, "%.3f", 1234.5) == 8 && strcmp(text, "1234.50") == 0,
          "as snprintf: what does not fit is cut off and counted", "'%s'", text);
    check(format_text(NULL, 0, "%.17g", 0.1) == 19, "as snprintf: without room it only counts",
          "another length than 19");
    check(format_parse("0.25,5", &end) == 0.25 && strcmp(end, ",5") == 0,
          "as strtod: a number ends at a comma", "'%s' is left", end);
    check(format_parse("1e-6", NULL) == 1e-6, "as strtod: the end may be NULL", "another number");
}

static void test_kept(void)
{
    char text[8];
    locale_t own = duplocale(LC_GLOBAL_LOCALE);
    locale_t before = uselocale(own);
    errno = ENOSPC;
    format_text(text, sizeof text, "%.3f", 0.5);
    format_parse("0.5", NULL);
    check(errno == ENOSPC, "errno is kept", "it is %d", errno);
    check(uselocale((locale_t)0) == own, "a locale of the thread's own is kept", "another one");
    uselocale(before);
    freelocale(own);
    format_text(text, sizeof text, "%.3f", 0.5);
    check(uselocale((locale_t)0) == LC_GLOBAL_LOCALE, "a thread without one has none afterwards",
          "it has one");
    format_parse("1e999", NULL);
    check(errno == ERANGE, "what strtod says in errno reaches the caller", "it is %d", errno);
}

static void test_ascii(void)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    int wrong = 0;
    for (int c = 1; c < 256; c++) {
        wrong += ascii_letter((char)c) != (strchr(letters, c) != NULL);
        wrong += ascii_digit((char)c) != (strchr("0123456789", c) != NULL);
        wrong += ascii_space((char)c) != (strchr(" \t\n\v\f\r", c) != NULL);
    }
    check(!wrong, "letters, digits and spaces are those of ASCII", "%d others", wrong);
}

int main(void)
{
    test_numbers();
    test_kept();
    test_ascii();
    return check_done();
}
