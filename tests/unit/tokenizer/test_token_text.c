/* Text that comes token by token: together it is the text of all ids at once, and no piece ends
 * inside a character. */
#include "tokenizer/token_text.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tests/check.h"
#include "tests/random.h"

enum { RANDOM_IDS = 3000 };

static struct tokenizer *t;

/* The pieces of ids [n] one after another, or the reason why not. */
static bool together(struct buffer *out, bool *whole, const int32_t *ids, size_t n,
                     struct error *err)
{
    struct token_text text = { .tokenizer = t };
    bool ok = true;
    *whole = true;
    for (size_t i = 0; ok && i < n; i++) {
        ok = token_text_add(&text, ids[i], out, err);
        *whole = *whole && utf8_valid(out->data, out->size, NULL);
    }
    ok = ok && token_text_end(&text, out, err);
    token_text_free(&text);
    return ok;
}

static void compare(const char *name, const int32_t *ids, size_t n)
{
    struct buffer pieces = { 0 }, once = { 0 };
    struct error err = { 0 };
    bool whole = false;
    bool ok = together(&pieces, &whole, ids, n, &err) && tokenizer_decode(t, ids, n, &once, &err);
    check(ok && whole && pieces.size == once.size
              && (!once.size || memcmp(pieces.data, once.data, once.size) == 0),
          name, "%s", !ok ? err.message : !whole ? "a piece ends inside a character"
                                                 : "another text");
    buffer_free(&pieces), buffer_free(&once);
}

static void test_texts(void)
{
    static const struct {
        const char *name, *text;
    } cases[] = {
        { "ASCII", "hello, world" },
        { "two to four bytes",
          "caf\xC3\xA9 \xE4\xB8\xAD\xE6\x96\x87 \xF0\x9F\x98\x80\xF0\x9F\x91\xA9" },
        { "added tokens between", "a<|im_end|>\xE4\xB8\xAD<think>" },
        { "bounds of the second byte", "\xE0\xA0\x80\xED\x9F\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *ids = NULL;
        size_t n = 0;
        struct error err = { 0 };
        if (!tokenizer_encode(t, cases[i].text, strlen(cases[i].text), &ids, &n, &err))
            check(false, cases[i].name, "%s", err.message);
        else
            compare(cases[i].name, ids, n);
        free(ids);
    }
}

/* Bytes in any order, most of them no characters: the tokens of single bytes come first. */
static void test_random(void)
{
    static int32_t ids[RANDOM_IDS];
    struct random r = { 3 };
    for (size_t i = 0; i < RANDOM_IDS; i++)
        ids[i] = (int32_t)random_below(&r, i < RANDOM_IDS / 2 ? 256 : 1000);
    compare("bytes in any order", ids, RANDOM_IDS);
    compare("no ids", ids, 0);
}

static void test_end(void)
{
    int32_t *ids = NULL;
    size_t n = 0;
    struct buffer out = { 0 };
    bool whole;
    struct error err = { 0 };
    if (!check(tokenizer_encode(t, "\xF0\x9F\x98\x80", 4, &ids, &n, &err) && n > 1,
               "the demo tokenizer has no token for an emoji", "%s", err.message))
        return;
    together(&out, &whole, ids, n - 1, &err);
    check(out.size == 3 && memcmp(out.data, "\xEF\xBF\xBD", 3) == 0,
          "an unfinished character at the end is U+FFFD", "%zu bytes", out.size);
    free(ids);
    buffer_free(&out);
}

static void test_kinds(void)
{
    check(tokenizer_is_special(t, tokenizer_token_id(t, "<|im_end|>")), "<|im_end|> is special",
          "it is not");
    check(!tokenizer_is_special(t, tokenizer_token_id(t, "<think>")), "<think> is not", "it is");
    check(!tokenizer_is_special(t, 0) && tokenizer_has_token(t, 0), "nor is a token of the text",
          "it is, or is none");
    check(!tokenizer_has_token(t, 1 << 30) && !tokenizer_has_token(t, -1),
          "ids outside the vocabulary have no token", "they have");
}

int main(void)
{
    struct error err = { 0 };
    t = tokenizer_open("data/demo/bf16", &err);
    if (!check(t != NULL, "the demo tokenizer opens", "%s", err.message))
        return check_done();
    test_texts();
    test_random();
    test_end();
    test_kinds();
    tokenizer_close(t);
    return check_done();
}
