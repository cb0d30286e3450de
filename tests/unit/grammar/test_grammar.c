/* Answers under a schema, by tables: what a request accepts, what it refuses, in which words. */
#include "base/json.h"
#include "tests/check.h"
#include "tests/unit/grammar/answer_walk.h"

#define TOKENIZER "data/demo/bf16"

/* ---- texts that an answer may be ------------------------------------------------- */

/* {"type":"json_schema","json_schema":{"schema":...}} */
static bool open_schema(struct grammar **g, const struct walk_host *h, const char *schema,
                        bool strict, struct error *err)
{
    struct buffer b = { 0 };
    bool ok = buffer_printf(&b, err, "{\"type\":\"json_schema\",\"json_schema\":{\"strict\":%s,"
                            "\"schema\":%s}}", strict ? "true" : "false", schema);
    struct grammar_request r = { .response_format = b.data };
    ok = ok && grammar_open(g, &r, h->trie, err);
    buffer_free(&b);
    return ok;
}

/* clang-format off */
static const struct {
    const char *name, *schema, *accepted[4], *refused[6];
} schemas[] = {
    { "keys come in the schema's order", "{\"type\":\"object\",\"properties\":{\"b\":{\"type\":\"null\"},\"a\":{\"type\":\"null\"}}}",
      { "{}", "{\"b\":null,\"a\":null}", "{\"a\":null}", "{\"a\":null,\"c\":1}" }, { "{\"a\":null,\"b\":null}", "{\"c\":1,\"a\":null}" } },
    { "no white space but the three kinds", "{}",
      { "[1, 2,3]", "[\n                                1\n]", "{\"a\": 1}", "[\n]" },
      { " 1", "[ 1]", "[\n                                 1]", "{\"a\" : 1}", "[1,  2]", "[1,\n\n2]" } },
    { "a number has at most 20 digits before and after its point, 3 in an exponent", "{\"type\":\"number\"}",
      { "99999999999999999999.12345678901234567890e-123", "-0", "0.5E+1", "1e5" },
      { "123456789012345678901", "0.123456789012345678901", "1e1234", "01", "1.", ".5" } },
    { "escapes have no lone surrogate", "{\"type\":\"string\"}",
      { "\"\\u00e9\\ud83d\\ude00\\n\\/\"", "\"\xF0\x9F\x98\x80\"", "\"\x7F\"", "\"\"" },
      { "\"\\ud83d\"", "\"\\ude00\"", "\"\\x\"", "\"\n\"", "\"\xC3\"", "\"\xED\xA0\x80\"" } },
    { "lengths count characters", "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}",
      { "\"ab\"", "\"\xC3\xA9\xC3\xA9\xC3\xA9\"", "\"\\u0041\\ud83d\\ude00b\"" }, { "\"a\"", "\"abcd\"" } },
    { "bounds of whole numbers", "{\"type\":\"integer\",\"exclusiveMinimum\":-11,\"maximum\":123}",
      { "-10", "0", "123", "99" }, { "-11", "124", "1000", "-100", "1.5", "00" } },
    { "a range of one length", "{\"type\":\"integer\",\"minimum\":1234,\"maximum\":4567}",
      { "1234", "4567", "1999", "4560" }, { "1233", "4568", "999", "10000", "-2000" } },
    { "no upper bound ends at 20 digits", "{\"type\":\"integer\",\"minimum\":7}",
      { "7", "10", "99999999999999999999", "8.0" }, { "6", "100000000000000000000", "-7", "7.5" } },
    { "pattern is sought, and holds with the lengths", "{\"type\":\"string\",\"pattern\":\"b+c\",\"maxLength\":4}",
      { "\"bc\"", "\"abbc\"", "\"bcbc\"" }, { "\"b\"", "\"aabbc\"", "\"cb\"" } },
    { "runs that become counts", "{\"type\":\"string\",\"pattern\":\"^[ab]{20}c{0,30}$\",\"maxLength\":45}",
      { "\"abababababababababab\"", "\"aaaaaaaaaaaaaaaaaaaaccccccccccccccccccccccccc\"", "\"aaaaaaaaaabbbbbbbbbbc\"" },
      { "\"ababababababababab\"", "\"aaaaaaaaaaaaaaaaaaaacccccccccccccccccccccccccc\"", "\"abababababababababaa \"", "\"aaaaaaaaaaaaaaaaaaaaa\"" } },
    { "two patterns hold at once", "{\"type\":\"string\",\"allOf\":[{\"pattern\":\"^[ab]*$\"},{\"pattern\":\"aa\"}]}",
      { "\"aa\"", "\"baab\"" }, { "\"ab\"", "\"aac\"" } },
    { "anchors inside of alternatives", "{\"type\":\"string\",\"pattern\":\"^a|b$\"}",
      { "\"ac\"", "\"cb\"", "\"a\"" }, { "\"ca\"", "\"bc\"", "\"\"" } },
    { "const is written as json.dumps does", "{\"const\":{\"b\":[1,\"\\u00e9\\n\"],\"a\":1e-7}}",
      { "{\"b\":[1,\"\xC3\xA9\\n\"],\"a\":1e-07}", "{\"b\": [\n 1,\"\xC3\xA9\\n\"], \"a\": 1e-07\n}" },
      { "{\"b\":[1],\"a\":1e-07}", "{\"b\":[1,\"\\u00e9\\n\"],\"a\":1e-07}" } },
    { "enum holds with the other words", "{\"enum\":[\"a\",\"abc\",1,5,null],\"type\":[\"string\",\"integer\"],\"maxLength\":2,\"minimum\":2}",
      { "\"a\"", "5" }, { "\"abc\"", "1", "null" } },
    { "tuples, and what follows them", "{\"type\":\"array\",\"prefixItems\":[{\"type\":\"null\"},{\"const\":1}],\"items\":{\"const\":2},\"minItems\":1,\"maxItems\":3}",
      { "[null]", "[null,1]", "[null,1,2]" }, { "[]", "[1]", "[null,2]", "[null,1,2,2]" } },
    { "allOf of objects", "{\"allOf\":[{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"integer\"}}},{\"properties\":{\"a\":{\"maximum\":3,\"type\":\"integer\"}},\"required\":[\"a\"],\"additionalProperties\":{\"type\":\"null\"}}]}",
      { "{\"a\":3}", "{\"a\":0,\"b\":null}" }, { "{\"a\":4}", "{}", "{\"a\":1,\"b\":2}" } },
    { "a choice beside other words", "{\"type\":\"object\",\"properties\":{\"a\":{\"const\":1},\"b\":{\"const\":2}},\"additionalProperties\":false,\"anyOf\":[{\"required\":[\"a\"]},{\"required\":[\"b\"]}]}",
      { "{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}" }, { "{}", "{\"c\":1}" } },
    { "recursion", "{\"$ref\":\"#/$defs/n~1o%25\",\"$defs\":{\"n/o%\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/$defs/n~1o%25\"}}}}",
      { "[]", "[[],[[[]]]]" }, { "[1]", "[[]" } },
    { "nullable", "{\"type\":\"object\",\"properties\":{\"a\":{\"nullable\":true,\"allOf\":[{\"$ref\":\"#/$defs/s\"}]}},\"$defs\":{\"s\":{\"type\":\"string\"}}}",
      { "{\"a\":null}", "{\"a\":\"x\"}" }, { "{\"a\":1}", "null" } },
    { "another name is none of the declared ones, however written", "{\"type\":\"object\",\"properties\":{\"ab\":{\"const\":1},\"a\":{\"const\":1}}}",
      { "{\"abc\":2}", "{\"b\":2}", "{\"\":2}", "{\"ab\":1,\"ac\":2}" }, { "{\"ab\":2}", "{\"a\":2}", "{\"\\u0061\":2}", "{\"c\":1,\"a\":1}" } },
    { "false forbids, also a member", "{\"type\":\"object\",\"properties\":{\"a\":false,\"b\":true}}",
      { "{}", "{\"b\":[]}" }, { "{\"a\":1}" } },
    { "a date that does not exist", "{\"type\":\"string\",\"format\":\"date\"}",
      { "\"2024-02-29\"", "\"2000-02-29\"", "\"1999-12-31\"" }, { "\"2023-02-29\"", "\"1900-02-29\"", "\"2024-04-31\"", "\"0000-01-01\"", "\"24-01-01\"" } },
};
/* clang-format on */

