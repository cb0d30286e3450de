/* Contents that are found before everything else: which, where, and with what beside them. */
#include "tokenizer/added_tokens.h"

#include <string.h>

#include "base/json.h"
#include "tests/check.h"

#define FLAGS(word, left, right, normal) \
    "\"single_word\":" word ",\"lstrip\":" left ",\"rstrip\":" right \
    ",\"normalized\":" normal ",\"special\":false"
#define TOKEN(id, content, flags) "{\"id\":" #id ",\"content\":\"" content "\"," flags "}"
#define PLAIN  FLAGS("false", "false", "false", "false")
#define WORD   FLAGS("true", "false", "false", "false")
#define LEFT   FLAGS("false", "true", "false", "false")
#define RIGHT  FLAGS("false", "false", "true", "false")
#define BOTH   FLAGS("false", "true", "true", "false")
#define NORMAL FLAGS("false", "false", "false", "true")

/* The vocabulary has "a" 0 and "<t>" 5, so the next free id is 2. */
static const struct { const char *name, *json, *text, *pieces; } cases[] = {
    { "no tokens", "[]", "a<x>", "[a<x>]" },
    { "text around a token", "[" TOKEN(2, "<x>", PLAIN) "]", "a<x>b", "[a]2[b]" },
    { "nothing but tokens", "[" TOKEN(2, "<x>", PLAIN) "]", "<x><x>", "22" },
    { "no text", "[" TOKEN(2, "<x>", PLAIN) "]", "", "" },
    { "a token of the vocabulary", "[" TOKEN(5, "<t>", PLAIN) "]", "<t>", "5" },
    { "the longest at one place", "[" TOKEN(2, "<x", PLAIN) "," TOKEN(3, "<xy>", PLAIN) "]",
      "<xy><x", "32" },
    { "the leftmost of two places", "[" TOKEN(2, "ab", PLAIN) "," TOKEN(3, "bcd", PLAIN) "]",
      "abcd", "2[cd]" },
    { "a beginning that comes to nothing", "[" TOKEN(2, "aab", PLAIN) "]", "aaab", "[a]2" },
    { "bytes above 7F", "[" TOKEN(2, "\xE2\x9F\xA8", PLAIN) "]", "x\xE2\x9F\xA8\xE2\x9F\xA9",
      "[x]2[\xE2\x9F\xA9]" },
    { "white space to the left is swallowed", "[" TOKEN(2, "<x>", LEFT) "]", "a \n<x> b",
      "[a]2[ b]" },
    { "to the right", "[" TOKEN(2, "<x>", RIGHT) "]", "a <x>\xE3\x80\x80 b", "[a ]2[b]" },
    { "to both sides, to the ends", "[" TOKEN(2, "<x>", BOTH) "]", " <x>\t", "2" },
    { "but not twice", "[" TOKEN(2, "<x>", BOTH) "]", "<x> <x>", "22" },
    { "a word of its own", "[" TOKEN(2, "x", WORD) "]", "x ax xa x", "2[ ax xa ]2" },
    { "a mark or a digit makes it a part of one", "[" TOKEN(2, "x", WORD) "]", "x1 x\xCC\x81 x_ x-",
      "[x1 x\xCC\x81 x_ ]2[-]" },
    { "a letter of any script does", "[" TOKEN(2, "x", WORD) "]", "\xC3\xA9x", "[\xC3\xA9x]" },
};

static bool put_text(void *user, const char *text, size_t n, struct error *err)
{
    return buffer_printf(user, err, "[%.*s]", (int)n, text);
}

static bool put_token(void *user, int32_t id, struct error *err)
{
    return buffer_printf(user, err, "%d", (int)id);
}

/* What a test loads from. */
struct around {
    struct vocabulary v;
    struct normalizer z;
};

static struct around make_around(void)
{
    struct around a;
    cJSON *vocab = cJSON_Parse("{\"a\":0,\"<t>\":5}"),
          *normalizer = cJSON_Parse("{\"type\":\"NFC\"}");
    if (!vocabulary_load(&a.v, vocab, "f", NULL) || !normalizer_load(&a.z, normalizer, "f", NULL))
        check(false, "a vocabulary and a normalizer", "not loaded");
    cJSON_Delete(vocab);
    cJSON_Delete(normalizer);
    return a;
}

static void around_free(struct around *a)
{
    vocabulary_free(&a->v);
    normalizer_free(&a->z);
}

static bool load(struct added_tokens *t, const struct around *a, const char *json,
                 struct error *err)
{
    cJSON *root = json_parse(json, strlen(json), "f", err);
    bool ok = added_tokens_load(t, root, &a->v, &a->z, "f", err);
    cJSON_Delete(root);
    return ok;
}

