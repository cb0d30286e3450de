/* Reasoning, content and calls out of answers: the cases of SERVE 3.7 by their numbers, more edges,
 * and that neither pieces nor the kind of tags change a result. */
#include <stdlib.h>
#include <string.h>

#include "chat/answer.h"
#include "chat/coercion.h"
#include "chat/value_json.h"
#include "tests/check.h"

#define TOOLS \
    "[{\"function\": {\"name\": \"get_weather\", \"parameters\": {\"properties\": " \
    "{\"city\": {\"type\": \"string\"}, \"days\": {\"type\": \"integer\"}}}}}," \
    "{\"function\": {\"name\": \"write_file\", \"parameters\": {\"properties\": " \
    "{\"path\": {\"type\": \"string\"}, \"text\": {\"type\": \"string\"}, " \
    "\"mode\": {\"type\": \"integer\"}}}}}," \
    "{\"function\": {\"name\": \"now\"}}," \
    "{\"function\": {\"name\": \"f\", \"parameters\": {\"properties\": " \
    "{\"o\": {\"type\": \"array\"}, " \
    "\"u\": {\"anyOf\": [{\"type\": \"object\"}, {\"type\": \"null\"}]}}}}}]"

#define P(key, value) "<parameter=" key ">\n" value "\n</parameter>\n"
#define C(name, parameters) \
    "<tool_call>\n<function=" name ">\n" parameters "</function>\n</tool_call>"
#define NOW C("now", "")

enum { THINKS = 1, LENGTH = 2, NO_TOOLS = 4, DROPPED = 8, NO_REASONING = 16, NO_TAGS = 32 };

