/* base/stand_in.h: what is named, and what is left to the parser's own message. */
#include <string.h>

#include "base/stand_in.h"
#include "tests/check.h"

#define POINTER "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize "

#define BYTES(text) text, sizeof(text) - 1

static const struct {
    const char *name, *bytes;
    size_t n;
    const char *fragment;               /* NULL: nothing known */
} cases[] = {
    { "a pointer, with its size", BYTES(POINTER "123\n"), "a file of 123 bytes" },
    { "a pointer that ends in its size", BYTES(POINTER "123"), "a file of 123 bytes" },
    { "a pointer without a size", BYTES(POINTER), "a file of ? bytes" },
    { "a page", BYTES("<!DOCTYPE html>"), "an HTML or XML page" },
    { "a page after a mark and spaces", BYTES("\xEF\xBB\xBF \r\n<html>"), "an HTML or XML page" },
    { "an error in JSON", BYTES("{\"error\":\"gone\"}"), "an error message in JSON" },
    { "sixteen zeros", BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), "full of zeros" },
    { "a zip archive", BYTES("PK\3\4\0\0"), "a zip archive" },
    { "fifteen zeros may be anything", BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), NULL },
    { "a letter after zeros", BYTES("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0x"), NULL },
    { "nothing", BYTES(""), NULL },
    { "spaces alone", BYTES(" \n "), NULL },
    { "JSON", BYTES("{\"a\": 1}"), NULL },
    { "half of a word", BYTES("PK"), NULL },
};

static void test_kinds(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { .message = "" };
        bool good = stand_in_check("x", cases[i].bytes, cases[i].n, &err);
        const char *fragment = cases[i].fragment;
        check(fragment ? !good && strstr(err.message, fragment) : good && !*err.message,
              cases[i].name, "'%s'", err.message);
    }
}

static void test_pointers(void)
{
    char text[2048];
    memset(text, 'x', sizeof text);
    memcpy(text, POINTER, strlen(POINTER));
    check(stand_in_is_pointer(text, 1024), "a pointer has at most 1024 bytes", "it is none");
    check(!stand_in_is_pointer(text, 1025), "a longer text is a text", "it is a pointer");
}

int main(void)
{
    test_kinds();
    test_pointers();
    return check_done();
}