static void test_splits(void)
{
    struct around a = make_around();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct added_tokens t;
        struct buffer out = { 0 };
        buffer_append(&out, "", 0, &err);
        struct added_tokens_sink sink = { put_text, put_token, &out, pattern_scratch_new(&err),
                                          NULL };
        bool ok = load(&t, &a, cases[i].json, &err)
               && added_tokens_split(&t, &t.raw, cases[i].text, strlen(cases[i].text), &sink, &err);
        check(ok && strcmp(out.data, cases[i].pieces) == 0, cases[i].name, "'%s' %s", out.data,
              err.message);
        pattern_scratch_free(sink.matching);
        added_tokens_free(&t);
        buffer_free(&out);
    }
    around_free(&a);
}

/* Raw and normalized tokens are searched apart; a normalized one by its normal form. */
static void test_sets(void)
{
    struct around a = make_around();
    struct error err = { 0 };
    struct added_tokens t;
    bool ok = load(&t, &a, "[" TOKEN(3, "e\xCC\x81", NORMAL) "," TOKEN(2, "raw", PLAIN) "]", &err);
    check(!ok && strstr(err.message, "'e\xCC\x81' has id 3, expected 2"),
          "ids are given in the order of the file", "'%s'", err.message);
    added_tokens_free(&t);
    ok = load(
        &t, &a,
        "[" TOKEN(2, "e\xCC\x81", NORMAL) "," TOKEN(5, "<t>", PLAIN) "," TOKEN(3, "raw", PLAIN) "]",
        &err);
    check(ok && t.raw.n == 2 && t.normalized.n == 1
              && strcmp(t.normalized.tokens[0]->searched, "\xC3\xA9") == 0,
          "a normalized token is searched in its normal form", "%zu raw, %zu normalized, '%s'",
          t.raw.n, t.normalized.n, err.message);
    const struct added_token *by_id = added_tokens_by_id(&t, 3),
                             *by_content = added_tokens_by_content(&t, "e\xCC\x81");
    check(by_id && strcmp(by_id->content, "raw") == 0 && by_content && by_content->id == 2
          && !added_tokens_by_id(&t, 4) && !added_tokens_by_content(&t, "\xC3\xA9"),
          "tokens are known by id and by what the file calls them", "otherwise");
    added_tokens_free(&t);
    check(added_tokens_load(&t, NULL, &a.v, &a.z, "f", &err) && !added_tokens_by_id(&t, 0),
          "no list is an empty one", "'%s'", err.message);
    added_tokens_free(&t);
    around_free(&a);
}

static void test_refusals(void)
{
    static const struct { const char *name, *json, *message; } refusals[] = {
        { "no array", "{}", "f: added_tokens is not an array" },
        { "no content", "[{\"id\":2}]", "f: added_tokens: a token without content" },
        { "an empty content", "[" TOKEN(2, "", PLAIN) "]",
          "f: added_tokens: a token without content" },
        { "no id", "[{\"content\":\"x\"}]", "f: added_tokens: 'x' has no id from 0 to 2147483647" },
        { "an id that is not the next", "[" TOKEN(3, "x", PLAIN) "]",
          "f: added_tokens: 'x' has id 3, expected 2" },
        { "a known token with another id", "[" TOKEN(2, "a", PLAIN) "]",
          "f: added_tokens: 'a' has id 2, expected 0" },
        { "a content twice", "[" TOKEN(2, "x", PLAIN) "," TOKEN(3, "x", LEFT) "]",
          "f: added_tokens: 'x' occurs twice" },
        { "two with one normal form", "[" TOKEN(2, "\xC3\xA9", NORMAL) "," TOKEN(3, "e\xCC\x81",
          NORMAL) "]",
          "are the same when normalized" },
        { "no flag", "[{\"id\":2,\"content\":\"x\"}]",
          "f: added_tokens: 'single_word' of 'x' is neither true nor false" },
        { "an id that another token has",
          "[" TOKEN(2, "b", PLAIN) "," TOKEN(3, "c", PLAIN) "," TOKEN(4, "d", PLAIN) ","
          TOKEN(5, "e", PLAIN) "]",
          "f: added_tokens: id 5 of 'e' belongs to another token" },
    };
    struct around a = make_around();
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct error err = { 0 };
        struct added_tokens t;
        bool ok = load(&t, &a, refusals[i].json, &err);
        check(!ok && strstr(err.message, refusals[i].message), refusals[i].name, "'%s'",
              err.message);
        added_tokens_free(&t);
    }
    around_free(&a);
}

int main(void)
{
    test_splits();
    test_sets();
    test_refusals();
    return check_done();
}