/* clang-format off */
/* The result as "r[..] c[..] name{..} finish"; what is null is left out. */
static const struct {
    const char *name;
    int flags;
    const char *text, *expected;
} cases[] = {
    { "1 thinking, then an answer", THINKS, "why\n</think>\n\nAnswer.", "r[why] c[Answer.] stop" },
    { "2 thinking alone", THINKS, "why", "r[why] stop" },
    { "2 thinking alone, at length", THINKS | LENGTH, "why", "r[why] length" },
    { "3 the model repeats <think>", THINKS, "<think>\nwhy\n</think>\n\nA", "r[why] c[A] stop" },
    { "4 no thinking", THINKS, "</think>\n\nA", "c[A] stop" },
    { "5 a second </think>", THINKS, "a</think>b</think>c", "r[a] c[bc] stop" },
    { "6 <think> in content", THINKS, "a</think>b<think>c</think>d",
      "r[a] c[b<think>c</think>d] stop" },
    { "7 no line ends at the seam", THINKS, "Step 1.\n\nStep 2.</think>Answer",
      "r[Step 1.\n\nStep 2.] c[Answer] stop" },
    { "8 an empty pair", THINKS, "<think></think>", "stop" },
    { "8 an empty pair with line ends", THINKS, "<think>\n\n</think>\n\nA", "c[A] stop" },
    { "9 thinking off", 0, "Hello", "c[Hello] stop" },
    { "9 thinking off, </think>", 0, "Hi</think>", "c[Hi] stop" },
    { "10 <tool_call> in thinking", THINKS, "use <tool_call> now</think>Hi",
      "r[use <tool_call> now] c[Hi] stop" },
    { "11 a call in thinking", THINKS, "Let me see.\n" NOW, "r[Let me see.] now{} tool_calls" },
    { "12 a call at the seam", THINKS, "Let me see.\n</think>\n\n" NOW,
      "r[Let me see.] now{} tool_calls" },
    { "12 without line ends", THINKS, "Let me see.</think>" NOW,
      "r[Let me see.] now{} tool_calls" },
    { "13 an undeclared call in thinking", THINKS,
      "x " C("get_wether", P("city", "a")) "\n</think>\n\nHi",
      "r[x " C("get_wether", P("city", "a")) "] c[Hi] stop" },
    { "17 text", 0, "Just text.", "c[Just text.] stop" },
    { "18 a call", 0, C("get_weather", P("city", "Paris") P("days", "3")),
      "get_weather{\"city\": \"Paris\", \"days\": 3} tool_calls" },
    { "19 text, then a call", 0, "Sure.\n\n" C("get_weather", P("city", "Paris")),
      "c[Sure.] get_weather{\"city\": \"Paris\"} tool_calls" },
    { "20 two calls with a line end", 0, NOW "\n" NOW, "now{} now{} tool_calls" },
    { "20 two calls", 0, NOW NOW, "now{} now{} tool_calls" },
    { "21 text between calls", 0, NOW "\nThen\n" NOW, "c[Then] now{} now{} tool_calls" },
    { "21 text on all sides", 0, "a\n" NOW "\nb\n" NOW "\nc", "c[a\nb\nc] now{} now{} tool_calls" },
    { "22 line ends behind a call", 0, NOW "\n\n", "now{} tool_calls" },
    { "23 a line end in a value", 0, C("get_weather", P("city", "find .\n  -name x")),
      "get_weather{\"city\": \"find .\\n  -name x\"} tool_calls" },
    { "24 a value on one line", 0,
      "<tool_call><function=get_weather><parameter=city>Tokyo</parameter></function></tool_call>",
      "get_weather{\"city\": \"Tokyo\"} tool_calls" },
    { "25 one line end on each side is framing", 0, C("get_weather", P("city", "\n  x\n\n")),
      "get_weather{\"city\": \"\\n  x\\n\\n\"} tool_calls" },
    { "26 backslash and quotes", 0, C("get_weather", P("city", "C:\\new \"q\"")),
      "get_weather{\"city\": \"C:\\\\new \\\"q\\\"\"} tool_calls" },
    { "27 no escapes for Unicode", 0, C("get_weather", P("city", "\xE6\x9D\xB1 \xF0\x9F\x8F\xAF")),
      "get_weather{\"city\": \"\xE6\x9D\xB1 \xF0\x9F\x8F\xAF\"} tool_calls" },
    { "28 HTML", 0, C("get_weather", P("city", "<div class='t'><b>x</b></div>")),
      "get_weather{\"city\": \"<div class='t'><b>x</b></div>\"} tool_calls" },
    { "29 entities", 0, C("get_weather", P("city", "&lt;/parameter&gt;")),
      "get_weather{\"city\": \"&lt;/parameter&gt;\"} tool_calls" },
    { "30 </parameter> in a value", 0, C("write_file", P("text", "a </parameter> b")),
      "write_file{\"text\": \"a </parameter> b\"} tool_calls" },
    { "31 <tool_call> in a value", 0, C("write_file", P("text", "Document <tool_call> usage")),
      "write_file{\"text\": \"Document <tool_call> usage\"} tool_calls" },
    { "32 beginnings of tags in a value", 0,
      C("write_file",
        P("text",
          "if a < b: # </p> </param <parameter\n\nif a < b: # </p> </param <parameter\n\n")),
      "write_file{\"text\": \"if a < b: # </p> </param <parameter\\n\\nif a < b: # </p> </param "
      "<parameter\\n\\n\"} tool_calls" },
    { "33 a parameter inside of a line", 0, C("write_file", P("text", "say <parameter=mode>5 now")),
      "write_file{\"text\": \"say <parameter=mode>5 now\"} tool_calls" },
    { "34 a function inside of a line", 0, C("write_file", P("text", "call <function=now> here")),
      "write_file{\"text\": \"call <function=now> here\"} tool_calls" },
    { "35 a missing </parameter>", 0,
      C("write_file", "<parameter=path>\n/a\n<parameter=text>\nb\n</parameter>\n"),
      "write_file{\"path\": \"/a\", \"text\": \"b\"} tool_calls" },
    { "36 </function> ends a value", 0, C("write_file", "<parameter=path>\n/a\n"),
      "write_file{\"path\": \"/a\"} tool_calls" },
    { "37 </tool_call> ends a value at the end", 0,
      "<tool_call>\n<function=write_file>\n<parameter=path>\n/a\n</tool_call>",
      "write_file{\"path\": \"/a\"} tool_calls" },
    { "38 a missing </tool_call>", 0,
      "<tool_call>\n<function=write_file>\n" P("path", "a") "</function>\n" NOW,
      "write_file{\"path\": \"a\"} now{} tool_calls" },
    { "39 a call without wrapper", 0, "<function=get_weather>\n" P("city", "P") "</function>",
      "get_weather{\"city\": \"P\"} tool_calls" },
    { "40 the same, undeclared", 0, "<function=foo>\n" P("city", "P") "</function>",
      "c[<function=foo>\n" P("city", "P") "</function>] stop" },
    { "41 a function tag in a line", 0, "The tag <function=now> starts it",
      "c[The tag <function=now> starts it] stop" },
    { "42 <tool_call> in content", 0, "Write <tool_call> to call tools.",
      "c[Write <tool_call> to call tools.] stop" },
    { "43 another tag in a call", 0, "<tool_call>\n<bad>\n</tool_call>",
      "c[<tool_call>\n<bad>\n</tool_call>] stop" },
    { "43 nothing in a call", 0, "<tool_call></tool_call>", "c[<tool_call></tool_call>] stop" },
    { "44 a call in JSON", 0, "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
      "c[<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>] stop" },
    { "45 a declared name without >", 0,
      "<tool_call>\n<function=get_weather\n" P("city", "X") "</function>\n</tool_call>",
      "get_weather{\"city\": \"X\"} tool_calls" },
    { "46 an undeclared name without >", 0,
      "<tool_call>\n<function=bad_func\n</function>\n</tool_call>\n" C("get_weather",
                                                                       P("city", "D")),
      "c[<tool_call>\n<function=bad_func\n</function>\n</tool_call>] get_weather{\"city\": \"D\"} tool_calls" },
    { "47 an example, then a call", 0,
      "Use <tool_call>\n<function=function_name>\nWait, the real one:\n" C("get_weather",
                                                                           P("city", "T")),
      "c[Use <tool_call>\n<function=function_name>\nWait, the real one:] get_weather{\"city\": \"T\"} tool_calls" },
    { "48 an undeclared function", 0, C("nope", P("q", "1")), "nope{\"q\": \"1\"} tool_calls" },
    { "48 an undeclared parameter", 0, C("get_weather", P("zip", "10115")),
      "get_weather{\"zip\": \"10115\"} tool_calls" },
    { "49 names are trimmed", 0, C(" get_weather ", P(" city ", "a")),
      "get_weather{\"city\": \"a\"} tool_calls" },
    { "49 names in quotes", 0, C("\"get_weather\"", P("'city'", "a")),
      "get_weather{\"city\": \"a\"} tool_calls" },
    { "50 a repeated parameter", 0, C("write_file", P("path", "a") P("path", "b")),
      "write_file{\"path\": \"a\"} tool_calls" },
    { "51 cut in a value", LENGTH, "<tool_call>\n<function=write_file>\n<parameter=path>\n/x/a",
      "write_file{\"path\": \"/x/a length" },
    { "51 cut behind a line end", LENGTH,
      "<tool_call>\n<function=write_file>\n<parameter=path>\n/x/a\n",
      "write_file{\"path\": \"/x/a length" },
    { "51 cut in </parameter", LENGTH,
      "<tool_call>\n<function=write_file>\n<parameter=path>\n/x/a\n</param",
      "write_file{\"path\": \"/x/a length" },
    { "51 cut behind <", LENGTH, "<tool_call>\n<function=write_file>\n<parameter=path>\na <",
      "write_file{\"path\": \"a < length" },
    { "51 the model stops in a value", 0,
      "<tool_call>\n<function=write_file>\n<parameter=path>\n/x/a",
      "write_file{\"path\": \"/x/a stop" },
    { "52 cut behind a value", LENGTH,
      "<tool_call>\n<function=write_file>\n<parameter=path>\n/x/a\n</parameter>",
      "write_file{\"path\": \"/x/a\" length" },
    { "52 a stop behind a value", 0,
      "<tool_call>\n<function=write_file>\n<parameter=path>\n/x/a\n</parameter>",
      "write_file{\"path\": \"/x/a\"} tool_calls" },
    { "52 a cut tag counts in the second place", LENGTH,
      "<tool_call>\n<function=write_file>\n<parameter=path>\n/x/a\n</parameter>\n</func",
      "write_file{\"path\": \"/x/a\" length" },
    { "53 cut in another value", LENGTH,
      "<tool_call>\n<function=write_file>\n" P("path", "a") "<parameter=mode>\n4",
      "write_file{\"path\": \"a\" length" },
    { "54 a stop in an opener", 0, "Hi\n<tool_call>\n<function=get_wea",
      "c[Hi\n<tool_call>\n<function=get_wea] stop" },
    { "55 cut in an opener", LENGTH, "<tool_call>\n<function=write_file>\n", "length" },
    { "55 cut in an opener behind text", LENGTH, "Hi\n<tool_call>\n<function=wri", "c[Hi] length" },
    { "56 tool_choice none", DROPPED, "Hi " NOW, "c[Hi] stop" },
    { "57 without tools", NO_TOOLS, "Hi " NOW, "c[Hi " NOW "] stop" },
    { "62 an array", 0, C("f", P("o", "[{\"q\": \"x\", \"m\": false, \"a\": null}]")),
      "f{\"o\": [{\"q\": \"x\", \"m\": false, \"a\": null}]} tool_calls" },
    { "63 anyOf object, null", 0, C("f", P("u", "{\"k\": 1}")), "f{\"u\": {\"k\": 1}} tool_calls" },

    { "a call that a value quotes", 0,
      C("write_file", P("text", "see\n" C("now", P("a", "b")) "\nend")),
      "write_file{\"text\": \"see\\n<tool_call>\\n<function=now>\\n<parameter=a>\\nb\\n</parameter>\\n"
      "</function>\\n</tool_call>\\nend\"} tool_calls" },
    { "two functions in one wrapper", 0,
      "<tool_call>\n<function=now>\n</function>\n<function=now>\n</function>\n</tool_call>",
      "now{} now{} tool_calls" },
    { "a stray </tool_call> behind a call", 0, NOW "\n</tool_call>\nx", "c[x] now{} tool_calls" },
    { "a stray </tool_call> in text", 0, "a </tool_call>", "c[a </tool_call>] stop" },
    { "the model thinks although thinking is off", 0, "<think>\nwhy\n</think>\n\nA",
      "r[why] c[A] stop" },
    { "no reasoning parser", NO_REASONING, "<think>a</think>b", "c[<think>a</think>b] stop" },
    { "CR LF as framing", 0,
      "<tool_call>\r\n<function=get_weather>\r\n<parameter=city>\r\nP\r\n</parameter>\r\n</function>\r\n</tool_call>",
      "get_weather{\"city\": \"P\"} tool_calls" },
    { "text between parameters is dropped", 0,
      C("write_file", P("path", "a") "<parameter=and < now\n" P("mode", "7")),
      "write_file{\"path\": \"a\", \"mode\": 7} tool_calls" },
    { "an empty value", 0, C("get_weather", "<parameter=city>\n</parameter>\n"),
      "get_weather{\"city\": \"\"} tool_calls" },
    { "5 <", 0, "5 <", "c[5 <] stop" },
    { "half a tag at the end", THINKS, "a </thi", "r[a </thi] stop" },
    { "a stop in a parameter's tag", 0,
      "<tool_call>\n<function=write_file>\n" P("path", "a") "<parameter=mo",
      "write_file{\"path\": \"a\" stop" },
    { "</think> inside of a value", THINKS, C("write_file", P("text", "a</think>b")),
      "write_file{\"text\": \"a</think>b\"} tool_calls" },
    { "white space in front stays", 0, "  a  b ", "c[  a  b ] stop" },
    { "bytes that are no UTF-8", 0,
      "a\xFF\xE6\x9D"
      "b\xE6",
      "c[a\xEF\xBF\xBD\xEF\xBF\xBD"
      "b\xEF\xBF\xBD] stop" },
    { "nothing", 0, "", "stop" },
    { "nothing, thinking", THINKS, "", "stop" },
};
/* clang-format on */

