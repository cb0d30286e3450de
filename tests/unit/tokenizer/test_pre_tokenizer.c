/* Words out of text: the five behaviours, stages one after the other, and what is refused. */
#include "tokenizer/pre_tokenizer.h"

#include <string.h>

#include "base/json.h"
#include "tests/check.h"

#define SPLIT(kind, pattern, behavior, invert) \
    "{\"type\":\"Split\",\"pattern\":{\"" kind "\":\"" pattern "\"}," \
    "\"behavior\":\"" behavior "\",\"invert\":" invert "}"
#define BYTES "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":false}"
#define SPACED "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":false}"
#define LIST(stages) "{\"type\":\"Sequence\",\"pretokenizers\":[" stages "]}"
#define ONE(behavior, invert) LIST(SPLIT("Regex", "-", behavior, invert) "," BYTES)

static const struct { const char *name, *json, *text, *words;
} cases[] = {
    { "no splitting", BYTES, "a-b c", "[a-b c]" },
    { "no text has no words", ONE("Isolated", "false"), "", "" },
    /* https://huggingface.co/docs/tokenizers/api/pre-tokenizers, "Split" */
    { "Isolated", ONE("Isolated", "false"), "a--b", "[a][-][-][b]" },
    { "Removed", ONE("Removed", "false"), "a--b", "[a][b]" },
    { "MergedWithPrevious", ONE("MergedWithPrevious", "false"), "a--b", "[a-][-][b]" },
    { "MergedWithNext", ONE("MergedWithNext", "false"), "a--b", "[a][-][-b]" },
    { "Contiguous", ONE("Contiguous", "false"), "a--b", "[a][--][b]" },
    { "Isolated, inverted, is the same", ONE("Isolated", "true"), "a--b", "[a][-][-][b]" },
    { "Removed, inverted, keeps the matches", ONE("Removed", "true"), "a--b", "[-][-]" },
    { "MergedWithPrevious, inverted", ONE("MergedWithPrevious", "true"), "-a-b", "[-a][-b]" },
    { "MergedWithNext, inverted", ONE("MergedWithNext", "true"), "a-b-", "[a-][b-]" },
    { "matches at both ends", ONE("MergedWithNext", "false"), "-a-", "[-a][-]" },
    { "nothing but matches, removed", ONE("Removed", "false"), "--", "" },
    { "no match", ONE("Removed", "false"), "ab", "[ab]" },
    { "a string is no expression", LIST(SPLIT("String", ".", "Removed", "false") "," BYTES), "a.b",
      "[a][b]" },
    { "each stage cuts the pieces of the one before",
      LIST(SPLIT("Regex", "-", "Removed", "false") "," SPLIT("Regex", "\\\\d", "Isolated",
                                                             "false") "," BYTES),
      "a1-23", "[a][1][2][3]" },
    { "a stage sees its piece alone",
      LIST(SPLIT("Regex", "-", "Removed", "false") "," SPLIT("Regex", "^.", "Isolated",
                                                             "false") "," BYTES),
      "ab-cd", "[a][b][c][d]" },
    { "a space before each piece that has none",
      LIST(SPLIT("Regex", "-", "Removed", "false") "," SPACED), "a- b-c", "[ a][ b][ c]" },
    { "ByteLevel's own expression", "{\"type\":\"ByteLevel\",\"add_prefix_space\":false}",
      "I'll go,  12x", "[I]['ll][ go][,][ ][ 12][x]" },
    { "an expression and a space",
      "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":true}", "a b", "[ a][ b]" },
    { "a code point that PCRE2 is too old for is a letter all the same",
      LIST(SPLIT("Regex", "\\\\p{L}+", "Isolated", "false") "," BYTES),
      "1\xE1\xB2\x89z", /* U+1C89 */
      "[1][\xE1\xB2\x89z]" },
};

static bool take(void *user, const char *word, size_t n, struct error *err)
{
    return buffer_printf(user, err, "[%.*s]", (int)n, word);
}

