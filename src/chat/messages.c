#include "chat/messages.h"

#include <string.h>

#include "chat/value_json.h"

static struct marked_text word(const char *s)
{
    return marked_text_plain(s, strlen(s));
}

static bool set(struct value *mapping, const char *key, const struct value *v, struct workspace *w,
                struct error *err)
{
    const struct marked_text name = word(key);
    return value_mapping_set(mapping->of.mapping, &name, v, w, err);
}

/* ---- content ------------------------------------------------------------------ */

/* The text of a part; false for one that is none. */
static bool part_text(const struct value **text, const struct value *part, size_t message,
                      size_t i, struct error *err)
{
    static const char *const kinds[] = { "text", "refusal", "thinking" };
    if (part->kind == VALUE_STRING) {
        *text = part;
        return true;
    }
    const struct value *type = value_member(part, "type");
    if (part->kind != VALUE_MAPPING)
        return error_set(err, "messages[%zu].content[%zu] is %s, expected an object", message, i,
                         value_type(part));
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const struct value *of = value_member(part, kinds[k]);
        if (!(type ? value_is_string(type, kinds[k])
                         || (k == 0 && value_is_string(type, "input_text"))
                   : of != NULL))
            continue;
        if (!of || of->kind != VALUE_STRING)
            return error_set(err, "messages[%zu].content[%zu].%s is not a string", message, i,
                             kinds[k]);
        *text = of;
        return true;
    }
    const struct marked_text shown =
        type && type->kind == VALUE_STRING ? type->of.string : word("?");
    return error_set(err,
                     "messages[%zu].content[%zu]: a part of type '%.*s' is not supported: this "
                     "program reads checkpoints without their encoders of images, video and sound",
                     message, i, (int)size_min(shown.n, 100), shown.bytes);
}

static bool join_parts(struct value *out, const struct value_list *parts, size_t message,
                       struct workspace *w, struct error *err)
{
    struct marked_text_builder b = { .limit = w->bytes_limit };
    struct marked_text joined;
    const struct value *text;
    bool ok = true;
    for (size_t i = 0; ok && i < parts->n; i++)
        ok = part_text(&text, &parts->items[i], message, i, err)
          && (i == 0 || marked_text_append_bytes(&b, "\n", 1, true, err))
          && marked_text_append(&b, &text->of.string, err);
    if (!ok || !marked_text_finish(&joined, &b, w, err)) {
        marked_text_builder_free(&b);
        return false;
    }
    *out = value_string(joined);
    return true;
}

static bool list_parts(struct value *out, const struct value_list *parts, size_t message,
                       struct workspace *w, struct error *err)
{
    const struct value type = value_string(word("text"));
    const struct value *text;
    if (!value_list_make(out, VALUE_LIST, parts->n, w, err))
        return false;
    for (size_t i = 0; i < parts->n; i++) {
        struct value *item = &out->of.list->items[i];
        if (!part_text(&text, &parts->items[i], message, i, err)
            || !value_mapping_make(item, VALUE_MAPPING, w, err)
            || !set(item, "type", &type, w, err) || !set(item, "text", text, w, err))
            return false;
    }
    return true;
}

static bool normalize_content(struct value *out, const struct value *content, size_t message,
                              bool joined, struct workspace *w, struct error *err)
{
    *out = *content;
    if (content->kind == VALUE_LIST)
        return joined ? join_parts(out, content->of.list, message, w, err)
                      : list_parts(out, content->of.list, message, w, err);
    return content->kind == VALUE_STRING || content->kind == VALUE_NONE
        || error_set(err, "messages[%zu].content is %s, expected a string or a list of parts",
                     message, value_type(content));
}

/* ---- tool calls ------------------------------------------------------------------ */

/* Arguments as text become an object: an empty one if they are not JSON of an object, because a
 * call that was cut comes back so. */
static bool normalize_arguments(struct value *out, const struct value *given, struct workspace *w,
                                struct error *err)
{
    *out = *given;
    if (given->kind == VALUE_MAPPING)
        return true;
    struct error ignored = { 0 };
    if (given->kind == VALUE_STRING
        && value_json_read(out, given->of.string.bytes, given->of.string.n, "arguments", true, w,
                           &ignored)
        && out->kind == VALUE_MAPPING)
        return true;
    return value_mapping_make(out, VALUE_MAPPING, w, err);
}