/* ---- running ------------------------------------------------------------------ */

struct message {
    struct buffer reasoning, content, calls;
    size_t n_parts;
};

static bool collect(void *user, enum answer_part part, const char *text, size_t n,
                    struct error *err)
{
    struct message *m = user;
    m->n_parts++;
    struct buffer *b = part == ANSWER_REASONING ? &m->reasoning
                     : part == ANSWER_CONTENT ? &m->content : &m->calls;
    return (part != ANSWER_NAME || buffer_append(b, " ", 1, err)) && buffer_append(b, text, n, err);
}

static size_t tag_at(const char *text, enum answer_tag *tag)
{
    for (int i = 0; i < ANSWER_TAGS; i++) {
        const char *spelled = answer_tag_text((enum answer_tag)i);
        *tag = (enum answer_tag)i;
        if (strncmp(text, spelled, strlen(spelled)) == 0)
            return strlen(spelled);
    }
    return 0;
}

/* Feeds the text in pieces of `step` bytes; with `tokens`, tags come as such. */
static bool feed(struct answer *a, const char *text, size_t step, bool tokens, struct error *err)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n;) {
        enum answer_tag tag;
        size_t piece = tokens ? tag_at(text + i, &tag) : 0;
        if (piece) {
            if (!answer_feed_tag(a, tag, err))
                return false;
            i += piece;
            continue;
        }
        for (piece = 1;
             piece < step && i + piece < n && !(tokens && tag_at(text + i + piece, &tag));)
            piece++;
        if (!answer_feed(a, text + i, piece, err))
            return false;
        i += piece;
    }
    return true;
}

