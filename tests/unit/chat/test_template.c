/* The template language: what expressions and statements give, and what is refused by name and
 * line.  test_template TEMPLATE FILE renders each line of FILE, a JSON object of variables, and
 * prints {"text": ...} or {"error": ...}: tests/conformance/test_chat_template.py compares that
 * with jinja2. */
#include <string.h>

#include "base/file.h"
#include "chat/template.h"
#include "chat/value_json.h"
#include "tests/check.h"

#define VARIABLES \
    "{\"s\": \"a<b>c\", \"n\": 3, \"x\": 1.5, \"t\": true, \"none\": null, \"e\": \"\", " \
    "\"l\": [1, \"zwei\", null], \"m\": {\"k\": \"v\", \"items\": 5, \"z\": [1]}, " \
    "\"big\": 123456789012345678901234567890, \"u\": \"\\u00e9\\ud83d\\ude00x\"}"

static bool render(struct marked_text_builder *out, const char *template_text, size_t n_template,
                   const char *variables, size_t n_variables, struct error *err)
{
    struct workspace w = { .bytes_limit = WORKSPACE_BYTES, .steps_limit = WORKSPACE_STEPS };
    struct value v;
    struct template *t = template_read(template_text, n_template, "t", err);
    bool ok = t && value_json_read(&v, variables, n_variables, "variables", true, &w, err)
           && v.kind == VALUE_MAPPING
           && template_render(out, t, v.of.mapping, (time_t)86400, &w, err);
    workspace_free(&w);
    template_free(t);
    return ok;
}

