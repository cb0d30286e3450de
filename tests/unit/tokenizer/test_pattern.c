/* Regular expressions: how Oniguruma's are spelt for PCRE2, what is refused, and the walk over
 * matches. */
#include "base/utf8.h"
#include "tokenizer/pattern.h"

#include <string.h>

#include "tests/check.h"
#include "tokenizer/unicode.h"

static void test_translations(void)
{
    static const struct { const char *name, *regex, *pcre2; } cases[] = {
        { "a letter", "a", "\\x{61}" },
        { "an escape", "\\n\\.", "\\x{a}\\x{2e}" },
        { "a number", "\\x41\\u00e9\\x{1F600}", "\\x{41}\\x{e9}\\x{1f600}" },
        { "a class with a range", "[^a-c\\s]", "[^\\x{61}-\\x{63}\\s]" },
        { "a dash at the end of a class", "[a-]", "[\\x{61}\\x{2d}]" },
        { "properties", "\\p{L}\\P{N}\\p{^Lu}", "\\p{L}\\P{N}\\P{Lu}" },
        { "a script is not its extensions", "\\p{Han}", "\\p{sc:Han}" },
        { "groups", "(?:a)(?=b)(?!c)(?<=d)(?<!e)(?>f)(g)",
          "(?:\\x{61})(?=\\x{62})(?!\\x{63})(?<=\\x{64})(?<!\\x{65})(?>\\x{66})(\\x{67})" },
        { "quantifiers", "a{1,3}b{2}c{3,}d?e+f*",
          "\\x{61}{1,3}\\x{62}{2}\\x{63}{3,}\\x{64}?\\x{65}+\\x{66}*" },
        { "a brace that opens no interval", "a{x", "\\x{61}\\{\\x{78}" },
        { "a caseless group", "(?i:'s)", "(?i:\\x{27}\\x{73})" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer b = { 0 };
        struct error err = { 0 };
        bool ok = pattern_translate(&b, cases[i].regex, "f", &err);
        check(ok && strcmp(b.data, cases[i].pcre2) == 0, cases[i].name, "'%s' %s", ok ? b.data : "",
              err.message);
        buffer_free(&b);
    }
}

static void test_refusals(void)
{
    static const struct { const char *name, *regex, *message; } cases[] = {
        { "a hexadecimal digit to one, a space to the other", "\\h",
          "f: regular expression: '\\h' at byte 0 is not" },
        { "word boundaries", "a\\b", "'\\b' at byte 1" },
        { "a class in a class", "[a[b]]", "'[' at byte 2" },
        { "an intersection", "[a&&b]", "'&&' at byte 2" },
        { "an empty class", "[]a]", "'[]' at byte 0" },
        { "a class without an end", "[ab", "'[' at byte 0" },
        { "a range backwards", "[c-a]", "'c-a' at byte 1" },
        { "an interval from nowhere", "a{,3}", "'{,3}' at byte 1" },
        { "a possessive interval", "a{2}+", "'{2}+' at byte 1" },
        { "a lazy one of one number", "a{2}?", "'{2}?' at byte 1" },
        { "a named group", "(?<n>a)", "'(?<' at byte 0" },
        { "a script with stand-ins of others", "\\p{Greek}", "'\\p{Greek}' at byte 0" },
        { "a property without case", "(?i:\\p{Lu})", "'\\p{Lu}' at byte 4" },
        { "a raw byte", "\\xe9", "'\\x' at byte 0" },
        { "a surrogate", "\\ud800", "'\\u' at byte 0" },
        { "ligatures that only one finds", "(?i:fi)", "'i' at byte 5" },
        { "letters beyond ASCII without case", "(?i:\xC3\xA9)", "'\xC3\xA9' at byte 4" },
        { "a range that parts a code point from its stand-in", "[\\x{897}]", "at byte 1" },
        { "what PCRE2 refuses", "(a", "f: regular expression: missing closing parenthesis" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct pattern *p = pattern_compile(cases[i].regex, "f", &err);
        check(!p && strstr(err.message, cases[i].message), cases[i].name, "'%s'", err.message);
        pattern_free(p);
    }
}

/* "begin-end ..." of all matches. */
static void matches_text(char *out, size_t n_out, const struct pattern *p, const char *text,
                         struct error *err)
{
    struct pattern_scratch *s = pattern_scratch_new(err);
    struct pattern_walk walk = { 0 };
    size_t used = 0;
    out[0] = '\0';
    while (s && pattern_next(p, s, text, strlen(text), &walk, err))
        used += (size_t)snprintf(out + used, n_out - used, "%s%zu-%zu", used ? " " : "", walk.start,
                                 walk.end);
    if (!walk.finished)
        snprintf(out, n_out, "error");
    pattern_scratch_free(s);
}

static void test_matches(void)
{
    static const struct { const char *name, *regex, *text, *matches; } cases[] = {
        { "in order, not overlapping", "aa", "aaaaa", "0-2 2-4" },
        { "none", "x", "aaa", "" },
        { "empty matches, but not behind a match", "b*", "aba", "0-0 1-2 3-3" },
        { "an empty match is a character on, not a byte", "x*", "\xC3\xA9", "0-0 2-2" },
        { "a line's end ends a line", "^b", "a\nb", "2-3" },
        { "a dot is no line's end", ".", "a\n", "0-1" },
        { "what looks back sees the text before", "(?<=a)b", "abab", "1-2 3-4" },
        { "letters of any script", "\\p{L}+", "a\xC3\xA9\xE4\xB8\xAD 1", "0-6" },
        { "Unicode's white space", "\\s", "a\xC2\xA0\xE3\x80\x80", "1-3 3-6" },
        { "superscripts are words outside of classes", "\\w", "\xC2\xB2", "0-2" },
        { "and no words in them", "[\\w]", "\xC2\xB2", "" },
        { "without case", "(?i:AB)", "abAbaB", "0-2 2-4 4-6" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        char found[128] = "not compiled";
        struct pattern *p = pattern_compile(cases[i].regex, "f", &err);
        if (p)
            matches_text(found, sizeof found, p, cases[i].text, &err);
        check(strcmp(found, cases[i].matches) == 0, cases[i].name, "'%s' %s", found, err.message);
        pattern_free(p);
    }
}

static void test_literal_and_limit(void)
{
    struct error err = { 0 };
    char found[128] = "not compiled";
    struct pattern *p = pattern_compile_literal(".*", "f", &err);
    if (p)
        matches_text(found, sizeof found, p, "a.*.*", &err);
    check(strcmp(found, "1-3 3-5") == 0, "a string is no expression", "'%s'", found);
    pattern_free(p);
    check(!pattern_compile_literal("a\xE0\xA2\x97", "f", &err)
          && strcmp(err.message, "f: pattern with U+0897 is not supported") == 0,
          "a string with a code point that is shown as another", "'%s'", err.message);
    char text[4001];
    memset(text, 'a', 4000);
    text[4000] = '\0';
    p = pattern_compile("(?:a|a)+(?<!a)", "f", &err);
    err.message[0] = '\0';
    if (p)
        matches_text(found, sizeof found, p, text, &err);
    check(p && strcmp(found, "error") == 0 && strstr(err.message, "f: regular expression: "),
          "a pattern that explodes comes to an end", "'%s' '%s'", found, err.message);
    pattern_free(p);
}

/* Rows in order, apart, each stand-in as long in UTF-8 and none itself replaced. */
static void test_stand_ins(void)
{
    size_t wrong = 0;
    for (size_t i = 0; i < unicode_n_stand_ins; i++) {
        const struct unicode_stand_in *row = &unicode_stand_ins[i];
        char bytes[4];
        wrong += row->first > row->last || (i && row[-1].last >= row->first)
              || unicode_stand_in(row->first) != row->stand_in
              || unicode_stand_in(row->last) != row->stand_in
              || unicode_stand_in(row->stand_in) != row->stand_in
              || utf8_put(bytes, row->first) != utf8_put(bytes, row->stand_in)
              || utf8_put(bytes, row->last) != utf8_put(bytes, row->stand_in);
    }
    check(wrong == 0, "stand-ins are in order, as long, and stand for themselves", "%zu rows",
          wrong);
    struct buffer copy = { 0 };
    const char *subject, *plain = "abc\xC3\xA9\xE4\xB8\xAD", *young = "a\xE0\xA2\x97z";
    bool ok = unicode_subject(&subject, plain, strlen(plain), &copy, NULL) && subject == plain;
    check(ok, "text without young code points is shown as it is", "a copy");
    ok = unicode_subject(&subject, young, 5, &copy, NULL);
    check(ok && memcmp(subject, "a\xE0\xA2\x98z", 5) == 0,
          "a young one as its stand-in, all else in its place", "'%.5s'", subject);
    buffer_free(&copy);
}

int main(void)
{
    test_translations();
    test_refusals();
    test_matches();
    test_literal_and_limit();
    test_stand_ins();
    return check_done();
}