static void test_schemas(const struct walk_host *h)
{
    for (size_t i = 0; i < sizeof schemas / sizeof *schemas; i++) {
        struct error err = { 0 };
        struct grammar *g = NULL;
        const char *wrong = NULL;
        bool ok = open_schema(&g, h, schemas[i].schema, false, &err);
        for (size_t k = 0; ok && k < 4 && schemas[i].accepted[k]; k++)
            if (!walk_accepts(h, g, schemas[i].accepted[k], strlen(schemas[i].accepted[k])))
                wrong = schemas[i].accepted[k];
        for (size_t k = 0; ok && k < 6 && schemas[i].refused[k]; k++)
            if (walk_accepts(h, g, schemas[i].refused[k], strlen(schemas[i].refused[k])))
                wrong = schemas[i].refused[k];
        check(ok && !wrong, schemas[i].name, "%s", wrong ? wrong : err.message);
        grammar_close(g);
    }
}

/* ---- regular expressions of whole answers ---------------------------------------- */

/* clang-format off */
static const struct {
    const char *regex, *accepted[4], *refused[4];
} regexes[] = {
    { "a|bc|",                        { "a", "bc", "" },             { "b", "abc" } },
    { "(?:ab){2,3}",                  { "abab", "ababab" },          { "ab", "abababab", "aba" } },
    { "a{0}b{,2}c{1,}",               { "b{,2}c", "b{,2}ccc" },      { "abc", "bbc" } },
    { "[^a-c\\d]+",                   { "xyz", "\xC3\xA9" },         { "a", "x1", "" } },
    { "[\\w.-]+@[[:alpha:]]+",        { "a.b-c_1@xyz" },             { "a@1", "@x" } },
    { "(?i)stra\xC3\x9F" "e\\x21",    { "STRA\xC3\x9F" "E!", "stra\xC3\x9F" "e!" }, { "strasse!" } },
    { "(?i:a)b",                      { "Ab", "ab" },                { "AB" } },
    { "\\p{Lu}\\P{L}\\pN",            { "\xC3\x89-7", "A!\xE2\x85\xA8" }, { "a-7", "Aa7" } },
    { "(?x) a \\  b c # note",      { "a bc" },                    { "abc" } },
    { "\\Qa.b\\E.",                   { "a.bX" },                    { "axbX" } },
    { "(?s).(?-s).",                  { "\nx", "xx" },               { "\n\n", "x\n" } },
    { "(?<year>\\d{4})-(?'m'\\d\\d)", { "2026-11" },                 { "2026-1" } },
    { "(a*)*b",                       { "aaab", "b" },               { "a", "ba" } },
    { "^a$",                          { "a" },                       { "aa" } },
    { "a^b|c",                        { "c" },                       { "ab" } },
    { "\\u00e9\\x{1F600}\\t",         { "\xC3\xA9\xF0\x9F\x98\x80\t" }, { "e" } },
    { "[]a]+[\\]b-]",                 { "]a]", "aab", "a-" },        { "a", "b" } },
    { "(?#note)a(|b)c",               { "ac", "abc" },               { "a" } },
};
/* clang-format on */