static char *parse(const char *text, int flags, size_t step, bool tokens, const struct value *tools)
{
    struct message m = { 0 };
    struct error err = { 0 };
    struct buffer out = { 0 };
    const struct answer_rules rules = {
        .starts_in_thinking = flags & THINKS, .no_reasoning = flags & NO_REASONING,
        .drop_calls = flags & DROPPED, .tags_are_tokens = tokens || (flags & NO_TAGS),
        .tools = flags & NO_TOOLS ? NULL : tools,
    };
    struct answer *a = answer_new(&rules, &(struct answer_sink){ collect, &m }, &err);
    if (!a || !feed(a, text, step, tokens, &err) || !answer_end(a, flags & LENGTH, &err))
        buffer_printf(&out, NULL, "%s", err.message);
    if (m.reasoning.size)
        buffer_printf(&out, NULL, "r[%s] ", m.reasoning.data);
    if (m.content.size)
        buffer_printf(&out, NULL, "c[%s] ", m.content.data);
    if (m.calls.size)
        buffer_printf(&out, NULL, "%s ", m.calls.data + 1);
    buffer_printf(&out, NULL, "%s", a ? answer_finish_reason(a) : "");
    buffer_free(&m.reasoning);
    buffer_free(&m.content);
    buffer_free(&m.calls);
    answer_free(a);
    return out.data;
}