static const struct {
    const char *name, *text, *expected;
} cases[] = {
    { "text alone", "hello", "hello" },
    { "one line end at the end goes", "a\n\n", "a\n" },
    { "CR LF becomes LF", "a\r\nb", "a\nb" },
    { "line end behind a block goes", "{% if true %}\nx{% endif %}\n\ny", "x\ny" },
    { "space in front of a block goes", "a\n  {% if true %}b{% endif %}", "a\nb" },
    { "space in front of an output stays", "a\n  {{ n }}", "a\n  3" },
    { "plus keeps the space", "a\n  {%+ if true %}b{% endif %}", "a\n  b" },
    { "plus keeps the line end", "{% if true +%}\nb{% endif %}", "\nb" },
    { "minus takes all space", "a \n {%- if true -%} \n b {%- endif %}", "ab" },
    { "minus at an output", "a {{- n -}} b", "a3b" },
    { "a comment", "a{# {{ x #}b", "ab" },
    { "a comment's line end goes", "{# c #}\nb", "b" },
    { "a brace alone is text", "{ a } {b}", "{ a } {b}" },
    { "brackets hold back the end of a tag", "{{ {'a': {'b': 1}}['a']['b'] }}", "1" },
    { "True and None print as in Python", "{{ t }} {{ none }} {{ false }}", "True None False" },
    { "undefined prints nothing", "[{{ nope }}{{ m.nope }}]", "[]" },
    { "floats print as in Python",
      "{{ x }} {{ 1e22 }} {{ 1e-7 }} {{ 1e16 }} {{ 123456.0 }} {{ 0.0001 }}",
      "1.5 1e+22 1e-07 1e+16 123456.0 0.0001" },
    { "a big integer keeps its digits", "{{ big }} {{ big|tojson }}",
      "123456789012345678901234567890 123456789012345678901234567890" },
    { "lists print with repr", "{{ l }} {{ (1,) }} {{ ['it\\'s', 'a\"'] }}",
      "[1, 'zwei', None] (1,) [\"it's\", 'a\"']" },
    { "mappings print with repr", "{{ m }}", "{'k': 'v', 'items': 5, 'z': [1]}" },
    { "repr escapes", "{{ ['\\n\\x00\\u200b\\\\'] }}", "['\\n\\x00\\u200b\\\\']" },
    { "escapes of a string", "{{ 'a\\tb\\x41\\u00e9\\U0001F600\\q\\101' }}",
      "a\tbA\xC3\xA9\xF0\x9F\x98\x80\\qA" },
    { "strings side by side are one", "{{ 'a' 'b' }}", "ab" },
    { "sums and text",
      "{{ 1 + 2 * 3 }} {{ 'a' + 'b' }} {{ 'a' ~ 1 ~ none }} {{ 7 // 2 }} {{ -7 % 3 }}",
      "7 ab a1None 3 2" },
    { "division gives a float", "{{ 6 / 3 }}", "2.0" },
    { "minus binds before a filter", "{{ -1|string + 'x' }}", "-1x" },
    { "comparisons chain", "{{ 1 < 2 < 3 }} {{ 1 < 2 > 2 }}", "True False" },
    { "equality by value", "{{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == ['a'][0] }} {{ {} == {} }}",
      "True True True True" },
    { "in", "{{ 'b' in s }} {{ 'k' in m }} {{ 1 in l }} {{ 2 not in l }} {{ 'a' in nope }}",
      "True True True True False" },
    { "and, or give operands", "{{ 0 or 'x' }} {{ '' and 1 }}|{{ 1 and 2 }}", "x |2" },
    { "truth", "{{ 1 if [] else 0 }}{{ 1 if {} else 0 }}{{ 1 if 0.0 else 0 }}{{ 1 if ' ' else 0 }}",
      "0001" },
    { "if without else", "[{{ 1 if false }}]", "[]" },
    { "is false is identity", "{{ false is false }} {{ 0 is false }} {{ none is false }}",
      "True False False" },
    { "tests of types",
      "{{ s is string }} {{ m is mapping }} {{ l is sequence }} {{ m is iterable }} "
      "{{ n is number }} {{ nope is undefined }} {{ none is not none }}",
      "True True True True True True False" },
    { "a method hides a key", "{{ m.items is defined }} {{ m['items'] }} {{ m.items()|length }}",
      "True 5 3" },
    { "characters, not bytes", "{{ u|length }} {{ u[1] }} {{ u[::-1] }} {{ u[-1:] }}",
      "3 \xF0\x9F\x98\x80 x\xF0\x9F\x98\x80\xC3\xA9 x" },
    { "slices", "{{ l[::-1] }} {{ l[1:] }} {{ l[:-1] }} {{ 'abcdef'[4:1:-2] }} {{ l[5:] }}",
      "[None, 'zwei', 1] ['zwei', None] [1, 'zwei'] ec []" },
    { "index out of range is undefined", "[{{ l[9] }}{{ l[-1] }}]", "[None]" },
    { "tojson", "{{ m|tojson }} {{ s|tojson }} {{ u|tojson }}",
      "{\"k\": \"v\", \"items\": 5, \"z\": [1]} \"a<b>c\" \"\xC3\xA9\xF0\x9F\x98\x80x\"" },
    { "tojson with an indent", "{{ {'a': [1, {}], 'b': []}|tojson(indent=2) }}",
      "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}" },
    { "tojson escapes control characters", "{{ '\\n\\x01\\\\\"'|tojson }}",
      "\"\\n\\u0001\\\\\\\"\"" },
    { "trim takes Unicode space, not U+200B", "[{{ '\\u2003\\x1c a\\u200b\\u00a0'|trim }}]",
      "[a\xE2\x80\x8B]" },
    { "strip of characters", "{{ 'xxabxx'.strip('x') }} {{ '\\n\\na\\n'.lstrip('\\n') }}|",
      "ab a\n|" },
    { "split", "{{ 'a--b--c'.split('--') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }}",
      "['a', 'b', 'c'] ['a', 'b'] ['a', 'b c']" },
    { "split without the separator", "{{ 'abc'.split('</think>')[-1] }}", "abc" },
    { "startswith", "{{ s.startswith('a<') }} {{ s.endswith(('x', 'c')) }}", "True True" },
    { "default", "{{ nope|default('d') }} {{ e|default('d') }}|{{ e|default('d', true) }}",
      "d |d" },
    { "join, first, last", "{{ [1, 'a']|join(', ') }} {{ l|first }} {{ l|last }}", "1, a 1 None" },
    { "replace, upper, lower", "{{ s.replace('<', '[') }} {{ 'aB\\u00e9'|upper }} {{ 'AB'|lower }}",
      "a[b>c AB\xC3\x89 ab" },
    { "int", "{{ '42'|int + 1 }} {{ '4.7'|int }} {{ 'x'|int }} {{ 'x'|int(-1) }}", "43 4 0 -1" },
    { "get", "{{ m.get('k') }} {{ m.get('q') }} {{ m.get('q', 1) }}", "v None 1" },
    { "items", "{% for k, v in m|items %}{{ k }}={{ v }};{% endfor %}", "k=v;items=5;z=[1];" },
    { "loop",
      "{% for i in [7, 8, 9] %}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}"
      "{{ loop.previtem }}{{ loop.nextitem }} {% endfor %}",
      "0TrueFalse8 1FalseFalse79 2FalseTrue8 " },
    { "loop with a condition and else",
      "{% for i in [1, 2, 3] if i > 1 %}{{ i }}{{ loop.length }}"
      "{% endfor %}{% for i in [] %}x{% else %}none{% endfor %}",
      "2232none" },
    { "break and continue",
      "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
      "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
      "023" },
    { "a set in a loop does not leak",
      "{% set a = 0 %}{% for i in [1, 2] %}{{ a }}{% set a = i %}"
      "{{ a }}{% endfor %}{{ a }}",
      "01020" },
    { "a set in an if leaks", "{% if true %}{% set a = 1 %}{% endif %}{{ a }}", "1" },
    { "a namespace keeps",
      "{% set ns = namespace(a=0) %}{% for i in [1, 2] %}{% set ns.a = ns.a + i %}"
      "{% endfor %}{{ ns.a }}",
      "3" },
    { "set of a tuple", "{% set a, b = 1, 2 %}{{ b }}{{ a }}", "21" },
    { "macro",
      "{% macro f(a, b='d', c=a) %}<{{ a }}{{ b }}{{ c }}>{% endmacro %}"
      "{{ f(1) }}{{ f(1, c=2) }}{{ f(b=3, a=4) }}{{ f() }}",
      "<1d1><1d2><434><d>" },
    { "a macro sees its definition's scope",
      "{% macro f() %}{{ q }}{% endmacro %}"
      "{% for q in [1] %}[{{ f() }}]{% endfor %}{% set q = 2 %}{{ f() }}",
      "[]2" },
    { "strftime_now speaks English", "{{ strftime_now('%B %Y') }}", "January 1970" },
    { "elif", "{% if n == 1 %}a{% elif n == 3 %}b{% else %}c{% endif %}", "b" },
    { "not before in", "{{ not 'q' in s }}", "True" },
    { "condition chain", "{{ 'a' if false else 'b' if true else 'c' }}", "b" },
};

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        struct marked_text_builder b = { 0 };
        bool ok = render(&b, cases[i].text, strlen(cases[i].text), VARIABLES, strlen(VARIABLES),
                         &err);
        const char *got = b.bytes.data ? b.bytes.data : "";
        check(ok && strcmp(got, cases[i].expected) == 0, cases[i].name, "'%s' %s", got,
              err.message);
        marked_text_builder_free(&b);
    }
}

