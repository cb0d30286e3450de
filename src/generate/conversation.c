#include "generate/conversation.h"

#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "chat/messages.h"
#include "chat/value_json.h"

size_t conversation_text_bytes(const char *text, size_t n_bytes)
{
    return n_bytes || !text ? n_bytes : strlen(text);
}

struct prompt_request conversation_request(const struct surprisal_prompt_options *o)
{
    return (struct prompt_request){
        .messages = o->messages,
        .messages_bytes = conversation_text_bytes(o->messages, o->messages_bytes),
        .tools = o->tools, .tools_bytes = conversation_text_bytes(o->tools, o->tools_bytes),
        .kwargs = o->kwargs, .kwargs_bytes = conversation_text_bytes(o->kwargs, o->kwargs_bytes),
        .thinking = o->thinking == SURPRISAL_THINKING_ON ? PROMPT_THINKING_ON
                  : o->thinking == SURPRISAL_THINKING_OFF ? PROMPT_THINKING_OFF
                  : PROMPT_THINKING_DEFAULT,
        .no_generation_prompt = o->no_generation_prompt,
        .continue_final_message = o->continue_final_message,
        .merge_system_messages = o->merge_system_messages,
    };
}

bool conversation_check(const struct surprisal_chat_settings *s, struct error *err)
{
    return !s->system || !s->prompt.messages
        || error_set(err, "a system message and messages are given: messages have their own");
}

/* ---- what is given beforehand --------------------------------------------------- */

/* The tools by which calls are read: those beside the messages, else the settings' own. */
static bool read_tools(struct conversation *c, const struct prompt_request *q,
                       const struct value *body, struct error *err)
{
    const struct value *sent = value_member(body, "tools");
    struct value given = sent ? *sent : value_none();
    return (!q->tools
            || value_json_read(&given, q->tools, q->tools_bytes, "tools", true, &c->w, err))
        && messages_normalize_tools(&c->tools, &given, &c->w, err);
}

/* The messages themselves are checked with each prompt. */
static bool read_given(struct conversation *c, struct error *err)
{
    const struct prompt_request q = conversation_request(&c->settings->prompt);
    struct value body = value_none();
    if (q.messages
        && !value_json_read(&body, q.messages, q.messages_bytes, "messages", true, &c->w, err))
        return false;
    const struct value *list = body.kind == VALUE_LIST ? &body : value_member(&body, "messages");
    if (list && list->kind == VALUE_LIST && list->of.list->n) {
        const struct value *last = &list->of.list->items[list->of.list->n - 1];
        const struct value *role = value_member(last, "role");
        c->waits = role && (value_is_string(role, "user") || value_is_string(role, "tool"));
    }
    return read_tools(c, &q, &body, err);
}

static bool add_text(struct conversation *c, const char *role, const char *text, size_t n,
                     struct error *err)
{
    size_t bad;
    if (!utf8_valid(text, n, &bad))
        return error_set(err, "a message of the %s: invalid UTF-8 at byte %zu", role, bad);
    return buffer_printf(&c->added, err, "%s{\"role\": \"%s\", \"content\": ",
                         c->added.size ? ", " : "", role)
        && json_append_string(&c->added, text, n, err) && buffer_printf(&c->added, err, "}");
}

bool conversation_open(struct conversation *c, const struct surprisal_chat_settings *settings,
                       const char *folder, struct error *err)
{
    *c = (struct conversation){ .settings = settings, .tools = value_none() };
    c->w.bytes_limit = WORKSPACE_BYTES;
    c->w.steps_limit = WORKSPACE_STEPS;
    c->template = prompt_template_open(folder, settings->chat_template, err);
    return c->template && read_given(c, err)
        && (!settings->system
            || add_text(c, "system", settings->system, strlen(settings->system), err));
}

void conversation_close(struct conversation *c)
{
    prompt_template_close(c->template);
    workspace_free(&c->w);
    buffer_free(&c->added);
}

/* ---- turns -------------------------------------------------------------------- */

bool conversation_add(struct conversation *c, enum surprisal_chat_role role, const char *text,
                      size_t n, struct error *err)
{
    c->waits = true;
    return add_text(c, role == SURPRISAL_CHAT_TOOL ? "tool" : "user", text, n, err);
}

void conversation_cut(struct conversation *c, size_t size, bool waits)
{
    c->added.size = size;
    c->waits = waits;
}

static bool append_calls(struct buffer *json, const struct message_parts *m, struct error *err)
{
    bool ok = buffer_printf(json, err, ", \"tool_calls\": [");
    for (size_t i = 0; ok && i < m->n_calls; i++) {
        const struct message_call *call = &m->calls[i];
        ok = buffer_printf(json, err, "%s{\"type\": \"function\", \"function\": {\"name\": ",
                           i ? ", " : "")
          && json_append_string(json, call->name.data, call->name.size, err)
          && buffer_printf(json, err, ", \"arguments\": ")
          && json_append_string(json, call->arguments.data ? call->arguments.data : "",
                                call->arguments.size, err)
          && buffer_printf(json, err, "}}");
    }
    return ok && buffer_printf(json, err, "]");
}

bool conversation_add_answer(struct conversation *c, const struct message_parts *m,
                             struct error *err)
{
    struct buffer *json = &c->added;
    c->waits = false;
    return buffer_printf(json, err, "%s{\"role\": \"assistant\", ", json->size ? ", " : "")
        && message_parts_append_text(json, "content", &m->content, err)
        && (!m->reasoning.size
            || (buffer_printf(json, err, ", ")
                && message_parts_append_text(json, "reasoning", &m->reasoning, err)))
        && (!m->n_calls || append_calls(json, m, err)) && buffer_printf(json, err, "}");
}

/* ---- prompts ------------------------------------------------------------------- */

bool conversation_prompt(const struct conversation *c, const struct tokenizer *tokenizer,
                         int32_t **ids, size_t *n_ids, bool *thinks, struct error *err)
{
    const struct surprisal_prompt_options *o = &c->settings->prompt;
    struct prompt_request q = conversation_request(o);
    struct marked_text_builder b = { 0 };
    struct buffer added = { 0 };
    q.no_generation_prompt = q.continue_final_message = false;
    if (!q.messages) {
        q.messages = "[]";
        q.messages_bytes = strlen(q.messages);
    }
    bool ok = buffer_printf(&added, err, "[")
           && buffer_append(&added, c->added.data, c->added.size, err)
           && buffer_printf(&added, err, "]");
    q.added = added.data;
    q.added_bytes = added.size;
    ok = ok && prompt_make(&b, c->template, &q, err)
      && prompt_encode(ids, n_ids, &b, o->plain_messages, tokenizer, err);
    *thinks = ok && answer_starts_in_thinking(b.bytes.data ? b.bytes.data : "", b.bytes.size);
    marked_text_builder_free(&b);
    buffer_free(&added);
    return ok;
}

bool conversation_open_reader(const struct conversation *c, struct answer_reader *r,
                              const struct tokenizer *tokenizer, bool thinks, void *user,
                              struct error *err)
{
    const struct answer_rules rules = {
        .starts_in_thinking = thinks, .no_reasoning = c->settings->no_reasoning,
        .tools = &c->tools,
    };
    const struct answer_reader_delta delta = { c->settings->delta, user };
    return answer_reader_open(r, &rules, tokenizer, &delta, err);
}
