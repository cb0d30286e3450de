#include "server/tools.h"

#include <string.h>

#include "base/format.h"
#include "chat/messages.h"
#include "chat/value_json.h"

#define TOOL_BYTES ((size_t)64 << 10)   /* of a name and its schema */

static const struct value *name_of(const struct value *tool)
{
    const struct value *function = value_member(tool, "function");
    return function ? value_member(function, "name") : NULL;
}

/* A '>' or a line end in a name would break the form of calls. */
static bool check_tool(const struct value *tool, size_t i, const struct fields *f)
{
    const struct value *name = name_of(tool);
    const struct value *strict = value_member(value_member(tool, "function"), "strict");
    const struct marked_text *t = &name->of.string;
    struct marked_text_builder json = { .limit = TOOL_BYTES };
    bool plain = t->n >= 1 && t->n <= 64;
    for (size_t c = 0; plain && c < t->n; c++)
        plain = ascii_letter(t->bytes[c]) || ascii_digit(t->bytes[c])
             || memchr("_.-", t->bytes[c], 3);
    if (!plain)
        return problem_set(f->problem, 400, "tools", "tools[%zu].function.name is '%.*s', expected "
                           "1 to 64 of A-Z, a-z, 0-9, _, . and -", i, (int)size_min(t->n, 80),
                           t->bytes);
    if (strict && strict->kind == VALUE_BOOLEAN && strict->of.boolean)
        return problem_set(f->problem, 400, "tools", "tools[%zu].function.strict is true: calls "
                           "cannot be held to a schema by this server", i);
    bool fits = value_json_write(&json, tool, -1, f->w, NULL);
    marked_text_builder_free(&json);
    return fits || problem_set(f->problem, 400, "tools", "tools[%zu] has more than %zu bytes", i,
                               TOOL_BYTES);
}

static bool read_tools(struct job *j, const struct fields *f)
{
    const struct value *given = fields_get(f, "tools");
    struct value *tools = workspace_take(&j->w, sizeof *tools, &f->problem->err);
    if (!tools)
        return problem_say(f->problem, 503, NULL);
    *tools = value_none();
    j->chat.rules.tools = tools;
    if (!given)
        return true;
    if (!messages_normalize_tools(tools, given, &j->w, &f->problem->err))
        return problem_say(f->problem, 400, "tools");
    if (tools->of.list->n == 0)
        return problem_set(f->problem, 400, "tools", "tools is an empty list");
    for (size_t i = 0; i < tools->of.list->n; i++)
        if (!check_tool(&tools->of.list->items[i], i, f))
            return false;
    return true;
}

/* Calls of one function, or of any if name is NULL. */
static bool force_calls(struct job *j, const struct marked_text *name, const struct tokenizer *t,
                        struct problem *p)
{
    const struct value_list *list = j->chat.rules.tools->of.list;
    for (size_t i = 0; i < list->n; i++) {
        const struct marked_text *own = &name_of(&list->items[i])->of.string;
        char text[160];
        if (name && !marked_text_equal(name, own))
            continue;
        int n = format_text(text, sizeof text, "\n\n<tool_call>\n<function=%.*s>\n", (int)own->n,
                            own->bytes);
        if (!forced_add(&j->chat.calls_after_thinking, t, text, (size_t)n, &j->w, &p->err)
            || !forced_add(&j->chat.calls, t, text + 2, (size_t)n - 2, &j->w, &p->err))
            return problem_say(p, 500, NULL);
    }
    return j->chat.calls.n > 0
        || problem_set(p, 400, "tool_choice", "tool_choice names '%.*s', which is not among tools",
                       (int)size_min(name->n, 80), name->bytes);
}

/* {"type": "function", "function": {"name"}}. */
static bool read_named(struct job *j, const struct value *v, const struct fields *f,
                       const struct request_rules *rules)
{
    const struct value *type = value_member(v, "type"), *name = name_of(v);
    if (v->kind != VALUE_MAPPING || (type && !value_is_string(type, "function")) || !name
        || name->kind != VALUE_STRING)
        return problem_set(f->problem, 400, "tool_choice", "tool_choice is neither none, auto nor "
                           "required, nor an object that names a function");
    j->chat.named = true;
    return force_calls(j, &name->of.string, rules->tokenizer, f->problem);
}

static bool read_choice(struct job *j, const struct fields *f, const struct request_rules *rules,
                        const struct chat_rules *chat)
{
    const struct value *v = fields_get(f, "tool_choice");
    bool has_tools = j->chat.rules.tools->kind == VALUE_LIST;
    bool none = v && value_is_string(v, "none"), required = v && value_is_string(v, "required");
    if (none || (!v && !has_tools)) {
        j->chat.rules.drop_calls = none;
        return true;
    }
    if (!has_tools)
        return problem_set(f->problem, 400, "tool_choice", "tool_choice needs tools");
    if (required)
        return force_calls(j, NULL, rules->tokenizer, f->problem);
    if (v && !value_is_string(v, "auto"))
        return read_named(j, v, f, rules);
    return chat->auto_calls
        || problem_set(f->problem, 400, "tool_choice", "tool_choice auto needs a server with "
                       "--enable-auto-tool-choice and --tool-call-parser");
}

bool tools_read(struct job *j, const struct fields *f, const struct request_rules *rules,
                const struct chat_rules *chat)
{
    bool parallel = true;
    if (!read_tools(j, f) || !read_choice(j, f, rules, chat)
        || !fields_flag(f, "parallel_tool_calls", &parallel))
        return false;
    j->chat.one_call = !parallel;
    return true;
}