/* What is refused, when the template is read or rendered; `why` is a part of the message. */
static const struct {
    const char *name, *text, *why;
} refusals[] = {
    { "unknown statement", "a\n{% generation %}", "t: line 2: the statement 'generation' is not" },
    { "unknown filter", "{{ s|map }}", "t: line 1: the filter 'map' is not supported" },
    { "unknown test", "{{ s is divisibleby }}", "the test 'divisibleby' is not supported" },
    { "unknown method", "{{ s.title() }}", "the method 'title' is not supported" },
    { "unknown function", "\n\n{{ dict() }}", "t: line 3: the function 'dict' is not supported" },
    { "power", "{{ 2 ** 3 }}", "the operator '**' is not supported" },
    { "set as a block", "{% set a %}x{% endset %}", "a set without '='" },
    { "recursive loop", "{% for a in l recursive %}{% endfor %}", "'recursive' is not supported" },
    { "break outside of a loop", "{% break %}", "break or continue outside of a loop" },
    { "break in a macro in a loop",
      "{% for i in l %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}",
      "break or continue outside of a loop" },
    { "if without its end", "{% if true %}x", "the end where" },
    { "end without its if", "{% endif %}", "the statement 'endif' is not supported" },
    { "tag without its end", "a\n{{ s", "t: line 2: a tag without an end" },
    { "comment without its end", "{# x", "a comment without an end" },
    { "string without its end", "{{ 'x }}", "a string without an end" },
    { "surrogate in a string", "{{ '\\ud800' }}", "that is no character" },
    { "two expressions", "{{ s s }}", "'s' where }} is expected" },
    { "an empty tag", "{{ }}", "where an expression is expected" },
    { "invalid UTF-8", "a\xFF", "invalid UTF-8 at byte 1" },
    { "undefined has no attribute", "\n{{ nope.a }}", "t: line 2: 'nope' is undefined" },
    { "undefined has no sum", "{{ nope + 'a' }}", "'nope' is undefined" },
    { "text and number have no sum", "{{ 'a' + 1 }}", "'+' of a string and an integer" },
    { "text and none have no sum", "{{ 'a' + none }}", "'+' of a string and none" },
    { "length of a number", "{{ n|length }}", "'length' of an integer" },
    { "loop over a number", "{% for i in n %}{% endfor %}", "an integer is no sequence" },
    { "items of a list", "{{ l|items }}", "'items' of a list" },
    { "in a number", "{{ 1 in n }}", "'in' an integer" },
    { "order of text and number", "{{ 1 < 'a' }}", "have no order" },
    { "tojson with an argument", "{{ s|tojson(ind=2) }}", "'tojson' with an argument" },
    { "a name beyond ASCII", "{{ \xC3\xA9 }}", "'\xC3\xA9' does not belong into a tag" },
    { "exception", "{{ raise_exception('No ' ~ 'way.') }}", "t: line 1: No way." },
    { "an attribute of a mapping is set", "{% set m.k = 1 %}", "an attribute of a mapping is set" },
    { "too many values", "{% set a, b = l %}", "3 values for 2 names" },
    { "division by zero", "{{ 1 // 0 }}", "division by zero" },
    { "overflow", "{{ 9223372036854775807 + 1 }}", "beyond 64 bits" },
    { "macro with an argument too many", "{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
      "does not take this argument" },
    { "macro that calls itself", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "64 deep" },
    { "a long range", "{{ range(1000000) }}", "range of more than 100000" },
    { "steps", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
      "more than 10000000 steps" },
    { "output",
      "{% set ns = namespace(s='0123456789abcdef') %}{% for i in range(30) %}"
      "{% set ns.s = ns.s + ns.s %}{% endfor %}{{ ns.s }}",
      "MiB" },
    { "depth of values",
      "{% set ns = namespace(l=[]) %}{% for i in range(99) %}"
      "{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
      "nested deeper than 64" },
    { "a namespace that holds itself",
      "{% set ns = namespace() %}{% set ns.ns = [ns] %}{{ ns.ns }}",
      "a namespace cannot be printed" },
};

