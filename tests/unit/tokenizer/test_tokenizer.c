/* test_tokenizer.c - small tokenizers, each rule by itself; what files are refused, and why. */
#include "helper.h"
#include "tests/check.h"

/* Added tokens 11.. of the default vocabulary. */
#define TOKEN(id, content, flags) \
    "{\"id\":" #id ",\"content\":\"" content "\",\"special\":false," flags "}"
#define PLAIN  "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false"
#define LSTRIP "\"single_word\":false,\"lstrip\":true,\"rstrip\":false,\"normalized\":false"
#define RSTRIP "\"single_word\":false,\"lstrip\":false,\"rstrip\":true,\"normalized\":false"
#define WORD   "\"single_word\":true,\"lstrip\":false,\"rstrip\":false,\"normalized\":false"
#define NORMAL "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":true"
#define SPLIT(pattern, behavior, invert) \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{" pattern "}," \
    "\"behavior\":\"" behavior "\",\"invert\":" invert "},{\"type\":\"ByteLevel\"," \
    "\"add_prefix_space\":true,\"use_regex\":false}]}"
#define UNK_VOCAB "{\"a\":0,\"<u>\":1,\"b\":2}"

static const struct {
    const char *name;
    struct weight_schedule parts;
    const char *text, *ids;
} encodings[] = {
    { "empty text", { 0 }, "", "" },
    { "lowest rank first", { 0 }, "abc", "5" },
    { "leftmost of equal rank", { .merges = "[[\"a\",\"b\"]]" }, "abab", "3 3" },
    { "merges as strings", { .merges = "[\"#version: 0.2\",\"a b\"]" }, "ab", "3" },
    { "ignore_merges takes the whole word",
      { .merges = "[]", .model = "\"ignore_merges\":true," }, "abc", "5" },
    { "without ignore_merges it does not", { .merges = "[]" }, "abc", "0 1 2" },
    { "NFC joins", { 0 }, "e\xCC\x81", "7 8" },
    { "no normalizer", { .normalizer = "null" }, "\xC3\xA9", "7 8" },
    { "unknown byte without unk_token vanishes", { 0 }, "axb", "3" },
    { "unk_token", { .vocab = UNK_VOCAB, .merges = "[]", .model = "\"unk_token\":\"<u>\"," },
      "axyb", "0 1 1 2" },
    { "fuse_unk", { .vocab = UNK_VOCAB, .merges = "[]",
      .model = "\"unk_token\":\"<u>\",\"fuse_unk\":true," }, "axyb", "0 1 2" },
    { "unk_token that is no token", { .vocab = UNK_VOCAB, .merges = "[]",
      .model = "\"unk_token\":\"<v>\"," }, "ax",
      "byte 0x78 is not in the vocabulary, and neither is unk_token '<v>'" },
    { "invalid UTF-8 names the offset", { 0 }, "ab\xC3(", "invalid UTF-8 at byte 2" },
    { "surrogates are invalid", { 0 }, "a\xED\xA0\x80", "invalid UTF-8 at byte 1" },

    { "prefix space", { .pre_tokenizer =
      "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}" }, "a", "6 0" },
    { "ByteLevel splits by default", { .pre_tokenizer =
      "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}" }, "ab\nab", "3 9 3" },
    { "Isolated", { .pre_tokenizer = SPLIT("\"Regex\":\"b+\"", "Isolated", "false") },
      "abba", "6 0 6 1 1 6 0" },
    { "Removed", { .pre_tokenizer = SPLIT("\"Regex\":\"b\"", "Removed", "false") },
      "abba", "6 0 6 0" },
    { "Removed, inverted", { .pre_tokenizer = SPLIT("\"Regex\":\"b\"", "Removed", "true") },
      "abba", "6 1 6 1" },
    { "MergedWithPrevious",
      { .pre_tokenizer = SPLIT("\"Regex\":\"b\"", "MergedWithPrevious", "false") },
      "abba", "6 3 6 1 6 0" },
    { "MergedWithNext",
      { .pre_tokenizer = SPLIT("\"Regex\":\"b\"", "MergedWithNext", "false") },
      "cbbc", "6 2 6 1 6 4" },
    { "Contiguous", { .pre_tokenizer = SPLIT("\"Regex\":\"b\"", "Contiguous", "false") },
      "abba", "6 0 6 1 1 6 0" },
    { "String is no expression",
      { .pre_tokenizer = SPLIT("\"String\":\".\"", "Isolated", "false") }, "ab", "6 3" },
    { "empty matches", { .pre_tokenizer = SPLIT("\"Regex\":\"b*\"", "Isolated", "false") },
      "aba", "6 0 6 1 6 0" },

    { "longest added token", { .added_tokens =
      "[" TOKEN(11, "<a", PLAIN) "," TOKEN(12, "<ab>", PLAIN) "]" }, "<ab><a", "12 11" },
    { "leftmost added token", { .added_tokens =
      "[" TOKEN(11, "ax", PLAIN) "," TOKEN(12, "xcc", PLAIN) "]" }, "axcc", "11 2 2" },
    { "lstrip", { .added_tokens = "[" TOKEN(11, "x", LSTRIP) "]" }, "a \n xb", "0 11 1" },
    { "rstrip", { .added_tokens = "[" TOKEN(11, "x", RSTRIP) "]" }, "a x\xE3\x80\x80 b",
      "0 6 11 1" },
    { "single_word", { .added_tokens = "[" TOKEN(11, "x", WORD) "]" }, "x axxa\nx",
      "11 6 0 0 9 11" },
    { "normalized token in normalized text", { .added_tokens =
      "[" TOKEN(11, "e\xCC\x81", NORMAL) "]" }, "a\xC3\xA9", "0 11" },
    { "raw token in raw text only", { .added_tokens =
      "[" TOKEN(11, "e\xCC\x81", PLAIN) "]" }, "a\xC3\xA9", "0 7 8" },
};

