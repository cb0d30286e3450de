/* Contents to ids and back, with holes between the ids, and what is refused. */
#include "tokenizer/vocabulary.h"

#include <string.h>

#include "base/json.h"
#include "tests/check.h"

static void test_lookup(void)
{
    static const struct { const char *name, *content; size_t n; int32_t id; } cases[] = {
        { "a token", "ab", 2, 7 }, { "the lowest id", "a", 1, 0 }, { "the largest", "z", 1,
          2147483647 },
        { "the empty token", "", 0, 3 }, { "UTF-8", "\xC3\xA9", 2, 5 }, { "only the n bytes count",
          "abc", 2, 7 },
        { "a beginning of a token is none", "longer", 6, -1 }, { "a token of more than 8 bytes",
          "longer than a word", 18, 4 },
        { "one more byte", "longer than a words", 19, -1 }, { "no token", "q", 1, -1 },
    };
    static const char json[] =
        "{\"ab\":7,\"z\":2147483647,\"a\":0,\"\":3,\"longer than a word\":4,\"\xC3\xA9\":5}";
    struct vocabulary v;
    struct error err = { 0 };
    cJSON *root = json_parse(json, strlen(json), "f", &err);
    bool ok = vocabulary_load(&v, root, "f", &err);
    check(ok && v.n == 6, "ids may have holes, in any order", "%s", err.message);
    for (size_t i = 0; ok && i < sizeof cases / sizeof *cases; i++) {
        int32_t id = vocabulary_find(&v, cases[i].content, cases[i].n);
        size_t n = 99;
        const char *content = vocabulary_content(&v, cases[i].id, &n);
        bool back = cases[i].id < 0
                      ? !content
                      : content && n == cases[i].n && memcmp(content, cases[i].content, n) == 0;
        check(id == cases[i].id && back, cases[i].name, "id %d, %zu bytes", (int)id, n);
    }
    static const int32_t none[] = { -1, 1, 2, 6, 8, 2147483646 };
    size_t n, found = 0;
    for (size_t i = 0; ok && i < sizeof none / sizeof *none; i++)
        found += vocabulary_content(&v, none[i], &n) != NULL;
    check(found == 0, "ids in the holes have no content", "%zu have", found);
    vocabulary_free(&v);
    cJSON_Delete(root);
}

/* Many tokens: every one is found, whatever the hash does. */
static void test_many(void)
{
    enum { N = 20000 };
    struct buffer json = { 0 };
    for (int i = 0; i < N; i++)
        buffer_printf(&json, NULL, "%s\"t%d\":%d", i ? "," : "{", i, 2 * i);
    buffer_printf(&json, NULL, "}");
    struct vocabulary v;
    cJSON *root = json_parse(json.data, json.size, "f", NULL);
    bool ok = vocabulary_load(&v, root, "f", NULL);
    size_t wrong = 0;
    for (int32_t i = 0; ok && i < N; i++) {
        char text[16];
        size_t n, length = (size_t)snprintf(text, sizeof text, "t%d", i);
        const char *content = vocabulary_content(&v, 2 * i, &n);
        wrong += vocabulary_find(&v, text, length) != 2 * i || !content || n != length
              || memcmp(content, text, n) != 0 || vocabulary_content(&v, 2 * i + 1, &n);
    }
    check(ok && wrong == 0, "20,000 tokens are found both ways", "%zu are not", wrong);
    vocabulary_free(&v);
    cJSON_Delete(root);
    buffer_free(&json);
}

static void test_refusals(void)
{
    static const struct { const char *name, *json, *message; } cases[] = {
        { "no object", "[]", "f: model.vocab is not an object" },
        { "no tokens", "{}", "f: model.vocab has 0 tokens" },
        { "an id twice", "{\"a\":1,\"c\":0,\"b\":1}", "f: vocab: id 1 belongs to '" },
        { "a token twice", "{\"a\":1,\"a\":2}", "f: vocab: 'a' occurs twice" },
        { "a negative id", "{\"a\":-1}", "f: vocab: 'a' has no id from 0 to 2147483647" },
        { "an id above 31 bits", "{\"a\":2147483648}",
          "f: vocab: 'a' has no id from 0 to 2147483647" },
        { "a fraction", "{\"a\":0.5}", "f: vocab: 'a' has no id" },
        { "a string", "{\"a\":\"0\"}", "f: vocab: 'a' has no id" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct vocabulary v;
        struct error err = { 0 };
        cJSON *root = json_parse(cases[i].json, strlen(cases[i].json), "f", &err);
        bool ok = vocabulary_load(&v, root, "f", &err);
        check(!ok && strstr(err.message, cases[i].message), cases[i].name, "'%s'", err.message);
        vocabulary_free(&v);
        cJSON_Delete(root);
    }
}

int main(void)
{
    test_lookup();
    test_many();
    test_refusals();
    return check_done();
}