static void test_cases(const struct value *tools)
{
    static const size_t steps[] = { 1, 2, 3, 7, 1000000 };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t k = 0; k < 2 * (sizeof steps / sizeof *steps); k++) {
            size_t step = steps[k / 2];
            char *got = parse(cases[i].text, cases[i].flags, step, k % 2, tools);
            bool ok = strcmp(got, cases[i].expected) == 0;
            if (!ok || k == 9)
                check(ok, cases[i].name, "in pieces of %zu%s: %s", step,
                      k % 2 ? ", tags as tokens" : "", got);
            free(got);
            if (!ok)
                break;
        }
}

/* 16: what ordinary tokens spell is text where tags are tokens. */
static void test_spelled(const struct value *tools)
{
    struct message m = { 0 };
    struct error err = { 0 };
    const struct answer_rules rules = { .starts_in_thinking = true, .tags_are_tokens = true,
                                        .tools = tools };
    struct answer *a = answer_new(&rules, &(struct answer_sink){ collect, &m }, &err);
    bool ok = a && answer_feed(a, "a</th", 5, &err) && answer_feed(a, "ink>b", 5, &err)
           && answer_feed_tag(a, ANSWER_END_THINK, &err)
           && answer_feed(a, "<tool_call>\n<function=x>\n</function>", 36, &err)
           && answer_end(a, false, &err);
    check(ok && strcmp(m.reasoning.data, "a</think>b") == 0
          && strcmp(m.content.data, "<tool_call>\n<function=x>\n</function>") == 0 && !m.calls.size,
          "16 tags that ordinary tokens spell are text", "%s", err.message);
    buffer_free(&m.reasoning);
    buffer_free(&m.content);
    buffer_free(&m.calls);
    answer_free(a);
}