static const struct {
    const char *message;        /* part of it */
    struct weight_schedule parts;
} refusals[] = {
    { "truncation is not supported", { .more = "\"truncation\":{}," } },
    { "padding is not supported", { .more = "\"padding\":{}," } },
    { "duplicate name 'version'", { .more = "\"version\":\"1.0\"," } },
    { "normalizer 'Lowercase' is not supported", { .normalizer = "{\"type\":\"Lowercase\"}" } },
    { "normalizer has no type", { .normalizer = "3" } },
    { "normalizer.normalizers is not an array", { .normalizer = "{\"type\":\"Sequence\"}" } },
    { "pre_tokenizer 'Digits' is not supported", { .pre_tokenizer = "{\"type\":\"Digits\"}" } },
    { "without ByteLevel", { .pre_tokenizer = "null" } },
    { "'Split' after ByteLevel", { .pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":["
      "{\"type\":\"ByteLevel\",\"add_prefix_space\":true},{\"type\":\"Split\"}]}" } },
    { "behavior 'Odd'", { .pre_tokenizer = SPLIT("\"Regex\":\"b\"", "Odd", "false") } },
    { "'invert' is neither", { .pre_tokenizer = SPLIT("\"Regex\":\"b\"", "Isolated", "1") } },
    { "Split has no pattern", { .pre_tokenizer = SPLIT("\"Regexp\":\"b\"", "Isolated", "true") } },
    { "regular expression: ", { .pre_tokenizer = SPLIT("\"Regex\":\"(b\"", "Isolated", "true") } },
    { "decoder 'Metaspace' is not supported", { .decoder = "{\"type\":\"Metaspace\"}" } },
    { "model.dropout is not supported", { .model = "\"dropout\":0.1," } },
    { "model.byte_fallback is not supported", { .model = "\"byte_fallback\":true," } },
    { "model.end_of_word_suffix is not", { .model = "\"end_of_word_suffix\":\"</w>\"," } },
    { "model.continuing_subword_prefix", { .model = "\"continuing_subword_prefix\":\"#\"," } },
    { "model.fuse_unk is neither", { .model = "\"fuse_unk\":1," } },
    { "model.unk_token is not a string", { .model = "\"unk_token\":1," } },
    { "model.vocab is not an object", { .vocab = "[]" } },
    { "model.vocab has 0 tokens", { .vocab = "{}" } },
    { "id 1 belongs to 'b' and 'x'", { .vocab = "{\"b\":1,\"x\":1}" } },
    { "'a' occurs twice", { .vocab = "{\"a\":1,\"a\":2}" } },
    { "'a' has no id from 0", { .vocab = "{\"a\":-1}" } },
    { "'a' has no id from 0", { .vocab = "{\"a\":2147483648}" } },
    { "'a' has no id from 0", { .vocab = "{\"a\":\"1\"}" } },
    { "model.merges is not an array", { .merges = "{}" } },
    { "merges[0] is not a pair", { .merges = "[\"a b c\"]" } },
    { "merges[0] is not a pair", { .merges = "[[\"a\"]]" } },
    { "merges[1] is not a pair", { .merges = "[[\"a\",\"b\"],\"b c\"]" } },
    { "merges[0]: 'q' is not in the vocabulary", { .merges = "[\"a q\"]" } },
    { "merges[0]: 'ca' is not in the vocabulary", { .merges = "[\"c a\"]" } },
    { "added_tokens is not an array", { .added_tokens = "{}" } },
    { "a token without content", { .added_tokens = "[" TOKEN(11, "", PLAIN) "]" } },
    { "'x' has id 12, expected 11", { .added_tokens = "[" TOKEN(12, "x", PLAIN) "]" } },
    { "'a' has id 11, expected 0", { .added_tokens = "[" TOKEN(11, "a", PLAIN) "]" } },
    { "'x' occurs twice", { .added_tokens =
      "[" TOKEN(11, "x", PLAIN) "," TOKEN(12, "x", LSTRIP) "]" } },
    { "are the same when normalized", { .added_tokens =
      "[" TOKEN(11, "e\xCC\x81", NORMAL) "," TOKEN(12, "\xC3\xA9", NORMAL) "]" } },
    { "id 1 of 'x' belongs to another", { .vocab = "{\"a\":1}", .merges = "[]",
      .added_tokens = "[" TOKEN(1, "x", PLAIN) "]" } },
    { "'lstrip' of 'x' is neither", { .added_tokens =
      "[{\"id\":11,\"content\":\"x\",\"single_word\":false}]" } },
};

