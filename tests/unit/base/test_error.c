/* Messages are printable, and keep their object and reason however long a name in them is. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"
#include "tests/check.h"

static void test_printable(void)
{
    static const struct {
        const char *name, *text, *expected;
    } cases[] = {
        { "O4: printable: plain", "a b", "a b" },
        { "O4: printable: UTF-8 stays", "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80",
          "\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80" },
        { "O4: printable: controls", "a\x1B[2J\n\t\x7F", "a?[2J???" },
        { "O4: printable: C1 controls", "a\xC2\x9B" "2J\xC2\x85", "a??2J??" },
        { "O4: printable: no-break space is no control", "\xC2\xA0", "\xC2\xA0" },
        { "O4: printable: bare bytes", "\xFF\x80" "a\xC3", "??a?" },
        { "O4: printable: overlong", "\xC0\x9B", "??" },
        { "O4: printable: a surrogate", "\xED\xA0\x80", "???" },
        { "O4: printable: above U+10FFFF", "\xF4\x90\x80\x80", "????" },
        { "O4: printable: cut short", "\xE2\x82", "??" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        error_set(&err, "%s", cases[i].text);
        check(strcmp(err.message, cases[i].expected) == 0, cases[i].name, "'%s'", err.message);
    }
}

/* n times the word */
static char *repeat(const char *word, size_t n)
{
    size_t length = strlen(word);
    char *text = malloc(n * length + 1);
    if (!text)
        abort();
    for (size_t i = 0; i < n; i++)
        memcpy(text + i * length, word, length);
    text[n * length] = '\0';
    return text;
}

static void name(char text[100], const char *of, const char *what)
{
    snprintf(text, 100, "O5: long: %s: %s", of, what);
}

static void test_long(void)
{
    char text[100];
    static const struct {
        const char *name, *word;
        size_t n;
    } cases[] = {
        { "1,100 bytes", "0123456789/", 100 }, { "100,000 bytes", "0123456789/", 10000 },
        { "characters of three bytes", "\xE2\x82\xAC", 5000 }, { "words", "ab cd ", 1000 },
        { "words of three bytes", "\xE2\x82\xAC ", 1000 }, { "blanks", " ", 5000 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = repeat(cases[i].word, cases[i].n);
        struct error err = { 0 };
        error_set(&err, "/begin%s/end: No such file", path);
        const char *m = err.message;
        size_t n = strlen(m);
        name(text, cases[i].name, "begin, dots and reason stay");
        check(strncmp(m, "/begin", 6) == 0 && n > 900
              && strcmp(m + n - 18, "/end: No such file") == 0
              && strstr(m, "\xE2\x80\xA6") && utf8_valid(m, n, NULL),
              text, "%zu: '%s'", n, m);
        error_set(&err, "A/%s: cannot rename to B/%s: the reason", path, path);
        name(text, cases[i].name, "two of them, and the text between");
        check(strchr(cases[i].word, ' ') || strstr(m, ": cannot rename to B/"),
              text, "'%s'", m);
        error_set(&err, "the reason");
        error_prefix(&err, "%s: ", path);
        n = strlen(m);
        name(text, cases[i].name, "a prefix hides no reason");
        check(n > 12 && strcmp(m + n - 12, ": the reason") == 0 && utf8_valid(m, n, NULL),
              text, "'%s'", m);
        free(path);
    }
}

int main(void)
{
    test_printable();
    test_long();
    return check_done();
}
