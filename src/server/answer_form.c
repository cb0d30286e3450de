#include "server/answer_form.h"

#include <string.h>

#include "chat/value_json.h"

/* Or is it what the grammar refuses? */
static bool is_strict(const struct value *tool)
{
    const struct value *function = value_member(tool, "function");
    const struct value *strict = function ? value_member(function, "strict") : NULL;
    return strict && strict->kind != VALUE_NONE
        && !(strict->kind == VALUE_BOOLEAN && !strict->of.boolean);
}

static bool any_strict(const struct value *tools)
{
    for (size_t i = 0; tools && i < tools->of.list->n; i++)
        if (is_strict(&tools->of.list->items[i]))
            return true;
    return false;
}

bool answer_form_read(struct answer_form *a, const struct fields *f, const struct value *tools,
                      bool can_end)
{
    const struct value *format = fields_get(f, "response_format"), *choice = NULL;
    const struct value *type = format ? value_member(format, "type") : NULL;
    if (tools)
        choice = fields_get(f, "tool_choice");
    bool must_call = choice && !value_is_string(choice, "none") && !value_is_string(choice, "auto");
    *a = (struct answer_form){
        .response_format = format, .structured_outputs = fields_get(f, "structured_outputs"),
        .tools = tools, .tool_choice = choice,
    };
    a->demanded = (format && !(type && value_is_string(type, "text"))) || a->structured_outputs
               || must_call || any_strict(tools);
    return !a->demanded || can_end
        || problem_set(f->problem, 400, NULL, "the checkpoint names no token that ends an answer, "
                       "so no form can be demanded of it");
}

/* As text; *text stays NULL for NULL. */
static bool write_field(struct marked_text_builder *b, const char **text, const struct value *v,
                        struct workspace *w, struct error *err)
{
    if (v && !(value_json_write(b, v, -1, w, err) && buffer_append(&b->bytes, "", 1, err)))
        return false;
    *text = v ? b->bytes.data : NULL;
    return true;
}

/* The field that a message begins with. */
static const char *field_of(const char *message)
{
    static const char *const names[] = { "response_format", "structured_outputs", "tools",
                                         "tool_choice" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t n = strlen(names[i]);
        if (strncmp(message, names[i], n) == 0 && strchr(".[: ", message[n]))
            return names[i];
    }
    return NULL;
}

bool answer_form_compile(struct answer_form *a, bool thinks, const struct token_trie *trie,
                         struct workspace *w, struct problem *p)
{
    struct marked_text_builder texts[4] = { 0 };
    struct grammar_request r = { .starts_in_thinking = thinks };
    if (a->grammars[thinks])
        return true;
    bool ok = write_field(&texts[0], &r.response_format, a->response_format, w, &p->err)
           && write_field(&texts[1], &r.structured_outputs, a->structured_outputs, w, &p->err)
           && write_field(&texts[2], &r.tools, a->tools, w, &p->err)
           && write_field(&texts[3], &r.tool_choice, a->tool_choice, w, &p->err)
           && grammar_open(&a->grammars[thinks], &r, trie, &p->err);
    for (size_t i = 0; i < 4; i++)
        marked_text_builder_free(&texts[i]);
    return ok || problem_say(p, 400, field_of(p->err.message));
}

void answer_form_close(struct answer_form *a)
{
    for (size_t i = 0; i < 2; i++)
        grammar_close(a->grammars[i]);
}
