/* Stop texts: what is cut, what is held back, and that it does not depend on the pieces. */
#include "decode/stop_text.h"

#include <string.h>

#include "tests/check.h"
#include "tests/random.h"

static const struct {
    const char *name;
    const char *stops[3];
    const char *text, *expected;
    int found;                          /* -1: none */
} cases[] = {
    { "no stop texts",                      { 0 },             "abc",      "abc",     -1 },
    { "cut off",                            { "b" },           "abc",      "a",       0 },
    { "at the beginning",                   { "ab" },          "abc",      "",        0 },
    { "at the end",                         { "bc" },          "abc",      "a",       0 },
    { "not there",                          { "x", "y" },      "abc",      "abc",     -1 },
    { "only its beginning",                 { "cd" },          "abc",      "abc",     -1 },
    { "the one that is complete first",     { "bcde", "cd" },  "abcdef",   "ab",      1 },
    { "the longest of two that end there",  { "c", "bc" },     "abcd",     "a",       1 },
    { "overlaps itself",                    { "aab" },         "aaab",     "a",       0 },
    { "begins again inside",                { "abac" },        "ababac",   "ab",      0 },
    { "more than one byte a character",     { "\xC3\xA9" },    "caf\xC3\xA9s", "caf", 0 },
    { "line ends",                          { "\n\n" },        "a\nb\n\nc", "a\nb",   0 },
};

static size_t count(const char *const *stops)
{
    size_t n = 0;
    while (n < 3 && stops[n])
        n++;
    return n;
}

/* The text in pieces as the generator cuts it; *early: something was released that was not text. */
static void feed(struct stop_text *s, size_t i, struct random *r, bool *early)
{
    size_t n = strlen(cases[i].text), at = 0, released = 0;
    while (at < n && s->found == s->n) {
        size_t piece = 1 + random_below(r, n - at);
        stop_text_add(s, cases[i].text + at, piece, NULL);
        *early = *early || s->released < released || s->released > strlen(cases[i].expected);
        released = s->released;
        at += piece;
    }
    stop_text_end(s);
}

static void test_cases(void)
{
    struct random r = { 5 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool right = true, early = false;
        size_t n = count(cases[i].stops);
        for (int k = 0; k < 200; k++) {
            struct stop_text s;
            stop_text_init(&s, cases[i].stops, n);
            feed(&s, i, &r, &early);
            right = right && s.text.size == strlen(cases[i].expected)
                 && memcmp(s.text.data, cases[i].expected, s.text.size) == 0
                 && s.released == s.text.size
                 && s.found == (cases[i].found < 0 ? n : (size_t)cases[i].found);
            stop_text_free(&s);
        }
        check(right && !early, cases[i].name, "%s",
              early ? "released too early" : "another text or stop text");
    }
}

static void test_held_back(void)
{
    static const char *const stops[] = { "STOP", "\n\n" };
    static const struct {
        const char *name, *text;
        size_t released;
    } texts[] = {
        { "nothing is held back without reason", "hello",     5 },
        { "the beginning of one is",             "hello ST",  6 },
        { "of another",                          "hello\n",   5 },
        { "no more once it is something else",   "hello STA", 9 },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct stop_text s;
        stop_text_init(&s, stops, 2);
        stop_text_add(&s, texts[i].text, strlen(texts[i].text), NULL);
        check(s.released == texts[i].released, texts[i].name, "%zu bytes, expected %zu",
              s.released, texts[i].released);
        stop_text_free(&s);
    }
}

int main(void)
{
    test_cases();
    test_held_back();
    return check_done();
}