static void test_regexes(const struct walk_host *h)
{
    for (size_t i = 0; i < sizeof regexes / sizeof *regexes; i++) {
        struct error err = { 0 };
        struct buffer b = { 0 };
        struct grammar *g = NULL;
        const char *regex = regexes[i].regex, *wrong = NULL;
        bool ok = buffer_printf(&b, &err, "{\"regex\":")
               && json_append_string(&b, regex, strlen(regex), &err)
               && buffer_printf(&b, &err, "}");
        struct grammar_request r = { .structured_outputs = b.data };
        ok = ok && grammar_open(&g, &r, h->trie, &err);
        for (size_t k = 0; ok && k < 4; k++) {
            const char *yes = regexes[i].accepted[k], *no = regexes[i].refused[k];
            if (yes && !walk_accepts(h, g, yes, strlen(yes)))
                wrong = yes;
            if (no && walk_accepts(h, g, no, strlen(no)))
                wrong = no;
        }
        check(ok && !wrong, regex, "%s", wrong ? wrong : err.message);
        grammar_close(g);
        buffer_free(&b);
    }
}

/* ---- calls ----------------------------------------------------------------------- */

/* clang-format off */
#define TOOLS "[{\"type\":\"function\",\"function\":{\"name\":\"get\",\"strict\":true,\"parameters\":{" \
    "\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"maxLength\":9},\"days\":{\"type\":" \
    "\"integer\"},\"unit\":{\"enum\":[\"C\",\"F\"]}},\"required\":[\"city\"]}}}," \
    "{\"type\":\"function\",\"function\":{\"name\":\"getter\"}}]"
