/* Byte pair encoding of single words: the order of merges against a plain search, remembered words,
 * unknown bytes, and what a model may not be. */
#include "tokenizer/bpe.h"

#include <stdlib.h>

#include "base/json.h"
#include "tests/differ.h"
#include "tests/random.h"

#define VOCAB "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"ab\":3,\"bc\":4,\"abc\":5,\"aa\":6," \
              "\"aaa\":7,\"<u>\":8,\"\xC4\xA0\":9}"
#define MODEL(more, merges) "{\"type\":\"BPE\"," more VOCAB ",\"merges\":" merges "}"
#define DEFAULT "[\"b c\",\"a b\",\"a bc\"]"

/* The ids of a word as text ("1 2 3"), or the error's message. */
static void encode_text(char *out, size_t n_out, const struct bpe *b, struct bpe_scratch *s,
                        const char *word, size_t n)
{
    struct id_list ids = { 0 };
    struct error err = { 0 };
    size_t used = 0;
    out[0] = '\0';
    if (!bpe_encode_word(b, s, word, n, &ids, &err))
        snprintf(out, n_out, "%.200s", err.message);
    for (size_t i = 0; !err.message[0] && i < ids.n; i++)
        used += (size_t)snprintf(out + used, n_out - used, "%s%d", i ? " " : "", (int)ids.ids[i]);
    free(ids.ids);
}

static bool load(struct bpe *b, const char *json, struct error *err)
{
    cJSON *root = json_parse(json, strlen(json), "f", err);
    bool ok = bpe_load(b, root, "f", err);
    cJSON_Delete(root);
    return ok;
}