static void test_encodings(void)
{
    struct buffer ids = { 0 };
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        struct error err = { 0 };
        struct tokenizer *t = open_parts(&encodings[i].parts, &err);
        if (t)
            encode_as_text(t, encodings[i].text, strlen(encodings[i].text), &ids);
        check(t && strcmp(ids.data, encodings[i].ids) == 0, encodings[i].name, "%s",
              t ? ids.data : err.message);
        tokenizer_close(t);
    }
    buffer_free(&ids);
}

static void test_refusals(void)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct error err = { 0 };
        struct tokenizer *t = open_parts(&refusals[i].parts, &err);
        check(!t && strstr(err.message, refusals[i].message)
              && strstr(err.message, "tokenizer.json: "), refusals[i].message, "%s", err.message);
        tokenizer_close(t);
    }
    struct error err = { 0 };
    struct tokenizer *t = tokenizer_open("/nonexistent", &err);
    check(!t && strstr(err.message, "/nonexistent"), "missing file", "%s", err.message);
}

static void test_decodings(void)
{
    static const struct {
        const char *name, *decoder;
        int32_t ids[4];
        size_t n;
        const char *text;
    } cases[] = {
        { "bytes join to a character", NULL, { 7, 8 }, 2, "\xC3\xA9" },
        { "half a character", NULL, { 0, 7, 1 }, 3, "a\xEF\xBF\xBD" "b" },
        { "a lone continuation byte", NULL, { 8 }, 1, "\xEF\xBF\xBD" },
        { "a token outside the alphabet is itself", NULL, { 11, 0 }, 2, "\xE4\xB8\xAD x" "a" },
        { "a token within it is not", NULL, { 12 }, 1, "\xEF\xBF\xBD" },
        { "no decoder: joined by spaces", "null", { 0, 6, 1 }, 3, "a \xC4\xA0 b" },
        { "nothing", NULL, { 0 }, 0, "" },
    };
    const char *added = "[" TOKEN(11, "\xE4\xB8\xAD x", PLAIN) ","
                        TOKEN(12, "\xC3\xA9", PLAIN) "]";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct error err = { 0 };
        struct buffer out = { 0 };
        struct tokenizer *t = open_parts(&(struct weight_schedule){ .decoder = cases[i].decoder,
                                                          .added_tokens = added }, &err);
        bool ok = t && buffer_append(&out, "", 0, &err)
               && tokenizer_decode(t, cases[i].ids, cases[i].n, &out, &err);
        check(ok && strcmp(out.data, cases[i].text) == 0, cases[i].name, "%s",
              ok ? out.data : err.message);
        buffer_free(&out);
        tokenizer_close(t);
    }
    struct error err = { 0 };
    struct buffer out = { 0 };
    struct tokenizer *t = open_parts(&default_parts, &err);
    check(t && !tokenizer_decode(t, &(int32_t){ 11 }, 1, &out, &err)
          && strstr(err.message, "no token has id 11"), "unknown id", "%s", err.message);
    check(t && tokenizer_vocab_size(t) == 11 && tokenizer_token_id(t, "abc") == 5
          && tokenizer_token_id(t, "abcd") == -1 && strlen(tokenizer_sha256(t)) == 64,
          "what a tokenizer says of itself", "%s", err.message);
    buffer_free(&out);
    tokenizer_close(t);
}

