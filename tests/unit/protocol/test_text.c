#include "eval/protocol/text.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/file.h"
#include "eval/protocol/wikitext.h"
#include "tests/check.h"

static void test_words(void)
{
    static const struct {
        const char *name, *text;
        size_t words;                   /* len(re.split(r"\s+", text)) */
    } cases[] = {
        { "words: empty", "", 1 },
        { "words: one", "a", 1 },
        { "words: runs of space", "a \t\n b", 2 },
        { "words: space at both ends counts", " a b ", 4 },
        { "words: space alone", " \n ", 2 },
        { "words: NEL and no-break space", "a\xC2\x85" "b\xC2\xA0" "c", 3 },
        { "words: ogham space mark", "a\xE1\x9A\x80" "b", 2 },
        { "words: U+2000 and U+200A", "a\xE2\x80\x80" "b\xE2\x80\x8A" "c", 3 },
        { "words: zero-width space is none", "a\xE2\x80\x8B" "b", 1 },
        { "words: line and paragraph separator", "a\xE2\x80\xA8" "b\xE2\x80\xA9" "c", 3 },
        { "words: narrow, mathematical, ideographic",
          "a\xE2\x80\xAF" "b\xE2\x81\x9F" "c\xE3\x80\x80" "d", 4 },
        { "words: file to unit separator", "a\x1C" "b\x1F" "c", 3 },
        { "words: U+180E and BOM are none", "a\xE1\xA0\x8E" "b\xEF\xBB\xBF" "c", 1 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t words = text_words(cases[i].text, strlen(cases[i].text));
        check(words == cases[i].words, cases[i].name, "%zu, expected %zu", words, cases[i].words);
    }
    check(text_words("a\0b c", 5) == 2, "words: NUL is a character", "%zu",
          text_words("a\0b c", 5));
}

static void test_join(void)
{
    static const struct {
        const char *name, *text, *joined;
    } cases[] = {
        { "join: rows keep their newline", "a\nb\n", "a\n\n\nb\n" },
        { "join: a blank line is an empty row", "a\n \nb\n", "a\n\n\n\n\nb\n" },
        { "join: blank by Unicode", "a\n\xC2\xA0\nb", "a\n\n\n\n\nb" },
        { "join: first line blank", " \na\n", "\n\na\n" },
        { "join: no newline at the end", "a\nb", "a\n\n\nb" },
        { "join: empty", "", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out;
        bool ok = text_join_hf(&out, cases[i].text, strlen(cases[i].text), NULL);
        check(ok && strcmp(out.data, cases[i].joined) == 0, cases[i].name, "'%s'",
              ok ? out.data : "failed");
        buffer_free(&out);
    }
}

/* The digests that the data set's README states. */
static void test_digests(void)
{
    static const char path[] = "../shared/data/wikitext-2-raw/wiki.test.raw";
    static const struct {
        const char *name;
        enum surprisal_join join;
        const char *sha256;
    } cases[] = {
        { "WikiText-2 test as shipped", SURPRISAL_JOIN_RAW,
          "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08" },
        { "WikiText-2 test, rows joined", SURPRISAL_JOIN_HF,
          "696cca6b65a171b0a358a4be6732cdfdf2dd6164a32e20fd70e3c13fc4dfae83" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer text = { 0 };
        struct digest digest;
        char hex[2 * DIGEST_BYTES + 1] = "";
        if (!file_exists(path)) {
            check_skip(cases[i].name, "no ../shared/data/wikitext-2-raw");
            continue;
        }
        if (text_read(&text, path, cases[i].join, NULL)
            && digest_of(&digest, text.data, text.size, NULL))
            digest_hex(hex, &digest);
        check(strcmp(hex, cases[i].sha256) == 0, cases[i].name, "%s", hex);
        buffer_free(&text);
    }
}

static void test_ids(void)
{
    static const struct {
        const char *name, *text;
        size_t n;
        int32_t last;
        const char *says;               /* NULL: accepted */
    } cases[] = {
        { "ids: all kinds of white space", "1 2\t3\n4\r\n5\v6\f7", 7, 7, NULL },
        { "ids: none", " \n", 0, 0, NULL },
        { "ids: leading zeros", "007", 1, 7, NULL },
        { "ids: the largest", "2147483647\n", 1, INT32_MAX, NULL },
        { "ids: too large", "1\n2147483648", 0, 0, "f: line 2: '2147483648' is not a token id" },
        { "ids: far too large", "99999999999999999999999999", 0, 0, "line 1: '9999" },
        { "ids: negative", "1 -5", 0, 0, "line 1: '-5'" },
        { "ids: plus sign", "+5", 0, 0, "'+5'" },
        { "ids: junk after digits", "1\n\n12a", 0, 0, "line 3: '12a'" },
        { "ids: fraction", "1.0", 0, 0, "'1.0'" },
        { "ids: comma", "1, 2", 0, 0, "'1,'" },
        { "ids: hexadecimal", "0x10", 0, 0, "'0x10'" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        int32_t *ids = NULL;
        size_t n = 0;
        bool ok = text_parse_ids(cases[i].text, strlen(cases[i].text), "f", &ids, &n, &err);
        bool as_expected = cases[i].says
            ? !ok && strstr(err.message, cases[i].says)
            : ok && n == cases[i].n && (n == 0 || ids[n - 1] == cases[i].last);
        check(as_expected, cases[i].name, "%d, %zu ids, '%s'", ok, n, err.message);
        free(ids);
    }
    int32_t *ids = NULL;
    size_t n;
    check(!text_parse_ids("1\0002", 3, "f", &ids, &n, NULL), "ids: NUL is junk", "accepted");
}

/* Expected values by lm_eval's preprocess_wikitext.py. */
static void test_detokenize(void)
{
    static const struct {
        const char *name, *page, *plain;
    } cases[] = {
        { "wikitext: separators", "a 1 @,@ 000 @.@ 5 well @-@ known", "a 1,000.5 well-known" },
        { "wikitext: punctuation", "a , b . c : d ; e ! f ? g", "a, b. c: d; e! f? g" },
        { "wikitext: pairs", "( a ) [ b ] { c } \" d \" ' e '", "(a) [b] {c} \"d\" 'e'" },
        { "wikitext: empty and open pairs", "( ) ( a", "() ( a" },
        { "wikitext: pairs over lines", "\" a\nb \"", "\"a\nb\"" },
        { "wikitext: headings", " = = = A = = = \n = B = \n", " === A ===\n= B =\n" },
        { "wikitext: genitives", "cats ' tail ; dog 's N bone", "cats'tail; dog's 1 bone" },
        { "wikitext: degree", "5 \xC2\xB0 C", "5\xC2\xB0" "C" },
        { "wikitext: the harness's slashed digit", "/' 3/", "/'[0-9]/" },
        { "wikitext: empty", "", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer out = { 0 };
        bool ok = wikitext_detokenize(&out, cases[i].page, strlen(cases[i].page), NULL);
        check(ok && strcmp(out.data, cases[i].plain) == 0, cases[i].name, "'%s'",
              ok ? out.data : "failed");
        buffer_free(&out);
    }
}

static void test_articles(void)
{
    static const char text[] =
        " \n = One = \n \n a \n = = Part = = \n b \n \n = Two = \n c = d \n = \n";
    static const char *const expected[] = {
        " = One = \n \n a \n = = Part = = \n b \n ",
        " = Two = \n c = d \n = \n",
    };
    struct wikitext_articles articles = { .text = text, .n = strlen(text) };
    struct buffer page = { 0 };
    bool ok = true, same = true;
    size_t n = 0;
    for (; wikitext_next(&articles, &page, &ok, NULL); n++)
        same = same && n < 2 && strcmp(page.data, expected[n]) == 0;
    check(ok && same && n == 2, "wikitext: articles begin at top headings", "%zu", n);
    buffer_free(&page);
}

int main(void)
{
    test_words();
    test_join();
    test_digests();
    test_ids();
    test_detokenize();
    test_articles();
    return check_done();
}