static bool copy_mapping(struct value *out, const struct value *from, struct workspace *w,
                         struct error *err)
{
    if (!value_mapping_make(out, VALUE_MAPPING, w, err))
        return false;
    for (size_t i = 0; i < from->of.mapping->n; i++) {
        const struct value_entry *e = &from->of.mapping->entries[i];
        if (!value_mapping_set(out->of.mapping, &e->key, &e->value, w, err))
            return false;
    }
    return true;
}

static bool normalize_call(struct value *out, const struct value *given, size_t message, size_t i,
                           struct workspace *w, struct error *err)
{
    const struct value *function = value_member(given, "function");
    const struct value *name = function ? value_member(function, "name") : NULL;
    if (!name || name->kind != VALUE_STRING)
        return error_set(err, "messages[%zu].tool_calls[%zu] has no function.name", message, i);
    const struct value *arguments = value_member(function, "arguments");
    const struct value none = value_none();
    struct value copy, object;
    return copy_mapping(out, given, w, err) && copy_mapping(&copy, function, w, err)
        && normalize_arguments(&object, arguments ? arguments : &none, w, err)
        && set(&copy, "arguments", &object, w, err) && set(out, "function", &copy, w, err);
}

static bool normalize_calls(struct value *out, const struct value *given, size_t message,
                            struct workspace *w, struct error *err)
{
    if (given->kind != VALUE_LIST)
        return error_set(err, "messages[%zu].tool_calls is %s, expected a list", message,
                         value_type(given));
    if (!value_list_make(out, VALUE_LIST, given->of.list->n, w, err))
        return false;
    for (size_t i = 0; i < given->of.list->n; i++)
        if (!normalize_call(&out->of.list->items[i], &given->of.list->items[i], message, i, w, err))
            return false;
    return true;
}

/* ---- messages ---------------------------------------------------------------------- */

static bool set_role(struct value *out, const struct value *role, size_t message,
                     struct workspace *w, struct error *err)
{
    struct value system = value_string(word("system"));
    if (!role || role->kind != VALUE_STRING)
        return error_set(err, "messages[%zu] has no role", message);
    return set(out, "role", value_is_string(role, "developer") ? &system : role, w, err);
}

/* What reasoned before: `reasoning`, else reasoning_content, under the name that templates read. */
static bool set_reasoning(struct value *out, const struct value *given, struct workspace *w,
                          struct error *err)
{
    const struct value *reasoning = value_member(given, "reasoning");
    if (!reasoning || reasoning->kind != VALUE_STRING)
        reasoning = value_member(given, "reasoning_content");
    return !reasoning || reasoning->kind != VALUE_STRING
        || set(out, "reasoning_content", reasoning, w, err);
}

static bool set_calls(struct value *out, const struct value *given, size_t message,
                      struct workspace *w, struct error *err)
{
    const struct value *calls = value_member(given, "tool_calls");
    struct value made;
    if (!calls || calls->kind == VALUE_NONE
        || (calls->kind == VALUE_LIST && calls->of.list->n == 0))
        return true;
    return normalize_calls(&made, calls, message, w, err) && set(out, "tool_calls", &made, w, err);
}

static bool normalize_message(struct value *out, const struct value *given, size_t message,
                              const struct messages_rules *rules, struct workspace *w,
                              struct error *err)
{
    static const char *const handled[] = { "role", "content", "reasoning", "reasoning_content",
                                           "tool_calls" };
    if (given->kind != VALUE_MAPPING)
        return error_set(err, "messages[%zu] is %s, expected an object", message,
                         value_type(given));
    const struct value *role = value_member(given, "role");
    const struct value *content = value_member(given, "content");
    bool joined = !rules->parts || (role && value_is_string(role, "tool"));
    struct value made;
    if (!value_mapping_make(out, VALUE_MAPPING, w, err) || !set_role(out, role, message, w, err))
        return false;
    if (content && (!normalize_content(&made, content, message, joined, w, err)
                    || !set(out, "content", &made, w, err)))
        return false;
    if (!set_reasoning(out, given, w, err) || !set_calls(out, given, message, w, err))
        return false;
    for (size_t i = 0; i < given->of.mapping->n; i++) {
        const struct value_entry *e = &given->of.mapping->entries[i];
        bool other = true;
        for (size_t k = 0; k < sizeof handled / sizeof *handled; k++)
            other = other && !marked_text_is(&e->key, handled[k]);
        if (other && !value_mapping_set(out->of.mapping, &e->key, &e->value, w, err))
            return false;
    }
    return true;
}

static bool is_system(const struct value *message)
{
    return value_is_string(value_member(message, "role"), "system");
}