#define CALL(name, parameters) "<tool_call>\n<function=" name ">\n" parameters "</function>\n</tool_call>"
#define PARAMETER(key, value) "<parameter=" key ">\n" value "\n</parameter>\n"

static const struct {
    const char *name, *tool_choice, *format;
    bool thinking;
    const char *accepted[4], *refused[5];
} calls[] = {
    { "text is free, calls of a strict function are not", "\"auto\"", NULL, false,
      { "Hi <b>", "x\n" CALL("get", PARAMETER("city", "P\n\"a<")) "\nand" CALL("get", PARAMETER("city", "") PARAMETER("unit", "C")), CALL("getter", "anything"), "<tool_call> <function=ge" },
      { CALL("get", ""), CALL("get", PARAMETER("town", "P")), CALL("get", PARAMETER("city", "0123456789")), CALL("get", PARAMETER("days", "3") PARAMETER("city", "P")), CALL("get", PARAMETER("city", "P") PARAMETER("unit", "K")) } },
    { "also when the call begins in thinking", "\"auto\"", NULL, true,
      { "hm" CALL("get", PARAMETER("city", "P")), "hm</think>\n\nHi" }, { CALL("get", "") } },
    { "required: a call of any", "\"required\"", NULL, false,
      { CALL("get", PARAMETER("city", "P") PARAMETER("days", "3")), CALL("getter", "x"), CALL("get", PARAMETER("city", "P")) " then " CALL("getter", "") },
      { "Hi", CALL("put", ""), CALL("get", ""), "<tool_call><function=getter>\n", CALL("get", PARAMETER("city", "P") PARAMETER("days", "three")) } },
    { "named: a call of that one", "{\"type\":\"function\",\"function\":{\"name\":\"getter\"}}", NULL, false,
      { CALL("getter", "x"), "<tool_call>\n<function=getter>\n" }, { CALL("get", PARAMETER("city", "P")), "Hi", "" } },
    { "named, behind thinking", "{\"type\":\"function\",\"function\":{\"name\":\"getter\"}}", NULL, true,
      { "hm\n</think>\n\n" CALL("getter", ""), "hm</think>" CALL("getter", ""), "only thought" }, { "hm</think>\n\n\n" CALL("getter", ""), "hm</think>\n\nHi" } },
    { "a value or a call", "\"auto\"", "{\"type\":\"json_object\"}", false,
      { "{}", CALL("getter", "x") }, { "Hi", "[]" } },
    { "only a value", "\"none\"", "{\"type\":\"json_object\"}", true,
      { "hm</think>\n\n{}", "hm</think>{}", "hm" }, { "hm</think>\n\n\n{}", "hm</think>" CALL("getter", "x"), "hm</think>\n" } },
};
/* clang-format on */

static void test_calls(const struct walk_host *h)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        struct error err = { 0 };
        struct grammar *g = NULL;
        const char *wrong = NULL;
        struct grammar_request r = { .tools = TOOLS, .tool_choice = calls[i].tool_choice,
                                     .response_format = calls[i].format,
                                     .starts_in_thinking = calls[i].thinking };
        bool ok = grammar_open(&g, &r, h->trie, &err) && g;
        for (size_t k = 0; ok && k < 5; k++) {
            const char *yes = k < 4 ? calls[i].accepted[k] : NULL, *no = calls[i].refused[k];
            if (yes && !walk_accepts(h, g, yes, strlen(yes)))
                wrong = yes;
            if (no && walk_accepts(h, g, no, strlen(no)))
                wrong = no;
        }
        check(ok && !wrong, calls[i].name, "%s", wrong ? wrong : err.message);
        grammar_close(g);
    }
}

