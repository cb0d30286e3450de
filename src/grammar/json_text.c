#include "grammar/json_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/json.h"
#include "base/utf8.h"

#define DIGITS    20u       /* of a number, before and after the point */
#define EXPONENT  3u
#define INDENT    32u

/* ---- strings --------------------------------------------------------------------- */

static uint32_t any_of(struct graph *g, const char *bytes)
{
    uint32_t tree = graph_tree(g);
    for (size_t i = 0; bytes[i]; i++)
        graph_add_text(g, tree, bytes + i, 1);
    return graph_bytes(g, tree);
}

/* \uXXXX; a high surrogate only together with a low one. */
static uint32_t code_unit(struct graph *g)
{
    uint32_t hex = any_of(g, "0123456789ABCDEFabcdef"), two = graph_then(g, hex, hex);
    uint32_t plain = GRAPH_SEQUENCE(g, any_of(g, "0123456789ABCEFabcef"), hex, two);
    uint32_t below = GRAPH_SEQUENCE(g, any_of(g, "Dd"), any_of(g, "01234567"), two);
    uint32_t pair = GRAPH_SEQUENCE(g, any_of(g, "Dd"), any_of(g, "89ABab"), two,
                                   graph_string(g, "\\u"), any_of(g, "Dd"),
                                   any_of(g, "CDEFcdef"), two);
    return graph_then(g, graph_string(g, "\\u"),
                      graph_either(g, (const uint32_t[]){ plain, below, pair }, 3));
}

static uint32_t free_character(struct graph *g)
{
    struct charset plain = { 0 };
    struct error err = { 0 };
    if (!charset_add(&plain, 0x20, '"' - 1, &err) || !charset_add(&plain, '"' + 1, '\\' - 1, &err)
        || !charset_add(&plain, '\\' + 1, CHARSET_LAST, &err) || !charset_tidy(&plain, &err))
        graph_fail_with(g, &err);
    uint32_t raw = charset_node(g, &plain, CHARSET_RAW);
    uint32_t escape = graph_then(g, graph_string(g, "\\"), any_of(g, "\"\\/bfnrt"));
    charset_free(&plain);
    return graph_either(g, (const uint32_t[]){ raw, escape, code_unit(g) }, 3);
}

uint32_t json_text_repeated(struct graph *g, uint32_t a, uint32_t min, uint32_t max)
{
    if (max != UINT32_MAX)
        return graph_counted(g, a, min, max);
    return graph_then(g, graph_counted(g, a, min, min), graph_many(g, a));
}

uint32_t json_text_string(const struct json_text *t, uint32_t min, uint32_t max)
{
    uint32_t inside = json_text_repeated(t->graph, t->character, min, max);
    return GRAPH_SEQUENCE(t->graph, t->quote, inside, t->quote);
}

bool json_text_write(struct buffer *b, const char *text, enum charset_form form, struct error *err)
{
    for (size_t i = 0, length; text[i]; i += length)
        if (!charset_write(b, utf8_get(text + i, &length), form, err))
            return false;
    return true;
}

/* ---- numbers --------------------------------------------------------------------- */

/* Numbers from low to high, which have n digits both. */
static uint32_t same_length(struct graph *g, const char *low, const char *high)
{
    uint32_t tree = graph_tree(g);
    graph_add_between(g, tree, (const uint8_t *)low, (const uint8_t *)high, strlen(low), '0', '9');
    return graph_bytes(g, tree);
}