/* 60: pieces of a long value arrive before its end. */
static void test_streaming(const struct value *tools)
{
    struct message m = { 0 };
    struct error err = { 0 };
    const struct answer_rules rules = { .tools = tools };
    struct answer *a = answer_new(&rules, &(struct answer_sink){ collect, &m }, &err);
    static const char front[] = "<tool_call>\n<function=write_file>\n<parameter=text>\n";
    bool ok = a && answer_feed(a, front, sizeof front - 1, &err);
    check(ok && strcmp(m.calls.data, " write_file") == 0,
          "a name comes when its opener is complete", "%s", m.calls.data ? m.calls.data : "");
    for (size_t i = 0; ok && i < 10000; i++)
        ok = answer_feed(a, "x", 1, &err);
    check(ok && m.calls.size > 10000 && m.n_parts > 1000, "60 a long value comes in pieces", "%zu",
          m.calls.size);
    size_t before = m.calls.size;
    ok = ok && answer_feed(a, "\n</parameter>", 13, &err);
    check(ok && m.calls.size == before, "what may be framing is held", "%s", err.message);
    buffer_free(&m.reasoning);
    buffer_free(&m.content);
    buffer_free(&m.calls);
    answer_free(a);
}

/* Long hostile texts end in time, character by character. */
static void test_hostile(const struct value *tools)
{
    static const struct {
        const char *name, *front, *repeated;
        int flags;
    } hostile[] = {
        { "white space", "", " ", THINKS },
        { "line ends behind a value",
          "<tool_call>\n<function=write_file>\n<parameter=text>\nx</parameter>", "\n", 0 },
        { "openers", "", "<tool_call>\n", 0 },
        { "an endless name", "<tool_call><function=", "x", 0 },
        { "an endless key", "<tool_call><function=now><parameter=", "x", 0 },
        { "ends of thinking", "", "</think>", THINKS },
        { "quoted calls", "<tool_call>\n<function=write_file>\n<parameter=text>\n",
          "<tool_call><function=", 0 },
        { "ends of values", "<tool_call>\n<function=write_file>\n<parameter=text>\n",
          "</parameter> ", 0 },
        { "parameters", "<tool_call>\n<function=write_file>\n", "<parameter=text>\n", 0 },
    };
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct buffer text = { 0 };
        buffer_append(&text, hostile[i].front, strlen(hostile[i].front), NULL);
        for (size_t k = 0; k < 100000; k++)
            buffer_append(&text, hostile[i].repeated, strlen(hostile[i].repeated), NULL);
        char *pieces = parse(text.data, hostile[i].flags, 1, false, tools);
        char *whole = parse(text.data, hostile[i].flags, text.size, false, tools);
        check(strcmp(pieces, whole) == 0, hostile[i].name, "%.200s, whole %.200s", pieces, whole);
        free(pieces);
        free(whole);
        buffer_free(&text);
    }
}

