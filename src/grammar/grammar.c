#include "grammar/grammar.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "grammar/dfa.h"
#include "grammar/schema.h"
#include "grammar/tool_calls.h"

#define FREE UINT32_MAX         /* a content without form */

struct grammar {
    struct graph graph;
    uint32_t start;
};

struct fields {
    cJSON *response_format, *structured_outputs, *tools, *tool_choice;
};

/* While a request is read. */
struct reader {
    struct graph *graph;
    struct json_text text;
    const struct token_trie *trie;
    struct tool_calls calls;
    uint32_t content;           /* of response_format or structured_outputs */
};

static bool parse_field(cJSON **out, const char *text, const char *name, struct error *err)
{
    *out = text ? json_parse(text, strlen(text), name, err) : NULL;
    if (!*out)
        return !text;
    if (cJSON_IsNull(*out)) {
        cJSON_Delete(*out);
        *out = NULL;
    }
    return true;
}

static bool compile_schema(struct reader *r, const cJSON *root, const char *name, bool strict,
                           uint32_t *node, struct error *err)
{
    struct schema *s = schema_open(&r->text, root, name, strict, err);
    bool ok = s && schema_compile(s, SCHEMA_JSON, node, err);
    schema_close(s);
    return ok;
}

/* ---- response_format ------------------------------------------------------------- */

static bool read_response_format(struct reader *r, const cJSON *format, uint32_t *content,
                                 struct error *err)
{
    const cJSON *type = json_get(format, "type"), *wrapped = json_get_value(format, "json_schema");
    const cJSON *schema = json_get_value(wrapped, "schema");
    const cJSON *strict = json_get_value(wrapped, "strict");
    const char *name = cJSON_IsString(type) ? type->valuestring : "";
    if (!format || strcmp(name, "text") == 0)
        return true;
    if (strcmp(name, "json_object") == 0) {
        *content = r->text.any_object;
        return true;
    }
    if (strcmp(name, "json_schema") != 0)
        return error_set(err, "response_format.type: expected text, json_object or json_schema");
    if (!schema)
        return error_set(err, "response_format.json_schema.schema: expected a JSON schema");
    if (strict && !cJSON_IsBool(strict))
        return error_set(err, "response_format.json_schema.strict: expected true or false");
    return compile_schema(r, schema, "response_format.json_schema.schema", cJSON_IsTrue(strict),
                          content, err);
}

/* ---- structured_outputs ---------------------------------------------------------- */

static bool read_json(struct reader *r, const cJSON *schema, uint32_t *content, struct error *err)
{
    static const char name[] = "structured_outputs.json";
    if (!cJSON_IsString(schema))
        return compile_schema(r, schema, name, false, content, err);
    cJSON *parsed = json_parse(schema->valuestring, strlen(schema->valuestring), name, err);
    bool ok = parsed && compile_schema(r, parsed, name, false, content, err);
    cJSON_Delete(parsed);
    return ok;
}

static bool read_regex(struct reader *r, const cJSON *regex, uint32_t *content, struct error *err)
{
    struct dfa d = { 0 };
    if (!cJSON_IsString(regex))
        return error_set(err, "structured_outputs.regex: expected a string");
    bool ok = dfa_of_pattern(&d, regex->valuestring, strlen(regex->valuestring), true, err);
    if (ok)
        *content = dfa_node(r->graph, &d, 1, 0, UINT32_MAX, CHARSET_RAW);
    else
        error_prefix(err, "structured_outputs.regex: ");
    dfa_free(&d);
    return ok;
}

static bool read_choice(struct reader *r, const cJSON *choice, uint32_t *content,
                        struct error *err)
{
    uint32_t tree = graph_tree(r->graph);
    if (!cJSON_IsArray(choice) || !choice->child)
        return error_set(err, "structured_outputs.choice: expected a list of strings");
    for (const cJSON *c = choice->child; c; c = c->next) {
        if (!cJSON_IsString(c))
            return error_set(err, "structured_outputs.choice: expected strings alone");
        graph_add_text(r->graph, tree, c->valuestring, strlen(c->valuestring));
    }
    *content = graph_bytes(r->graph, tree);
    return true;
}

static bool read_json_object(struct reader *r, const cJSON *value, uint32_t *content,
                             struct error *err)
{
    if (!cJSON_IsTrue(value))
        return error_set(err, "structured_outputs.json_object: expected true");
    *content = r->text.any_object;
    return true;
}

static bool read_structured_outputs(struct reader *r, const cJSON *outputs, uint32_t *content,
                                    struct error *err)
{
    static const struct {
        const char *name;
        bool (*read)(struct reader *, const cJSON *, uint32_t *, struct error *);
    } kinds[] = { { "json", read_json }, { "regex", read_regex }, { "choice", read_choice },
                  { "json_object", read_json_object } };
    static const char *const refused[] = { "grammar", "structural_tag", "whitespace_pattern",
                                           "disable_any_whitespace",
                                           "disable_additional_properties" };
    size_t n = 0;
    if (outputs && !cJSON_IsObject(outputs))
        return error_set(err, "structured_outputs: expected an object");
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const cJSON *value = json_get_value(outputs, refused[i]);
        if (value && !cJSON_IsFalse(value))
            return error_set(err, "structured_outputs.%s: not supported", refused[i]);
    }
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const cJSON *value = json_get_value(outputs, kinds[i].name);
        if (!value || (i == 3 && cJSON_IsFalse(value)))
            continue;
        if (n++ > 0)
            return error_set(err, "structured_outputs: expected one of json, regex, choice and"
                             " json_object");
        if (!kinds[i].read(r, value, content, err))
            return false;
    }
    return n == 1 || !outputs
        || error_set(err, "structured_outputs: expected json, regex, choice or json_object");
}

