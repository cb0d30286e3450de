#include "grammar/tool_calls.h"

#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/json.h"
#include "grammar/schema.h"

/* ---- what every form is made of -------------------------------------------------- */

static uint32_t tag_node(const struct tool_calls *c, enum token_trie_tag tag)
{
    const char bytes[2] = { (char)GRAPH_TAG, (char)tag };
    return c->trie->has_tag[tag] ? graph_text(c->text->graph, bytes, 2)
                                 : graph_string(c->text->graph, token_trie_tag_text(tag));
}

static uint32_t with_text(struct graph *g, const char *before, const char *name, const char *after)
{
    struct buffer b = { 0 };
    struct error err = { 0 };
    uint32_t node = 0;
    if (buffer_printf(&b, &err, "%s%s%s", before, name, after))
        node = graph_text(g, b.data, b.size);
    else
        graph_fail_with(g, &err);
    buffer_free(&b);
    return node;
}

/* Behind "<function=NAME>": the parameters and the end of the call, then free text. */
static uint32_t body_node(const struct tool_calls *c, const struct schema_member *members,
                          size_t n)
{
    struct graph *g = c->text->graph;
    uint32_t rest = GRAPH_SEQUENCE(g, graph_string(g, "</function>\n"),
                                   tag_node(c, TOKEN_TRIE_END_CALL), c->free);
    while (n-- > 0) {
        uint32_t with = GRAPH_SEQUENCE(g, with_text(g, "<parameter=", members[n].name, ">\n"),
                                       members[n].node, graph_string(g, "\n</parameter>\n"), rest);
        rest = members[n].required ? with : graph_or(g, with, rest);
    }
    return graph_then(g, graph_string(g, "\n"), rest);
}

/* ---- free text, which watches for calls of strict functions ---------------------- */

/* Where free text stands: nothing of a call, behind GRAPH_TAG, behind <tool_call> and white
 * space. */
struct watch {
    const struct tool_calls *calls;
    uint32_t none, tag, call;
};

/* What follows a byte that begins something: at most one node a byte. */
struct ways {
    uint32_t to[256];           /* 0: to `none` */
};

/* A state from which every byte leads on; the text may end there. */
static uint32_t state_node(struct graph *g, const struct ways *w, uint32_t none)
{
    uint32_t nodes[257];
    size_t n = 0;
    nodes[n++] = 0;             /* the end */
    for (size_t low = 0, high; low < 256; low = high) {
        for (high = low + 1; high < 256 && w->to[high] == w->to[low]; )
            high++;
        uint32_t byte = graph_one_byte(g, (uint8_t)low, (uint8_t)(high - 1));
        nodes[n++] = graph_then(g, byte, w->to[low] ? w->to[low] : none);
    }
    return graph_either(g, nodes, n);
}

/* The strict functions from `from` to before `to`, sorted by name, share their first `at` bytes. */
static uint32_t name_node(const struct watch *watch, struct tool_calls_function *const *sorted,
                          size_t from, size_t to, size_t at)
{
    struct ways w = { .to[GRAPH_TAG] = watch->tag };
    while (from < to) {
        uint8_t byte = (uint8_t)sorted[from]->name[at];
        size_t end = from + 1;
        while (end < to && (uint8_t)sorted[end]->name[at] == byte)
            end++;
        if (byte == 0)
            w.to['>'] = sorted[from]->body;
        else
            w.to[byte] = name_node(watch, sorted, from, end, at + 1);
        from = end;
    }
    return state_node(watch->calls->text->graph, &w, watch->none);
}

static int by_name(const void *a, const void *b)
{
    const struct tool_calls_function *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Behind <tool_call> and white space: "<function=" and the names. */
static void fill_call(const struct watch *watch)
{
    static const char opener[] = "<function=";
    const struct tool_calls *c = watch->calls;
    struct graph *g = c->text->graph;
    struct tool_calls_function **sorted = graph_array(g, c->n, sizeof *sorted);
    size_t n = 0;
    if (!sorted)
        return;
    for (size_t i = 0; i < c->n; i++)
        if (c->functions[i].strict)
            sorted[n++] = &c->functions[i];
    qsort(sorted, n, sizeof *sorted, by_name);
    uint32_t next = name_node(watch, sorted, 0, n, 0);
    free(sorted);
    for (size_t i = strlen(opener); i-- > 0; ) {
        struct ways w = { .to[GRAPH_TAG] = watch->tag };
        w.to[(uint8_t)opener[i]] = next;
        if (i == 0)
            w.to[' '] = w.to['\t'] = w.to['\n'] = w.to['\r'] = watch->call;
        next = state_node(g, &w, watch->none);
    }
    graph_fill(g, watch->call, next);
}

/* Fills `none`, the beginning of free text; behind </think> comes end_think (0: it is text). */
static void fill_free(const struct tool_calls *c, uint32_t none, uint32_t end_think)
{
    struct graph *g = c->text->graph;
    struct watch watch = { c, none, graph_reserve(g), graph_reserve(g) };
    struct ways plain = { .to[GRAPH_TAG] = watch.tag }, tag = { 0 };
    graph_fill(g, none, state_node(g, &plain, none));
    tag.to[TOKEN_TRIE_END_THINK] = end_think;
    tag.to[TOKEN_TRIE_CALL] = c->any_strict ? watch.call : 0;
    graph_fill(g, watch.tag, state_node(g, &tag, none));
    if (c->any_strict)
        fill_call(&watch);
}

uint32_t tool_calls_thinking(const struct tool_calls *c, uint32_t content)
{
    struct graph *g = c->text->graph;
    uint32_t lines = graph_counted(g, graph_string(g, "\n"), 0, 2), thinking = graph_reserve(g);
    if (!c->trie->has_tag[TOKEN_TRIE_END_THINK])
        graph_fail(g, "the answer begins in thinking, but the tokenizer has no token </think>");
    fill_free(c, thinking, graph_then(g, lines, content));
    return thinking;
}

uint32_t tool_calls_forced(const struct tool_calls *c, const char *name)
{
    struct graph *g = c->text->graph;
    uint32_t *ways = graph_array(g, c->n, sizeof *ways);
    size_t n = 0;
    if (!ways)
        return 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct tool_calls_function *f = &c->functions[i];
        uint32_t rest = f->strict ? f->body : graph_then(g, graph_string(g, "\n"), c->free);
        if (!name || strcmp(f->name, name) == 0)
            ways[n++] = graph_then(g, with_text(g, "", f->name, ">"), rest);
    }
    uint32_t node = GRAPH_SEQUENCE(g, tag_node(c, TOKEN_TRIE_CALL),
                                   graph_string(g, "\n<function="), graph_either(g, ways, n));
    free(ways);
    return node;
}