static void test_words(void)
{
    static const struct { const char *name, *json, *word, *ids; } cases[] = {
        { "no bytes", MODEL("", DEFAULT), "", "" },
        { "a byte", MODEL("", DEFAULT), "a", "0" },
        { "the lowest rank first", MODEL("", DEFAULT), "abc", "5" },
        { "another order of ranks, another result", MODEL("", "[\"a b\",\"b c\",\"a bc\"]"), "abc",
          "3 2" },
        { "the leftmost of one rank", MODEL("", "[\"a a\"]"), "aaa", "6 0" },
        { "a merge makes another possible", MODEL("", "[\"a a\",\"aa a\"]"), "aaa", "7" },
        { "merges as pairs", MODEL("", "[[\"a\",\"b\"]]"), "ab", "3" },
        { "a pair that occurs twice has its last rank", MODEL("", "[\"a b\",\"b c\",\"a b\"]"),
          "abc", "0 4" },
        { "no merges", MODEL("", "[]"), "abc", "0 1 2" },
        { "a space by its character", MODEL("", DEFAULT), " a", "9 0" },
        { "a token that no merges make", MODEL("", "[]"), "ab", "0 1" },
        { "is taken whole with ignore_merges", MODEL("\"ignore_merges\":true,", "[]"), "ab", "3" },
        { "which is of whole words alone", MODEL("\"ignore_merges\":true,", "[]"), "abb", "0 1 1" },
        { "an unknown byte is nothing without unk_token", MODEL("", DEFAULT), "xaxbx", "3" },
        { "unk_token", MODEL("\"unk_token\":\"<u>\",", DEFAULT), "axyb", "0 8 8 1" },
        { "unk_token, fused", MODEL("\"unk_token\":\"<u>\",\"fuse_unk\":true,", DEFAULT), "xxayyyb",
          "8 0 8 1" },
        { "an unk_token that is no token", MODEL("\"unk_token\":\"?\",", DEFAULT), "ax",
          "byte 0x78 is not in the vocabulary, and neither is unk_token '?'" },
        { "which nobody minds before it is needed", MODEL("\"unk_token\":\"?\",", DEFAULT), "ab",
          "3" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct bpe b;
        struct bpe_scratch s = { 0 };
        char first[256] = "", again[256] = "";
        bool ok = load(&b, cases[i].json, &err) && bpe_scratch_init(&s, 100, &err);
        if (ok) {
            encode_text(first, sizeof first, &b, &s, cases[i].word, strlen(cases[i].word));
            encode_text(again, sizeof again, &b, &s, cases[i].word, strlen(cases[i].word));
        }
        check(ok && strcmp(first, cases[i].ids) == 0, cases[i].name, "'%s' %s", first, err.message);
        check(ok && strcmp(again, first) == 0, "and the same when the word comes again", "'%s'",
              again);
        bpe_scratch_free(&s);
        bpe_free(&b);
    }
}

/* ---- against the definition ---------------------------------------------------------- */

/* Tokens of a and b up to three letters, of which merges make all. */
static const char *const tokens[] = {
    "a", "b", "aa", "ab", "ba", "bb", "aab", "bab", "abb", "bba"
};
static const int merge_parts[][3] = { { 1, 0, 4 }, { 0, 1, 3 }, { 0, 0, 2 }, { 2, 1, 6 },
                                      { 1, 3, 7 }, { 1, 1, 5 }, { 3, 1, 8 }, { 5, 0, 9 } };
enum {
    N_TOKENS = sizeof tokens / sizeof *tokens,
    N_MERGES = sizeof merge_parts / sizeof *merge_parts
};

/* As long as there is a pair that merges: joins the one of lowest rank, the leftmost of those. */
static size_t define(int32_t *ids, const char *word, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ids[i] = word[i] - 'a';
    for (;;) {
        size_t best = n, rank = N_MERGES;
        for (size_t i = 0; i + 1 < n; i++)
            for (size_t m = 0; m < rank; m++)
                if (ids[i] == merge_parts[m][0] && ids[i + 1] == merge_parts[m][1]) {
                    rank = m;
                    best = i;
                }
        if (best == n)
            return n;
        ids[best] = merge_parts[rank][2];
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        n--;
    }
}

static void test_random_words(void)
{
    enum { MOST = 300 };
    struct buffer json = { 0 };
    buffer_printf(&json, NULL, "{\"type\":\"BPE\",\"vocab\":{");
    for (int i = 0; i < N_TOKENS; i++)
        buffer_printf(&json, NULL, "%s\"%s\":%d", i ? "," : "", tokens[i], i);
    buffer_printf(&json, NULL, "},\"merges\":[");
    for (int i = 0; i < N_MERGES; i++)
        buffer_printf(&json, NULL, "%s\"%s %s\"", i ? "," : "", tokens[merge_parts[i][0]],
                      tokens[merge_parts[i][1]]);
    buffer_printf(&json, NULL, "]}");
    struct error err = { 0 };
    struct bpe b;
    struct bpe_scratch s = { 0 };
    struct random r = { 12 };
    char where[DIFFER_TEXT] = "";
    bool ok = load(&b, json.data, &err) && bpe_scratch_init(&s, 10000, &err);
    size_t words = 0;
    for (; ok && words < 600;
         words++) { /* the short ones come again, the long are not remembered */
        char word[MOST];
        int32_t expected[MOST];
        size_t n = 1 + random_below(&r, words % 3 ? 6 : MOST);
        for (size_t i = 0; i < n; i++)
            word[i] = (char)('a' + random_below(&r, 2));
        struct id_list ids = { 0 };
        size_t n_expected = define(expected, word, n);
        ok = bpe_encode_word(&b, &s, word, n, &ids, &err)
          && ((ids.n == n_expected && same_i32(where, ids.ids, expected, n_expected))
              || error_set(&err, "%.*s: %zu ids, expected %zu", (int)n, word, ids.n, n_expected));
        free(ids.ids);
    }
    check(ok, "600 words merge as the definition says", "word %zu: %s%s", words, err.message,
          where);
    bpe_scratch_free(&s);
    bpe_free(&b);
    buffer_free(&json);
}

/* ---- refusals --------------------------------------------------------------------------- */

static void test_refusals(void)
{
    static const struct { const char *name, *json, *message; } cases[] = {
        { "no object", "[]", "f: model is not an object" },
        { "another model", "{\"type\":\"Unigram\"}",
          "f: model 'Unigram' is not supported, only BPE" },
        { "a key twice", "{\"vocab\":{},\"vocab\":{}}", "f: duplicate name 'vocab'" },
        { "dropout", MODEL("\"dropout\":0.1,", "[]"), "f: model.dropout is not supported" },
        { "a prefix of subwords", MODEL("\"continuing_subword_prefix\":\"##\",", "[]"),
          "f: model.continuing_subword_prefix is not supported" },
        { "byte fallback", MODEL("\"byte_fallback\":true,", "[]"),
          "f: model.byte_fallback is not supported" },
        { "an unk_token that is a number", MODEL("\"unk_token\":1,", "[]"),
          "f: model.unk_token is not a string" },
        { "no merges", "{" VOCAB "}", "f: model.merges is not an array" },
        { "a merge of one", MODEL("", "[\"ab\"]"), "f: merges[0] is not a pair of tokens" },
        { "a merge of three", MODEL("", "[[\"a\",\"b\",\"c\"]]"),
          "f: merges[0] is not a pair of tokens" },
        { "both forms", MODEL("", "[\"a b\",[\"b\",\"c\"]]"),
          "f: merges[1] is not a pair of tokens" },
        { "a part that is no token", MODEL("", "[\"a b\",\"a q\"]"),
          "f: merges[1]: 'q' is not in the vocabulary" },
        { "a result that is no token", MODEL("", "[\"c c\"]"),
          "f: merges[0]: 'cc' is not in the vocabulary" },
    };
    static const struct { const char *name, *json; } taken[] = {
        { "dropout 0 is none", MODEL("\"dropout\":0,", "[]") },
        { "null is absent",
          MODEL("\"dropout\":null,\"unk_token\":null,\"fuse_unk\":null,\"byte_fallback\":null,",
          "[]") },
        { "empty affixes are none",
          MODEL("\"continuing_subword_prefix\":\"\",\"end_of_word_suffix\":\"\",", "[]") },
        { "the first line of a merges.txt", MODEL("", "[\"#version: 0.2\",\"a b\"]") },
    };
    struct bpe b;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        bool ok = load(&b, cases[i].json, &err);
        check(!ok && strcmp(err.message, cases[i].message) == 0, cases[i].name, "'%s'",
              err.message);
        bpe_free(&b);
    }
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        struct error err = { 0 };
        check(load(&b, taken[i].json, &err), taken[i].name, "'%s'", err.message);
        bpe_free(&b);
    }
}

int main(void)
{
    test_words();
    test_random_words();
    test_refusals();
    return check_done();
}