/* ---- refusals -------------------------------------------------------------------- */

/* clang-format off */
static const struct {
    const char *name;
    struct grammar_request request;
    const char *message;            /* its beginning; NULL: not refused, and free */
} refusals[] = {
#define SCHEMA(text) { .response_format = "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":" text "}}" }
#define AT "response_format.json_schema.schema: "
    { "nothing is asked for", { .response_format = "{\"type\":\"text\"}", .tools = "[{\"function\":{\"name\":\"f\"}}]" }, NULL },
    { "null is absent", { .response_format = "null", .structured_outputs = "null" }, NULL },
    { "a word that is not supported, by its path", SCHEMA("{\"properties\":{\"a\":{\"items\":{\"multipleOf\":2}}}}"), AT "/properties/a/items/multipleOf: not supported" },
    { "not", SCHEMA("{\"anyOf\":[{},{\"not\":{}}]}"), AT "/anyOf/1/not: not supported" },
    { "a word that changes nothing", SCHEMA("{\"uniqueItems\":true}"), AT "/uniqueItems: not supported" },
    { "an unknown format", SCHEMA("{\"format\":\"uri\"}"), AT "/format: expected date, time, date-time, uuid or email, not \"uri\"" },
    { "no instance: enum", SCHEMA("{\"enum\":[]}"), "response_format: no value has this form" },
    { "no instance: required but false", SCHEMA("{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":false}}"), "response_format: no value has this form" },
    { "no instance: endless", SCHEMA("{\"type\":\"object\",\"required\":[\"a\"],\"properties\":{\"a\":{\"$ref\":\"#\"}}}"), "response_format: no value has this form" },
    { "no instance: bounds", SCHEMA("{\"type\":\"integer\",\"minimum\":3,\"maximum\":2}"), "response_format: no value has this form" },
    { "no instance, in thinking", { .response_format = "{\"type\":\"json_schema\",\"json_schema\":{\"schema\":false}}", .starts_in_thinking = true }, "response_format: no value has this form" },
    { "a $ref that leads to itself", SCHEMA("{\"$defs\":{\"a\":{\"$ref\":\"#/$defs/b\"},\"b\":{\"allOf\":[{\"$ref\":\"#/$defs/a\"}]}},\"$ref\":\"#/$defs/a\"}"), AT "/$defs/a: it leads to itself without a value between" },
    { "a $ref to another document", SCHEMA("{\"$ref\":\"http://x/y\"}"), AT "/$ref: only places of this schema are supported: #/..." },
    { "a $ref to nowhere", SCHEMA("{\"$ref\":\"#/$defs/q\"}"), AT "/$ref: #/$defs/q: the schema has no such place" },
    { "no schema", SCHEMA("{\"items\":3}"), AT "/items: expected a schema: an object, true or false" },
    { "a type that there is not", SCHEMA("{\"type\":\"int\"}"), AT "/type: expected null, boolean, integer, number, string, object, array, or a list of these" },
    { "a count below zero", SCHEMA("{\"maxItems\":-1}"), AT "/maxItems: expected a whole number from 0 to 2147483647" },
    { "bounds of other numbers", SCHEMA("{\"type\":\"number\",\"minimum\":1}"), AT "/: minimum and maximum are supported with type integer alone" },
    { "a number that is not exact", SCHEMA("{\"const\":9007199254740993}"), AT "/: the number 9007199254740992: whole numbers from 2^53 on are not exact" },
    { "a key that occurs twice", SCHEMA("{\"type\":\"null\",\"type\":\"null\"}"), AT "/: a key occurs twice" },
    { "look-around", SCHEMA("{\"type\":\"string\",\"pattern\":\"a(?=b)\"}"), AT "/pattern: regular expression, byte 3: look-around is not supported" },
    { "back references", SCHEMA("{\"type\":\"string\",\"pattern\":\"(a)\\\\1\"}"), AT "/pattern: regular expression, byte 4: back references are not supported" },
    { "a group without its end", SCHEMA("{\"type\":\"string\",\"pattern\":\"(a\"}"), AT "/pattern: regular expression, byte 2: a group without its )" },
    { "many copies", SCHEMA("{\"type\":\"string\",\"pattern\":\"a{1000}{1000}\"}"), AT "/pattern: regular expression: it needs more than 65536 steps" },
    { "many states", SCHEMA("{\"type\":\"string\",\"pattern\":\"(a|b)*a(a|b){40}$\"}"), AT "/pattern: regular expression: its automaton is too large" },
    { "JSON that is broken", { .response_format = "{" }, "response_format: " },
    { "an unknown kind", { .response_format = "{\"type\":\"xml\"}" }, "response_format.type: expected text, json_object or json_schema" },
    { "a schema that is missing", { .response_format = "{\"type\":\"json_schema\"}" }, "response_format.json_schema.schema: expected a JSON schema" },
    { "grammar", { .structured_outputs = "{\"grammar\":\"root ::= x\"}" }, "structured_outputs.grammar: not supported" },
    { "two kinds at once", { .structured_outputs = "{\"regex\":\"a\",\"choice\":[\"b\"]}" }, "structured_outputs: expected one of json, regex, choice and json_object" },
    { "no choice", { .structured_outputs = "{\"choice\":[]}" }, "structured_outputs.choice: expected a list of strings" },
    { "a regex without a match", { .structured_outputs = "{\"regex\":\"a^\"}" }, "structured_outputs: no value has this form" },
    { "both fields", { .response_format = "{\"type\":\"json_object\"}", .structured_outputs = "{\"json_object\":true}" }, "structured_outputs: response_format is there, too" },
    { "a choice without tools", { .tool_choice = "\"required\"" }, "tool_choice: there are no tools to choose from" },
    { "a function that is not there", { .tools = TOOLS, .tool_choice = "{\"type\":\"function\",\"function\":{\"name\":\"x\"}}" }, "tool_choice: there is no function 'x' among the tools" },
    { "a name that the form cannot hold", { .tools = "[{\"function\":{\"name\":\"a>b\"}}]" }, "tools[0].function.name: expected 1 to 64 letters" },
    { "no tools", { .tools = "[]" }, "tools: expected a list of 1 to 1024 functions" },
    { "other parameters of a strict function", { .tools = "[{\"function\":{\"name\":\"f\",\"strict\":true,\"parameters\":{\"type\":\"object\",\"additionalProperties\":true}}}]" }, "tools[0].function.parameters: /additionalProperties: a strict function takes no others" },
    { "a strict function that cannot be called", { .tools = "[{\"function\":{\"name\":\"f\",\"strict\":true,\"parameters\":{\"type\":\"object\",\"properties\":{\"a\":{\"enum\":[]}},\"required\":[\"a\"]}}}]" }, "tools[0].function.parameters: no call has this form" },
};
/* clang-format on */