/* Mutations of the cases: pieces never change a result. */
static void test_mutations(const struct value *tools)
{
    unsigned seed = 1, wrong = 0;
    for (size_t i = 0; i < 4000; i++) {
        const char *from = cases[i % (sizeof cases / sizeof *cases)].text;
        int flags = cases[i % (sizeof cases / sizeof *cases)].flags;
        char text[2048];
        size_t n = strlen(from);
        memcpy(text, from, n + 1);
        for (unsigned k = 0; n > 4 && k < 1 + i % 4; k++) {
            seed = seed * 1664525 + 1013904223;
            size_t at = (seed >> 8) % (n - 1), length = 1 + (seed >> 20) % 3;
            if (seed & 1)
                text[at] = "<>/\n =a"[(seed >> 4) % 7];
            else if (at + length < n) {
                memmove(text + at, text + at + length, n - at - length + 1);
                n -= length;
            }
        }
        char *whole = parse(text, flags, sizeof text, false, tools);
        for (size_t step = 1; step < 8; step += 2) {
            char *pieces = parse(text, flags, step, false, tools);
            if (strcmp(pieces, whole) != 0 && wrong++ < 3)
                printf("# '%s' in pieces of %zu: %s, whole: %s\n", text, step, pieces, whole);
            free(pieces);
        }
        free(whole);
    }
    check(wrong == 0, "pieces never change what a mutated answer gives", "%u differ", wrong);
}

/* ---- values --------------------------------------------------------------------- */

static const struct {
    const char *name, *schema, *text, *json;
} values[] = {
    { "string keeps digits", "{\"type\": \"string\"}", "42", "\"42\"" },
    { "string keeps null", "{\"type\": \"string\"}", "null", "\"null\"" },
    { "no type is string", "{}", "{}", "\"{}\"" },
    { "integer", "{\"type\": \"integer\"}", " 7 ", "7" },
    { "plus", "{\"type\": \"int32\"}", "+5", "5" },
    { "30 digits", "{\"type\": \"integer\"}", "123456789012345678901234567890",
      "123456789012345678901234567890" },
    { "5.0 is 5", "{\"type\": \"integer\"}", "5.0", "5" },
    { "number", "{\"type\": \"number\"}", "3.14", "3.14" },
    { "exponent", "{\"type\": \"number\"}", "1e3", "1000" },
    { "no leading digit", "{\"type\": \"float\"}", ".5", "0.5" },
    { "trailing zero", "{\"type\": \"double\"}", "-2.50", "-2.5" },
    { "large", "{\"type\": \"number\"}", "1e22", "1e+22" },
    { "NaN is a string", "{\"type\": \"number\"}", "NaN", "\"NaN\"" },
    { "infinite is a string", "{\"type\": \"number\"}", "1e400", "\"1e400\"" },
    { "underscore is a string", "{\"type\": \"integer\"}", "1_000", "\"1_000\"" },
    { "a word is a string", "{\"type\": \"integer\"}", "soon", "\"soon\"" },
    { "nothing is a string", "{\"type\": \"integer\"}", "", "\"\"" },
    { "hexadecimal is a string", "{\"type\": \"number\"}", "0x10", "\"0x10\"" },
    { "null without string", "{\"type\": \"integer\"}", "None", "null" },
    { "null with string", "{\"type\": [\"string\", \"integer\"]}", "null", "\"null\"" },
    { "null that is allowed", "{\"type\": [\"string\", \"null\"]}", "NULL", "null" },
    { "nullable", "{\"type\": \"string\", \"nullable\": true}", "null", "null" },
    { "True", "{\"type\": \"boolean\"}", "True", "true" },
    { "0 is false", "{\"type\": \"bool\"}", "0", "false" },
    { "yes is a string", "{\"type\": \"boolean\"}", "yes", "\"yes\"" },
    { "object", "{\"type\": \"object\"}", "{\"a\":1.0}", "{\"a\": 1.0}" },
    { "array for an object", "{\"type\": \"object\"}", "[1]", "\"[1]\"" },
    { "Python's quotes", "{\"type\": \"dict\"}", "{'a': 1}", "\"{'a': 1}\"" },
    { "anyOf integer", "{\"anyOf\": [{\"type\": \"integer\"}, {\"type\": \"string\"}]}", "12",
      "12" },
    { "anyOf string", "{\"anyOf\": [{\"type\": \"integer\"}, {\"type\": \"string\"}]}", "twelve",
      "\"twelve\"" },
    { "enum of integers", "{\"enum\": [1, 2]}", "2", "2" },
    { "const", "{\"const\": true}", "true", "true" },
    { "properties", "{\"properties\": {}}", "{}", "{}" },
    { "items", "{\"items\": {}}", "[1, 2]", "[1, 2]" },
    { "$ref", "{\"$ref\": \"#/$defs/n\", \"$defs\": {\"n\": {\"type\": \"integer\"}}}", "3", "3" },
    { "$ref to itself", "{\"$ref\": \"#\"}", "3", "\"3\"" },
    { "$ref that is lost", "{\"$ref\": \"#/a/b\"}", "3", "\"3\"" },
    { "anyOf of itself", "{\"anyOf\": [{\"$ref\": \"#\"}, {\"$ref\": \"#\"}]}", "3", "\"3\"" },
};