/* Texts of a million bytes on which a quadratic step would not come to an end. */
static void test_long_texts(void)
{
    static const struct {
        const char *name, *unit, *end;
    } cases[] = {
        { "one long word", "ab", "" }, { "spaces", " ", "a" }, { "newlines", "\n", "a" },
        { "spaces and newlines", " \n", "a" }, { "punctuation", "!", "" },
        { "unordered marks", "\xCD\x85\xCC\xB4", "" }, { "NUL bytes", "\0", "" },
        { "beginnings of an added token", "<<<<<<<<<<<<<<<x", "" },
        { "young code points", "\xF0\x9F\xAB\xA8", "" },
    };
    const char *qwen = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+"
        "|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*"
        "|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+";
    struct buffer split = { 0 };
    struct error err = { 0 };
    buffer_printf(&split, &err, "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\","
                  "\"pattern\":{\"Regex\":\"%s\"},\"behavior\":\"Isolated\",\"invert\":false},"
                  "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}]}",
                  qwen);
    struct tokenizer *t = open_parts(&(struct weight_schedule){ .pre_tokenizer = split.data,
        .model = "\"unk_token\":\"c\",",
        .added_tokens = "[" TOKEN(11, "<<<<<<<<<<<<<<<<", PLAIN) "]" }, &err);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t unit = cases[i].unit[0] ? strlen(cases[i].unit) : 1, n_ids = 0;
        struct buffer text = { 0 };
        int32_t *ids = NULL;
        bool ok = t != NULL;
        while (ok && text.size < 1000000)
            ok = buffer_append(&text, cases[i].unit, unit, &err);
        ok = ok && buffer_append(&text, cases[i].end, strlen(cases[i].end), &err)
          && tokenizer_encode(t, text.data, text.size, &ids, &n_ids, &err);
        check(ok && n_ids > 0, cases[i].name, "%s", err.message);
        free(ids);
        buffer_free(&text);
    }
    tokenizer_close(t);
    buffer_free(&split);
}

#define CA        "[" TOKEN(11, "ca", PLAIN) "]"
#define CA_AND_AA "[" TOKEN(11, "ca", PLAIN) "," TOKEN(12, "aa", PLAIN) "]"

/* The bytes that `plain` marks with x belong to no added token. */
static void test_plain(void)
{
    static const struct {
        const char *name, *added, *text, *plain, *ids;
    } plain[] = {
        { "a token in text of the template", CA, "cab", "   ", "11 1" },
        { "a token in plain text", CA, "cab", "xxx", "2 3" },
        { "a token that begins in plain text", CA, "caca", "x   ", "2 0 11" },
        { "a token that ends in plain text", CA, "caca", "   x", "11 2 0" },
        { "another token inside of one that is plain", CA_AND_AA, "caa", "x  ", "2 12" },
        { "tokens in normalized text", "[" TOKEN(11, "ca", NORMAL) "]", "abc", "xxx",
          "added token 'ca' is sought in normalized text" },
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct error err = { 0 };
        struct tokenizer *t =
            open_parts(&(struct weight_schedule){ .added_tokens = plain[i].added }, &err);
        struct buffer out = { 0 };
        uint8_t marks[8] = { 0 };
        int32_t *ids = NULL;
        size_t n_ids = 0;
        for (size_t k = 0; plain[i].plain[k]; k++)
            marks[k] = plain[i].plain[k] == 'x';
        if (!t || !tokenizer_encode_plain(t, plain[i].text, marks, strlen(plain[i].text), &ids,
                                          &n_ids, &err))
            buffer_printf(&out, NULL, "%s", err.message);
        for (size_t k = 0; k < n_ids; k++)
            buffer_printf(&out, NULL, "%s%d", k ? " " : "", ids[k]);
        check(out.data && strstr(out.data, plain[i].ids), plain[i].name, "'%s'",
              out.data ? out.data : "");
        free(ids);
        buffer_free(&out);
        tokenizer_close(t);
    }
}

int main(void)
{
    test_plain();
    test_encodings();
    test_refusals();
    test_decodings();
    test_long_texts();
    return check_done();
}
