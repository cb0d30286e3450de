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

static bool is_among(const struct value_list *tools, const struct marked_text *name)
{
    for (size_t i = 0; i < tools->n; i++)
        if (marked_text_equal(name, &name_of(&tools->items[i])->of.string))
            return true;
    return false;
}

/* {"type": "function", "function": {"name"}}. */
static bool read_named(struct job *j, const struct value *v, const struct fields *f)
{
    const struct value *type = value_member(v, "type"), *name = name_of(v);
    if (v->kind != VALUE_MAPPING || (type && !value_is_string(type, "function")) || !name
        || name->kind != VALUE_STRING)
        return problem_set(f->problem, 400, "tool_choice", "tool_choice is neither none, auto nor "
                           "required, nor an object that names a function");
    const struct marked_text *t = &name->of.string;
    j->chat.named = true;
    return is_among(j->chat.rules.tools->of.list, t)
        || problem_set(f->problem, 400, "tool_choice", "tool_choice names '%.*s', which is not "
                       "among tools", (int)size_min(t->n, 80), t->bytes);
}

static bool read_choice(struct job *j, const struct fields *f, const struct chat_rules *chat)
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
    if (v && !required && !value_is_string(v, "auto"))
        return read_named(j, v, f);
    return required || chat->auto_calls
        || problem_set(f->problem, 400, "tool_choice", "tool_choice auto needs a server with "
                       "--enable-auto-tool-choice and --tool-call-parser");
}

bool tools_read(struct job *j, const struct fields *f, const struct chat_rules *chat)
{
    bool parallel = true;
    if (!read_tools(j, f) || !read_choice(j, f, chat)
        || !fields_flag(f, "parallel_tool_calls", &parallel))
        return false;
    j->chat.one_call = !parallel;
    return true;
}