static void test_values(void)
{
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct workspace w = { .bytes_limit = 1 << 20, .steps_limit = SIZE_MAX };
        struct error err = { 0 };
        struct marked_text_builder b = { 0 };
        struct value schema;
        const struct marked_text t = marked_text_plain(values[i].text, strlen(values[i].text));
        bool ok = value_json_read(&schema, values[i].schema, strlen(values[i].schema), "schema",
                                  false, &w, &err)
               && coercion_write(&b, coercion_types(&schema, &schema), &t, &w, &err);
        check(ok && strcmp(b.bytes.data, values[i].json) == 0, values[i].name, "%s %s",
              ok ? b.bytes.data : "", err.message);
        marked_text_builder_free(&b);
        workspace_free(&w);
    }
}

static void test_start(void)
{
    static const struct {
        const char *name, *prompt;
        bool thinks;
    } starts[] = {
        { "a prompt that ends with <think>", "<|im_start|>assistant\n<think>\n", true },
        { "an empty pair", "<|im_start|>assistant\n<think>\n\n</think>\n\n", false },
        { "no <think>", "<|im_start|>assistant\n", false },
        { "14 thinking in the history",
          "<|im_start|>assistant\n<think>\na<|im_end|>\n<|im_start|>assistant\n", false },
        { "14 an end in the history",
          "<|im_start|>user\n</think><|im_end|>\n<|im_start|>assistant\n<think>\n", true },
        { "no turn", "<think>", true },
        { "nothing", "", false },
    };
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        check(answer_starts_in_thinking(starts[i].prompt, strlen(starts[i].prompt))
              == starts[i].thinks, starts[i].name, "%d", starts[i].thinks);
}

/* For tests/conformance/test_vllm_parser.py: a line a case, the text in hexadecimal digits. */
static int print_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        printf("%s\t%d\t", cases[i].name, cases[i].flags);
        for (const char *c = cases[i].text; *c; c++)
            printf("%02x", (unsigned char)*c);
        printf("\n");
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--cases") == 0)
        return print_cases();
    struct workspace w = { .bytes_limit = 1 << 20, .steps_limit = SIZE_MAX };
    struct error err = { 0 };
    struct value tools;
    if (!check(value_json_read(&tools, TOOLS, sizeof TOOLS - 1, "tools", false, &w, &err), "tools",
               "%s", err.message))
        return 1;
    test_cases(&tools);
    test_spelled(&tools);
    test_streaming(&tools);
    test_mutations(&tools);
    test_hostile(&tools);
    test_values();
    test_start();
    workspace_free(&w);
    return check_done();
}