static void test_refusals(void)
{
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct error err = { 0 };
        struct marked_text_builder b = { 0 };
        bool ok = render(&b, refusals[i].text, strlen(refusals[i].text), VARIABLES,
                         strlen(VARIABLES), &err);
        check(!ok && strstr(err.message, refusals[i].why), refusals[i].name, "'%s'",
              ok ? b.bytes.data : err.message);
        marked_text_builder_free(&b);
    }
}

/* A template of n times one text between two others is refused, and quickly. */
static void test_hostile(void)
{
    static const struct {
        const char *name, *front, *repeated, *back;
        size_t n;
    } hostile[] = {
        { "deep brackets", "{{ ", "(", "1", 100000 },
        { "deep lists", "{{ ", "[", "1", 100000 },
        { "deep ifs", "", "{% if true %}", "", 50000 },
        { "many nots", "{{ ", "not ", "1 }}", 100000 },
        { "many minus signs", "{{ ", "- ", "1 }}", 100000 },
        { "many sums", "{{ 1", " + 1", "}}", 100000 },
        { "many attributes", "{{ m", ".k", "}}", 100000 },
        { "many filters", "{{ s", "|trim", "}}", 100000 },
        { "many calls", "{{ s", "()", "}}", 100000 },
        { "many conditions", "{{ 1", " if 1", "}}", 100000 },
        { "many elses", "{{ 1", " if 0 else 1", "}}", 50000 },
        { "a huge template", "", "0123456789", "", 200000 },
    };
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct error err = { 0 };
        struct buffer text = { 0 };
        struct marked_text_builder b = { 0 };
        bool made = buffer_append(&text, hostile[i].front, strlen(hostile[i].front), &err);
        for (size_t k = 0; made && k < hostile[i].n; k++)
            made = buffer_append(&text, hostile[i].repeated, strlen(hostile[i].repeated), &err);
        made = made && buffer_append(&text, hostile[i].back, strlen(hostile[i].back), &err);
        bool ok = render(&b, text.data, text.size, VARIABLES, strlen(VARIABLES), &err);
        check(made && !ok && strncmp(err.message, "t: ", 3) == 0, hostile[i].name, "%s",
              err.message);
        buffer_free(&text);
        marked_text_builder_free(&b);
    }
}

