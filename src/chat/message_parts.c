#include "chat/message_parts.h"

#include <stdlib.h>

#include "base/json.h"

static bool open_call(struct message_parts *m, struct error *err)
{
    if (!mem_grow(&m->calls, &m->capacity, m->n_calls + 1, sizeof *m->calls, "calls", err))
        return false;
    m->calls[m->n_calls++] = (struct message_call){ 0 };
    return true;
}

bool message_parts_add(struct message_parts *m, enum answer_part part, const char *text, size_t n,
                       struct error *err)
{
    if (part == ANSWER_REASONING || part == ANSWER_CONTENT)
        return buffer_append(part == ANSWER_REASONING ? &m->reasoning : &m->content, text, n, err);
    if (part == ANSWER_NAME && !open_call(m, err))
        return false;
    struct message_call *call = &m->calls[m->n_calls - 1];
    return buffer_append(part == ANSWER_NAME ? &call->name : &call->arguments, text, n, err);
}

void message_parts_free(struct message_parts *m)
{
    buffer_free(&m->reasoning);
    buffer_free(&m->content);
    for (size_t i = 0; i < m->n_calls; i++) {
        buffer_free(&m->calls[i].name);
        buffer_free(&m->calls[i].arguments);
    }
    free(m->calls);
    *m = (struct message_parts){ 0 };
}

static bool append_string(struct buffer *json, const struct buffer *text, struct error *err)
{
    return json_append_string(json, text->data ? text->data : "", text->size, err);
}

bool message_parts_append_text(struct buffer *json, const char *key, const struct buffer *text,
                               struct error *err)
{
    return buffer_printf(json, err, "\"%s\": ", key)
        && (text->size ? append_string(json, text, err) : buffer_printf(json, err, "null"));
}

bool message_parts_append_calls(struct buffer *json, const struct message_parts *m,
                                struct error *err)
{
    bool ok = buffer_printf(json, err, "[");
    for (size_t i = 0; ok && i < m->n_calls; i++)
        ok = buffer_printf(json, err, "%s{\"name\": ", i ? ", " : "")
          && append_string(json, &m->calls[i].name, err)
          && buffer_printf(json, err, ", \"arguments\": ")
          && append_string(json, &m->calls[i].arguments, err) && buffer_printf(json, err, "}");
    return ok && buffer_printf(json, err, "]");
}
