/* Which documents are taken, which numbers are whole ones, and how values are printed. */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tests/check.h"

#define TEXT(literal) literal, sizeof literal - 1

static void test_parse(void)
{
    static const struct {
        const char *name, *text;
        size_t n;
        const char *message;        /* NULL: taken */
    } cases[] = {
        { "an object", TEXT("{\"a\":[1,2.5,true,null,\"x\"]}"), NULL },
        { "a bare number", TEXT("7"), NULL },
        { "white space around it", TEXT(" \t\r\n{}\n "), NULL },
        { "the bytes may end without a NUL", "{}x", 2, NULL },
        { "nothing", TEXT(""), "f: not valid JSON (or nested too deeply) at byte 0 of 0" },
        { "only white space", TEXT("  "), "not valid JSON" },
        { "a value that is cut off", TEXT("{\"a\":"), "not valid JSON" },
        { "text after the value", TEXT("{} x"), "f: text after the JSON value at byte 3" },
        { "two values", TEXT("{}{}"), "f: text after the JSON value at byte 2" },
        { "a byte order mark before it", TEXT("\xEF\xBB\xBF{}"), NULL },
        { "two of them", TEXT("\xEF\xBB\xBF\xEF\xBB\xBF{}"), "not valid JSON" },
        { "UTF-16", TEXT("\xFF\xFE{\0}\0"), "f: is UTF-16 (byte order mark FF FE), expected" },
        { "invalid UTF-8", TEXT("{\"\xFF\":1}"), "f: invalid UTF-8 at byte 2" },
        { "a surrogate in UTF-8", TEXT("\"\xED\xA0\x80\""), "f: invalid UTF-8 at byte 1" },
        { "a NUL between tokens", TEXT("{}\0"), "f: NUL character in JSON at byte 2" },
        { "an escaped NUL", TEXT("\"a\\u0000b\""), "f: NUL character in JSON at byte 2" },
        { "an escaped backslash before u0000 is none", TEXT("\"\\\\u0000\""), NULL },
        { "two backslashes and an escaped NUL", TEXT("\"\\\\\\u0000\""),
          "f: NUL character in JSON at byte 3" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        cJSON *json = json_parse(cases[i].text, cases[i].n, "f", &err);
        check(cases[i].message ? !json && strstr(err.message, cases[i].message) : json != NULL,
              cases[i].name, "'%s'", err.message);
        cJSON_Delete(json);
    }
}

static void test_depth(void)
{
    static const struct { const char *name; size_t depth; bool taken; } cases[] = {
        { "arrays 1000 deep are taken", 1000, true },
        { "deeper ones are not, and the stack is left alone", 1001, false },
        { "a million of them neither", 1000000, false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = cases[i].depth;
        char *text = malloc(2 * n);
        struct error err = { 0 };
        memset(text, '[', n);
        memset(text + n, ']', n);
        cJSON *json = json_parse(text, 2 * n, "f", &err);
        check((json != NULL) == cases[i].taken, cases[i].name, "'%s'", err.message);
        cJSON_Delete(json);
        free(text);
    }
}

static void test_sizes(void)
{
    static const struct { const char *name, *text; bool whole; size_t value; } cases[] = {
        { "0", "0", true, 0 }, { "2^53", "9007199254740992", true, (size_t)1 << 53 },
        { "a whole number with a point", "4.0", true, 4 }, { "an exponent", "1e3", true, 1000 },
        { "above 2^53", "9007199254740994", false, 0 }, { "a fraction", "1.5", false, 0 },
        { "a negative one", "-1", false, 0 }, { "minus zero is zero", "-0", true, 0 },
        { "too large for a double", "1e999", false, 0 }, { "a string", "\"1\"", false, 0 },
        { "true", "true", false, 0 }, { "null", "null", false, 0 }, { "an array", "[1]", false, 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        size_t out = 77;
        cJSON *json = json_parse(cases[i].text, strlen(cases[i].text), "f", &err);
        bool whole = json_to_size(json, &out);
        check(whole == cases[i].whole && out == (whole ? cases[i].value : 77), cases[i].name,
              "%d, %zu", whole, out);
        cJSON_Delete(json);
    }
    size_t out;
    check(!json_to_size(NULL, &out), "a size that is not there is none", "it is one");
}

static void test_keys(void)
{
    static const struct { const char *name, *text, *message; } cases[] = {
        { "keys that differ in case are two", "{\"a\":1,\"A\":2}", NULL },
        { "a key in an object inside is another", "{\"a\":{\"a\":1},\"b\":{\"a\":1}}", NULL },
        { "an empty object", "{}", NULL },
        { "a key that occurs twice", "{\"b\":1,\"a\":2,\"b\":3}", "f: duplicate name 'b'" },
        { "written in another way", "{\"b\":1,\"\\u0062\":3}", "f: duplicate name 'b'" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        cJSON *json = json_parse(cases[i].text, strlen(cases[i].text), "f", &err);
        bool unique = json_unique_keys(json, "f", &err);
        check(cases[i].message ? !unique && strcmp(err.message, cases[i].message) == 0 : unique,
              cases[i].name, "'%s'", err.message);
        cJSON_Delete(json);
    }
    cJSON *json = json_parse(TEXT("{\"a\":null,\"A\":1}"), "f", NULL);
    check(cJSON_IsNull(json_get(json, "a")) && !json_get_value(json, "a")
              && json_get_value(json, "A") && !json_get(json, "b")
              && !json_get(json_get(json, "A"), "a") && !json_get(NULL, "a"),
          "a null is there, but has no value; what is no object has no members", "otherwise");
    cJSON_Delete(json);
}

/* One line of JSON, freed. */
static bool prints_as(char *text, const char *expected, const char *name)
{
    bool ok =
        check(text && strcmp(text, expected) == 0, name, "'%s', expected '%s'", text, expected);
    cJSON_free(text);
    return ok;
}

static void test_numbers(void)
{
    static const struct { const char *name; double value; const char *text; } cases[] = {
        { "0.1 has 17 digits", 0.1, "0.10000000000000001" }, { "a whole number stays one", 3, "3" },
        { "a third", 1.0 / 3, "0.33333333333333331" }, { "a large one", 1e300,
          "1.0000000000000001e+300" },
        { "what is not finite is null", INFINITY, "null" }, { "nor is a NaN", NAN, "null" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char expected[64];
        cJSON *json = cJSON_CreateObject();
        json_add_double(json, "x", cases[i].value);
        snprintf(expected, sizeof expected, "{\"x\":%s}", cases[i].text);
        prints_as(json_print_line(json), expected, cases[i].name);
        cJSON_Delete(json);
    }
    cJSON *json = cJSON_CreateObject();
    json_add_size(json, "most", SIZE_MAX);
    prints_as(json_print_line(json), "{\"most\":18446744073709551615}", "a size is printed whole");
    cJSON_Delete(json);
    json = json_parse(TEXT("{\"a\":[0.1,{\"b\":0.30000000000000004}],\"c\":2}"), "f", NULL);
    cJSON *copy = json_exact_copy(json);
    prints_as(json_print_line(copy),
              "{\"a\":[0.10000000000000001,{\"b\":0.30000000000000004}],\"c\":2}",
              "an exact copy has 17 digits at every depth");
    check(!json_print_line(NULL) && !json_print(NULL), "nothing has no text", "it has one");
    cJSON_Delete(copy);
    cJSON_Delete(json);
}

static void test_strings(void)
{
    static const struct { const char *name, *text; size_t n; const char *json; } cases[] = {
        { "plain text", TEXT("abc"), "\"abc\"" },
        { "nothing", TEXT(""), "\"\"" },
        { "quotes and backslashes", TEXT("\"a\\"), "\"\\\"a\\\\\"" },
        { "a line's end", TEXT("a\nb"), "\"a\\nb\"" },
        { "other control characters, NUL too", TEXT("\0\x1F\t"), "\"\\u0000\\u001f\\u0009\"" },
        { "UTF-8 as it is", TEXT("\xC3\xA9\x7F"), "\"\xC3\xA9\x7F\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct buffer b = { 0 };
        bool ok = json_append_string(&b, cases[i].text, cases[i].n, NULL);
        check(ok && strcmp(b.data, cases[i].json) == 0, cases[i].name, "%s", b.data);
        buffer_free(&b);
    }
    cJSON *json = cJSON_CreateObject();
    json_add_bytes(json, "a", "\xC3\xA9");
    json_add_bytes(json, "b", "x\xC3\xA9\xFF");
    prints_as(json_print_line(json), "{\"a\":\"\xC3\xA9\",\"b\":\"x???\"}",
              "bytes that are no UTF-8 lose all that is not ASCII");
    cJSON_Delete(json);
}

static void test_utf8(void)
{
    static const struct { const char *name, *text; size_t n, bad; } cases[] = {
        { "one byte to four", TEXT("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"), 10 },
        { "the last code point", TEXT("\xF4\x8F\xBF\xBF"), 4 },
        { "a bare continuation", TEXT("a\x80"), 1 },
        { "cut short", TEXT("ab\xE2\x82"), 2 },
        { "overlong", TEXT("\xC0\x80"), 0 },
        { "overlong in three bytes", TEXT("\xE0\x9F\xBF"), 0 },
        { "a surrogate", TEXT("a\xED\xBF\xBF"), 1 },
        { "above U+10FFFF", TEXT("\xF4\x90\x80\x80"), 0 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t bad = cases[i].n;        /* stays when all is well */
        bool valid = utf8_valid(cases[i].text, cases[i].n, &bad);
        check(valid == (cases[i].bad == cases[i].n) && bad == cases[i].bad, cases[i].name,
              "%d at %zu", valid, bad);
    }
}

int main(void)
{
    test_parse();
    test_depth();
    test_sizes();
    test_keys();
    test_numbers();
    test_strings();
    test_utf8();
    return check_done();
}