static void test_words(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct buffer words = { 0 };
        struct pre_tokenizer z;
        struct pre_tokenizer_run run = { 0 };
        cJSON *json = json_parse(cases[i].json, strlen(cases[i].json), "f", &err);
        bool ok = buffer_append(&words, "", 0, &err) && pre_tokenizer_load(&z, json, "f", &err)
               && pre_tokenizer_run_init(&run, &z, &err);
        run.word = take;
        run.user = &words;
        ok = ok && pre_tokenizer_split(&run, cases[i].text, strlen(cases[i].text), &err);
        check(ok && strcmp(words.data, cases[i].words) == 0, cases[i].name, "%s %s", words.data,
              err.message);
        pre_tokenizer_run_free(&run);
        pre_tokenizer_free(&z);
        buffer_free(&words);
        cJSON_Delete(json);
    }
}

static void test_refusals(void)
{
    static const struct { const char *name, *json, *message; } refusals[] = {
        { "none", "null", "f: a pre_tokenizer without ByteLevel is not supported" },
        { "one without ByteLevel", SPLIT("Regex", "a", "Isolated", "false"), "without ByteLevel" },
        { "something after ByteLevel", LIST(BYTES "," SPLIT("Regex", "a", "Isolated", "false")),
          "f: pre_tokenizer 'Split' after ByteLevel is not supported" },
        { "ByteLevel twice", LIST(BYTES "," BYTES), "'ByteLevel' after ByteLevel" },
        { "another kind", "{\"type\":\"Whitespace\"}",
          "f: pre_tokenizer 'Whitespace' is not supported" },
        { "a sequence in a sequence", LIST(LIST(BYTES)),
          "f: pre_tokenizer 'Sequence' is not supported" },
        { "no type", "{}", "f: pre_tokenizer has no type" },
        { "a sequence of nothing", "{\"type\":\"Sequence\"}",
          "f: pre_tokenizer.pretokenizers is not an array" },
        { "another behaviour", SPLIT("Regex", "a", "Odd", "false"),
          "f: pre_tokenizer: Split behavior 'Odd' is not" },
        { "no behaviour", "{\"type\":\"Split\"}", "f: pre_tokenizer: Split has no behavior" },
        { "an invert that is a number", SPLIT("Regex", "a", "Isolated", "0"),
          "'invert' is neither true nor false" },
        { "another kind of pattern", SPLIT("Glob", "a", "Isolated", "false"),
          "f: pre_tokenizer: Split has no pattern" },
        { "an expression that is refused", SPLIT("Regex", "\\\\h", "Isolated", "false"),
          "f: pre_tokenizer: Split: regular expression: '\\h'" },
        { "a ByteLevel without its flag", "{\"type\":\"ByteLevel\"}",
          "'add_prefix_space' is neither true nor false" },
        { "a use_regex that is null",
          "{\"type\":\"ByteLevel\",\"add_prefix_space\":true,\"use_regex\":null}",
          "'use_regex' is neither true nor false" },
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct error err = { 0 };
        struct pre_tokenizer z;
        cJSON *json = json_parse(refusals[i].json, strlen(refusals[i].json), "f", &err);
        bool ok = pre_tokenizer_load(&z, json, "f", &err);
        check(!ok && strstr(err.message, refusals[i].message), refusals[i].name, "'%s'",
              err.message);
        pre_tokenizer_free(&z);
        cJSON_Delete(json);
    }
    struct buffer many = { 0 };
    for (int i = 0; i < 65; i++)
        buffer_printf(&many, NULL, "%s" SPLIT("String", "a", "Isolated", "false"),
                      i ? "," : "{\"type\":\"Sequence\",\"pretokenizers\":[");
    buffer_printf(&many, NULL, "]}");
    struct error err = { 0 };
    struct pre_tokenizer z;
    cJSON *json = json_parse(many.data, many.size, "f", &err);
    check(!pre_tokenizer_load(&z, json, "f", &err)
          && strcmp(err.message, "f: more than 64 pre_tokenizers are not supported") == 0,
          "stages without end", "'%s'", err.message);
    pre_tokenizer_free(&z);
    cJSON_Delete(json);
    buffer_free(&many);
}

int main(void)
{
    test_words();
    test_refusals();
    return check_done();
}