/* Whole numbers from low to high without sign; high UINT64_MAX: up to the most digits. */
static uint32_t magnitudes(struct graph *g, uint64_t low, uint64_t high)
{
    char first[32], last[32], bound[32] = "";
    uint32_t ways[3], digit = graph_one_byte(g, '0', '9');
    size_t n = 0;
    format_text(first, sizeof first, "%llu", (unsigned long long)low);
    format_text(last, sizeof last, "%llu", (unsigned long long)high);
    uint32_t least = (uint32_t)strlen(first), most = (uint32_t)strlen(last);
    if (high == UINT64_MAX)
        most = DIGITS + 1;      /* not itself */
    else if (least == most)
        return same_length(g, first, last);
    memset(bound, '9', least);
    ways[n++] = same_length(g, first, bound);
    if (most > least + 1)
        ways[n++] = graph_then(g, graph_one_byte(g, '1', '9'),
                               graph_counted(g, digit, least, most - 2));
    if (most <= DIGITS) {
        memset(bound, '0', most);
        bound[0] = '1';
        ways[n++] = same_length(g, bound, last);
    }
    return graph_either(g, ways, n);
}

uint32_t json_text_integer(const struct json_text *t, int64_t low, int64_t high)
{
    struct graph *g = t->graph;
    uint32_t signs[2];
    size_t n = 0;
    if (low <= high && high >= 0)
        signs[n++] = magnitudes(g, low > 0 ? (uint64_t)low : 0,
                                high == INT64_MAX ? UINT64_MAX : (uint64_t)high);
    if (low <= high && low < 0)
        signs[n++] = graph_then(g, graph_string(g, "-"),
                                magnitudes(g, high < 0 ? (uint64_t)-high : 0,
                                           low == INT64_MIN ? UINT64_MAX : (uint64_t)-low));
    return graph_then(g, graph_either(g, signs, n), graph_optional(g, graph_string(g, ".0")));
}

static uint32_t any_number(struct graph *g)
{
    uint32_t digit = graph_one_byte(g, '0', '9');
    uint32_t whole = graph_or(g, graph_string(g, "0"),
                              graph_then(g, graph_one_byte(g, '1', '9'),
                                         graph_counted(g, digit, 0, DIGITS - 1)));
    uint32_t fraction = graph_then(g, graph_string(g, "."), graph_counted(g, digit, 1, DIGITS));
    uint32_t exponent = GRAPH_SEQUENCE(g, any_of(g, "Ee"), graph_optional(g, any_of(g, "+-")),
                                       graph_counted(g, digit, 1, EXPONENT));
    return GRAPH_SEQUENCE(g, graph_optional(g, graph_string(g, "-")), whole,
                          graph_optional(g, fraction), graph_optional(g, exponent));
}

/* The shortest text that reads as v again. */
static bool number_text(struct graph *g, char *out, size_t n, double v)
{
    if (!(fabs(v) < JSON_TEXT_EXACT))
        return graph_fail(g, "the number %.17g: whole numbers from 2^53 on are not exact", v);
    int precision = 0;
    do
        format_text(out, n, "%.*g", ++precision, v == 0 ? 0 : v);
    while (format_parse(out, NULL) < v || format_parse(out, NULL) > v);
    if (floor(v) >= v)
        format_text(out, n, "%.0f", v == 0 ? 0 : v);
    return true;
}

/* ---- values ---------------------------------------------------------------------- */

static void add_number(const struct json_text *t, uint32_t tree, double v)
{
    char text[64];
    if (!number_text(t->graph, text, sizeof text, v))
        return;
    graph_add_text(t->graph, tree, text, strlen(text));
    if (floor(v) >= v) {
        strcat(text, ".0");
        graph_add_text(t->graph, tree, text, strlen(text));
    }
}

static void add_string(const struct json_text *t, uint32_t tree, const char *text,
                       enum charset_form form)
{
    struct buffer b = { 0 };
    struct error err = { 0 };
    const char *quote = form == CHARSET_JSON ? "\"" : "";
    if (buffer_printf(&b, &err, "%s", quote) && json_text_write(&b, text, form, &err)
        && buffer_printf(&b, &err, "%s", quote))
        graph_add_text(t->graph, tree, b.data, b.size);
    else
        graph_fail_with(t->graph, &err);
    buffer_free(&b);
}