/* ---- tool_choice ----------------------------------------------------------------- */

enum tool_choice { CHOICE_NONE, CHOICE_AUTO, CHOICE_REQUIRED, CHOICE_NAMED };

static bool read_tool_choice(const struct fields *f, enum tool_choice *choice, const char **name,
                             struct error *err)
{
    static const char *const words[] = { "none", "auto", "required" };
    const cJSON *own = json_get(json_get(f->tool_choice, "function"), "name");
    *choice = f->tools ? CHOICE_AUTO : CHOICE_NONE;
    if (!f->tool_choice)
        return true;
    if (cJSON_IsString(own)) {
        *choice = CHOICE_NAMED;
        *name = own->valuestring;
    } else {
        size_t i = 0;
        while (i < 3 && (!cJSON_IsString(f->tool_choice)
                         || strcmp(f->tool_choice->valuestring, words[i]) != 0))
            i++;
        if (i == 3)
            return error_set(err, "tool_choice: expected none, auto, required, or a function");
        *choice = (enum tool_choice)i;
    }
    return *choice == CHOICE_NONE || f->tools
        || error_set(err, "tool_choice: there are no tools to choose from");
}

/* ---- all together ---------------------------------------------------------------- */

/* The start of the answer; FREE if nothing binds it. */
static bool read_fields(struct reader *r, const struct fields *f, bool thinking, uint32_t *start,
                        struct error *err)
{
    enum tool_choice choice;
    const char *name = NULL;
    uint32_t content = r->content = FREE;
    if (f->response_format && f->structured_outputs)
        return error_set(err, "structured_outputs: response_format is there, too");
    if (!read_tool_choice(f, &choice, &name, err)
        || !tool_calls_open(&r->calls, &r->text, r->trie, f->tools, err)
        || !read_response_format(r, f->response_format, &content, err)
        || !read_structured_outputs(r, f->structured_outputs, &content, err))
        return false;
    r->content = content;
    if (name && !tool_calls_has(&r->calls, name))
        return error_set(err, "tool_choice: there is no function '%s' among the tools", name);
    if (choice >= CHOICE_REQUIRED)
        content = tool_calls_forced(&r->calls, name);
    else if (choice == CHOICE_AUTO && content != FREE)
        content = graph_or(r->graph, content, tool_calls_forced(&r->calls, NULL));
    if (content == FREE)
        *start = choice == CHOICE_AUTO && r->calls.any_strict ? r->calls.free : FREE;
    else
        *start = thinking ? tool_calls_thinking(&r->calls, content) : content;
    return true;
}

/* Takes out what leads to nothing; refuses what has no instance. */
static bool finish(struct reader *r, const struct fields *f, struct error *err)
{
    const char *field = f->response_format ? "response_format"
                      : f->structured_outputs ? "structured_outputs" : "tools";
    if (!graph_finish(r->graph, err))
        return error_prefix(err, "%s: ", field);
    if (r->content != FREE && graph_is_empty(r->graph, r->content))
        return error_set(err, "%s: no value has this form", field);
    for (size_t i = 0; i < r->calls.n; i++)
        if (r->calls.functions[i].strict && graph_is_empty(r->graph, r->calls.functions[i].body))
            return error_set(err, "tools[%zu].function.parameters: no call has this form", i);
    return true;
}

bool grammar_open(struct grammar **g, const struct grammar_request *request,
                  const struct token_trie *trie, struct error *err)
{
    struct fields f = { 0 };
    struct reader r = { .trie = trie };
    struct grammar *new = *g = NULL;
    bool ok = parse_field(&f.response_format, request->response_format, "response_format", err)
           && parse_field(&f.structured_outputs, request->structured_outputs,
                          "structured_outputs", err)
           && parse_field(&f.tools, request->tools, "tools", err)
           && parse_field(&f.tool_choice, request->tool_choice, "tool_choice", err)
           && (new = mem_array(1, sizeof *new, "grammar", err)) != NULL;
    if (ok) {
        r.graph = &new->graph;
        json_text_open(&r.text, r.graph);
        ok = read_fields(&r, &f, request->starts_in_thinking, &new->start, err);
    }
    ok = ok && (new->start == FREE || finish(&r, &f, err));
    if (ok && new->start != FREE) {
        *g = new;
        new = NULL;
    }
    grammar_close(new);
    tool_calls_close(&r.calls);
    cJSON_Delete(f.response_format);
    cJSON_Delete(f.structured_outputs);
    cJSON_Delete(f.tools);
    cJSON_Delete(f.tool_choice);
    return ok;
}

void grammar_close(struct grammar *g)
{
    if (g)
        graph_free(&g->graph);
    free(g);
}

struct matcher *grammar_match(const struct grammar *g, const struct token_trie *trie,
                              const int32_t *end_ids, size_t n_end_ids, struct error *err)
{
    return matcher_new(&g->graph, g->start, trie, end_ids, n_end_ids, err);
}