static void test_many_elifs(void)
{
    struct error err = { 0 };
    struct buffer text = { 0 };
    struct marked_text_builder b = { 0 };
    bool ok = buffer_append(&text, "{% if false %}", 14, &err);
    for (size_t k = 0; ok && k < 20000; k++)
        ok = buffer_append(&text, "{% elif false %}", 16, &err);
    ok = ok && buffer_append(&text, "{% else %}x{% endif %}", 22, &err)
      && render(&b, text.data, text.size, "{}", 2, &err);
    check(ok && strcmp(b.bytes.data, "x") == 0, "20,000 elifs are no depth", "%s", err.message);
    buffer_free(&text);
    marked_text_builder_free(&b);
}

/* Which bytes came from the variables, as a text of 0 and 1. */
static void test_marks(void)
{
    static const struct {
        const char *name, *text, *marks;
    } marked[] = {
        { "of an output", "a{{ s }}b", "0111110" },
        { "of a sum", "{{ 'x' + s + 'y' }}", "0111110" },
        { "of a strip", "{{ ('x' + s).strip('x') }}", "11111" },
        { "of a split", "{{ (s ~ '|y').split('|')[1] }}", "0" },
        { "of a slice", "{{ ('x' + s)[::-1] }}", "111110" },
        { "of JSON", "{{ s|tojson }}", "0111110" },
        { "of a macro", "{% macro f(a) %}<{{ a }}>{% endmacro %}{{ f(e) }}{{ f(s) }}",
          "000111110" },
        { "of upper", "{{ ('x' + s)|upper }}", "011111" },
        { "of replace", "{{ s.replace('<', '[') }}", "10111" },
    };
    for (size_t i = 0; i < sizeof marked / sizeof *marked; i++) {
        struct error err = { 0 };
        struct marked_text_builder b = { 0 };
        bool ok = render(&b, marked[i].text, strlen(marked[i].text), VARIABLES, strlen(VARIABLES),
                         &err);
        for (size_t k = 0; k < b.marks.size; k++)
            b.marks.data[k] = (char)('0' + b.marks.data[k]);
        check(ok && strcmp(b.marks.data, marked[i].marks) == 0, marked[i].name, "%s %s",
              b.marks.data ? b.marks.data : "", err.message);
        marked_text_builder_free(&b);
    }
}

/* ---- for the comparison with jinja2 ----------------------------------------------- */

static void render_line(const struct buffer *template_text, const char *line, size_t n)
{
    struct error err = { 0 };
    struct marked_text_builder b = { 0 }, json = { 0 };
    bool ok = render(&b, template_text->data, template_text->size, line, n, &err);
    const char *text = ok ? b.bytes.data ? b.bytes.data : "" : err.message;
    const struct marked_text t = marked_text_plain(text, ok ? b.bytes.size : strlen(text));
    if (value_json_write_string(&json, &t, NULL))
        printf("{\"%s\": %s}\n", ok ? "text" : "error", json.bytes.data);
    marked_text_builder_free(&b);
    marked_text_builder_free(&json);
}

static int render_lines(const char *template_path, const char *path)
{
    struct error err = { 0 };
    struct buffer text = { 0 }, lines = { 0 };
    bool ok = file_read(&text, template_path, &err) && file_read(&lines, path, &err);
    for (char *at = lines.data; ok && at && *at;) {
        size_t n = strcspn(at, "\n");
        char *next = at + n + (at[n] == '\n');
        at[n] = '\0';
        render_line(&text, at, n);
        at = next;
    }
    if (!ok)
        fprintf(stderr, "%s\n", err.message);
    buffer_free(&text);
    buffer_free(&lines);
    return !ok;
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return render_lines(argv[1], argv[2]);
    test_cases();
    test_refusals();
    test_hostile();
    test_many_elifs();
    test_marks();
    return check_done();
}