uint32_t json_text_scalars(const struct json_text *t, const cJSON *const *values, size_t n,
                           enum charset_form strings)
{
    uint32_t tree = graph_tree(t->graph);
    for (size_t i = 0; i < n && !t->graph->failed; i++) {
        const cJSON *v = values[i];
        if (cJSON_IsString(v))
            add_string(t, tree, v->valuestring, strings);
        else if (cJSON_IsNumber(v))
            add_number(t, tree, v->valuedouble);
        else if (cJSON_IsNull(v) || cJSON_IsBool(v))
            add_string(t, tree, cJSON_IsNull(v) ? "null" : cJSON_IsTrue(v) ? "true" : "false",
                       CHARSET_RAW);
    }
    return graph_bytes(t->graph, tree);
}

uint32_t json_text_member(const struct json_text *t, const char *name, uint32_t value)
{
    uint32_t tree = graph_tree(t->graph);
    add_string(t, tree, name, CHARSET_JSON);
    return GRAPH_SEQUENCE(t->graph, graph_bytes(t->graph, tree), t->colon, value);
}

uint32_t json_text_value(const struct json_text *t, const cJSON *value)
{
    uint32_t all = UINT32_MAX;
    if (!cJSON_IsObject(value) && !cJSON_IsArray(value))
        return json_text_scalars(t, &value, 1, CHARSET_JSON);
    for (const cJSON *v = value->child; v; v = v->next) {
        uint32_t one = json_text_value(t, v);
        if (cJSON_IsObject(value))
            one = json_text_member(t, v->string, one);
        all = all == UINT32_MAX ? one : GRAPH_SEQUENCE(t->graph, all, t->comma, one);
    }
    return json_text_brackets(t, cJSON_IsObject(value), all, all == UINT32_MAX);
}

uint32_t json_text_brackets(const struct json_text *t, bool is_object, uint32_t content,
                            bool may_be_empty)
{
    uint32_t close = graph_then(t->graph, t->line, graph_string(t->graph, is_object ? "}" : "]"));
    uint32_t ways[2];
    size_t n = 0;
    if (may_be_empty)
        ways[n++] = close;
    if (content != UINT32_MAX)
        ways[n++] = GRAPH_SEQUENCE(t->graph, t->line, content, close);
    return graph_then(t->graph, graph_string(t->graph, is_object ? "{" : "["),
                      graph_either(t->graph, ways, n));
}

void json_text_open(struct json_text *t, struct graph *g)
{
    *t = (struct json_text){ .graph = g };
    uint32_t indent = graph_then(g, graph_string(g, "\n"),
                                 graph_counted(g, graph_string(g, " "), 0, INDENT));
    uint32_t space = graph_string(g, " ");
    t->line = graph_optional(g, indent);
    t->colon = graph_then(g, graph_string(g, ":"), graph_optional(g, space));
    t->comma = graph_then(g, graph_string(g, ","), graph_or(g, t->line, space));
    t->quote = graph_string(g, "\"");
    t->character = free_character(g);
    t->any_string = json_text_string(t, 0, UINT32_MAX);
    t->number = any_number(g);
    t->integer = json_text_integer(t, INT64_MIN, INT64_MAX);
    t->null = graph_string(g, "null");
    t->yes = graph_string(g, "true");
    t->no = graph_string(g, "false");
    uint32_t any = graph_reserve(g), lists[2];
    uint32_t member = GRAPH_SEQUENCE(g, t->any_string, t->colon, any);
    for (size_t i = 0; i < 2; i++) {
        uint32_t one = i ? any : member;
        lists[i] = json_text_brackets(t, i == 0, graph_then(g, one, graph_many(g,
                                      graph_then(g, t->comma, one))), true);
    }
    t->any_object = lists[0];
    graph_fill(g, any, graph_either(g, (const uint32_t[]){ lists[0], lists[1], t->any_string,
                                    t->number, t->null, t->yes, t->no }, 7));
}
