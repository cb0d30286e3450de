/* What a file of text begins with. */
#include "base/encoding.h"

#include <string.h>

#include "tests/check.h"

#define TEXT(literal) literal, sizeof literal - 1

int main(void)
{
    static const struct {
        const char *name, *text;
        size_t n, mark;
        const char *message;        /* NULL: taken */
    } cases[] = {
        { "UTF-8", TEXT("a\xC3\xA9"), 0, NULL },
        { "nothing", TEXT(""), 0, NULL },
        { "a byte order mark", TEXT("\xEF\xBB\xBF" "a"), 3, NULL },
        { "the mark alone", TEXT("\xEF\xBB\xBF"), 3, NULL },
        { "a part of it", TEXT("\xEF\xBB"), 0, "f: invalid UTF-8 at byte 0" },
        { "a mark that does not begin the file", TEXT("a\xEF\xBB\xBF"), 0, NULL },
        { "UTF-16, little-endian", TEXT("\xFF\xFE" "a\0"), 0,
          "f: is UTF-16 (byte order mark FF FE)" },
        { "UTF-16, big-endian", TEXT("\xFE\xFF\0a"), 0, "f: is UTF-16 (byte order mark FE FF)" },
        { "a broken character", TEXT("a\xFF\xFE"), 0, "f: invalid UTF-8 at byte 1" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        bool ok = encoding_check(cases[i].text, cases[i].n, "f", &err);
        check(cases[i].message ? !ok && strstr(err.message, cases[i].message) : ok, cases[i].name,
              "'%s'", err.message);
        check(encoding_mark(cases[i].text, cases[i].n) == cases[i].mark, cases[i].name,
              "a mark of %zu bytes", encoding_mark(cases[i].text, cases[i].n));
    }
    return check_done();
}