static void test_refusals(const struct walk_host *h)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct error err = { 0 };
        struct grammar *g = NULL;
        const char *message = refusals[i].message;
        bool opened = grammar_open(&g, &refusals[i].request, h->trie, &err);
        check(message ? !opened && strncmp(err.message, message, strlen(message)) == 0
                      : opened && !g, refusals[i].name, "%s", opened ? "accepted" : err.message);
        grammar_close(g);
    }
}

/* ---- a strict schema closes its objects ------------------------------------------ */

static void test_strict(const struct walk_host *h)
{
    struct error err = { 0 };
    struct grammar *g = NULL;
    static const char other[] = "{\"a\":{\"x\":1},\"b\":1}", own[] = "{\"a\":{\"x\":1}}";
    bool ok = open_schema(&g, h, "{\"type\":\"object\",\"properties\":{\"a\":{}}}", true, &err);
    check(ok && walk_accepts(h, g, own, sizeof own - 1)
          && !walk_accepts(h, g, other, sizeof other - 1),
          "a strict schema closes its objects, not {}", "%s", err.message);
    grammar_close(g);
}

int main(void)
{
    struct error err = { 0 };
    struct walk_host h;
    if (check(walk_host_open(&h, TOKENIZER, &err), "the demo's tokenizer opens", "%s",
              err.message)) {
        test_schemas(&h);
        test_regexes(&h);
        test_calls(&h);
        test_refusals(&h);
        test_strict(&h);
    }
    walk_host_close(&h);
    return check_done();
}