/* ---- the request's list ---------------------------------------------------------- */

bool tool_calls_has(const struct tool_calls *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->functions[i].name, name) == 0)
            return true;
    return false;
}

static bool is_name(const cJSON *name)
{
    size_t n = cJSON_IsString(name) ? strlen(name->valuestring) : 0;
    for (size_t i = 0; i < n; i++)
        if (!ascii_letter(name->valuestring[i]) && !ascii_digit(name->valuestring[i])
            && !strchr("_.-", name->valuestring[i]))
            return false;
    return n >= 1 && n <= 64;
}

static bool add_function(struct tool_calls *c, const cJSON *tool, struct error *err)
{
    const cJSON *function = json_get(tool, "function"), *name = json_get(function, "name");
    const cJSON *strict = json_get_value(function, "strict");
    if (!is_name(name))
        return error_set(err, "tools[%zu].function.name: expected 1 to 64 letters, digits, '_', '.'"
                         " or '-'", c->n);
    if (tool_calls_has(c, name->valuestring))
        return error_set(err, "tools[%zu].function.name: '%s' occurs twice", c->n,
                         name->valuestring);
    if (strict && !cJSON_IsBool(strict))
        return error_set(err, "tools[%zu].function.strict: expected true or false", c->n);
    if (cJSON_IsTrue(strict) && !c->trie->has_tag[TOKEN_TRIE_CALL])
        return error_set(err, "tools[%zu].function.strict: the tokenizer has no token <tool_call>",
                         c->n);
    c->any_strict = c->any_strict || cJSON_IsTrue(strict);
    c->functions[c->n++] = (struct tool_calls_function){ .name = name->valuestring,
                                                         .strict = cJSON_IsTrue(strict) };
    return true;
}

static bool check_keys(const struct schema_member *members, size_t n, const char *field,
                       struct error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!*members[i].name || strpbrk(members[i].name, ">\n\r"))
            return error_set(err, "%s: the name of a parameter is empty or has '>' or a line end",
                             field);
    return true;
}

/* The body of strict function i of the list. */
static bool build_body(struct tool_calls *c, size_t i, const cJSON *tool, struct error *err)
{
    const cJSON *parameters = json_get_value(json_get(tool, "function"), "parameters");
    struct schema_member *members = NULL;
    char field[64];
    size_t n = 0;
    format_text(field, sizeof field, "tools[%zu].function.parameters", i);
    struct schema *s = schema_open(c->text, parameters, field, true, err);
    bool ok = s && (!parameters || (schema_compile_parameters(s, &members, &n, err)
                                    && check_keys(members, n, field, err)));
    if (ok)
        graph_fill(c->text->graph, c->functions[i].body, body_node(c, members, n));
    free(members);
    schema_close(s);
    return ok;
}

bool tool_calls_open(struct tool_calls *c, struct json_text *text, const struct token_trie *trie,
                     const cJSON *tools, struct error *err)
{
    struct graph *g = text->graph;
    size_t n = (size_t)cJSON_GetArraySize(tools);
    *c = (struct tool_calls){ .text = text, .trie = trie };
    if (tools && (!cJSON_IsArray(tools) || n == 0 || n > TOOL_CALLS_MAX))
        return error_set(err, "tools: expected a list of 1 to %d functions", TOOL_CALLS_MAX);
    c->functions = mem_array(n, sizeof *c->functions, "tools", err);
    if (!c->functions)
        return false;
    for (const cJSON *t = tools ? tools->child : NULL; t; t = t->next)
        if (!add_function(c, t, err))
            return false;
    for (size_t i = 0; i < n; i++)
        if (c->functions[i].strict)
            c->functions[i].body = graph_reserve(g);
    c->free = graph_reserve(g);
    fill_free(c, c->free, 0);
    const cJSON *tool = tools ? tools->child : NULL;
    for (size_t i = 0; i < n; i++, tool = tool->next)
        if (c->functions[i].strict && !build_body(c, i, tool, err))
            return false;
    return true;
}

void tool_calls_close(struct tool_calls *c)
{
    free(c->functions);
    *c = (struct tool_calls){ 0 };
}