/* The text of a system message that was normalized. */
static bool append_system(struct marked_text_builder *b, const struct value *message, size_t i,
                          struct workspace *w, struct error *err)
{
    const struct value *content = value_member(message, "content");
    struct value joined;
    if (!content || content->kind == VALUE_NONE)
        return true;
    return normalize_content(&joined, content, i, true, w, err)
        && (b->bytes.size == 0 || marked_text_append_bytes(b, "\n\n", 2, true, err))
        && marked_text_append(b, &joined.of.string, err);
}

/* All system messages become one in front, with an empty line between them. */
static bool merge_system(struct value *list, struct workspace *w, struct error *err)
{
    struct marked_text_builder b = { .limit = w->bytes_limit };
    struct marked_text text;
    struct value_list *l = list->of.list;
    size_t kept = 0, n_system = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < l->n; i++)
        if (is_system(&l->items[i])) {
            ok = append_system(&b, &l->items[i], i, w, err);
            n_system++;
        }
    if (!ok || !marked_text_finish(&text, &b, w, err)) {
        marked_text_builder_free(&b);
        return false;
    }
    if (n_system == 0)
        return true;
    struct value merged, first;
    const struct value role = value_string(word("system")), content = value_string(text);
    if (!value_list_make(&merged, VALUE_LIST, l->n - n_system + 1, w, err)
        || !value_mapping_make(&first, VALUE_MAPPING, w, err) || !set(&first, "role", &role, w, err)
        || !set(&first, "content", &content, w, err))
        return false;
    merged.of.list->items[kept++] = first;
    for (size_t i = 0; i < l->n; i++)
        if (!is_system(&l->items[i]))
            merged.of.list->items[kept++] = l->items[i];
    *list = merged;
    return true;
}

bool messages_normalize(struct value *out, const struct value *given,
                        const struct messages_rules *rules, struct workspace *w,
                        struct error *err)
{
    if (given->kind != VALUE_LIST)
        return error_set(err, "messages: %s, expected a list of messages", value_type(given));
    const struct value_list *from = given->of.list;
    if (from->n == 0 || from->n > MESSAGES_MOST)
        return error_set(err, "messages: %zu messages, expected 1 to %d", from->n, MESSAGES_MOST);
    if (!value_list_make(out, VALUE_LIST, from->n, w, err))
        return false;
    for (size_t i = 0; i < from->n; i++)
        if (!normalize_message(&out->of.list->items[i], &from->items[i], i, rules, w, err))
            return false;
    return !rules->merge_system || merge_system(out, w, err);
}

/* ---- tools ---------------------------------------------------------------------------- */

/* The model sees them: the order of keys, and null for what is missing, are vLLM's
 * (vllm/entrypoints/generate/base/protocol.py). */
static bool normalize_tool(struct value *out, const struct value *given, size_t i,
                           struct workspace *w, struct error *err)
{
    static const char *const keys[] = { "name", "description", "parameters" };
    const struct value *function = value_member(given, "function"), *v;
    const struct value none = value_none();
    struct value type = value_string(word("function")), made;
    const struct value *name = function ? value_member(function, "name") : NULL;
    if (!name || name->kind != VALUE_STRING)
        return error_set(err, "tools[%zu] has no function.name", i);
    if (!value_mapping_make(out, VALUE_MAPPING, w, err) || !set(out, "type", &type, w, err)
        || !value_mapping_make(&made, VALUE_MAPPING, w, err))
        return false;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        v = value_member(function, keys[k]);
        if (!set(&made, keys[k], v ? v : &none, w, err))
            return false;
    }
    v = value_member(function, "strict");
    return (!v || v->kind == VALUE_NONE || set(&made, "strict", v, w, err))
        && set(out, "function", &made, w, err);
}

bool messages_normalize_tools(struct value *out, const struct value *given, struct workspace *w,
                              struct error *err)
{
    *out = *given;
    if (given->kind == VALUE_NONE)
        return true;
    if (given->kind != VALUE_LIST)
        return error_set(err, "tools: %s, expected a list", value_type(given));
    const struct value_list *from = given->of.list;
    if (from->n > MESSAGES_TOOLS)
        return error_set(err, "tools: %zu tools, expected at most %d", from->n, MESSAGES_TOOLS);
    if (!value_list_make(out, VALUE_LIST, from->n, w, err))
        return false;
    for (size_t i = 0; i < from->n; i++)
        if (!normalize_tool(&out->of.list->items[i], &from->items[i], i, w, err))
            return false;
    return true;
}
