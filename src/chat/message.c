#include "chat/message.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "chat/message_parts.h"
#include "chat/messages.h"
#include "chat/value_json.h"

struct message {
    const struct message_request *request;
    struct answer *answer;
    struct message_parts parts;
    struct buffer delta;                /* text of one kind since the last delta */
    enum answer_part delta_part;
    bool delta_open;
};

/* ---- parts ---------------------------------------------------------------------- */

static bool append_word(struct buffer *b, const char *text, struct error *err)
{
    return buffer_append(b, text, strlen(text), err);
}

static bool send(const struct message *m, struct buffer *json, bool ok, struct error *err)
{
    const struct message_sink *sink = m->request->sink;
    ok = ok && sink->delta(sink->user, json->data, json->size, err);
    buffer_free(json);
    return ok;
}

/* Hands on what has gathered. */
static bool flush(struct message *m, struct error *err)
{
    struct buffer json = { 0 };
    const char *text = m->delta.data ? m->delta.data : "";
    enum answer_part part = m->delta_part;
    bool ok;
    if (!m->delta_open || !m->request->sink)
        return true;
    if (part == ANSWER_NAME || part == ANSWER_ARGUMENTS)
        ok = buffer_printf(&json, err, "{\"tool_calls\": [{\"index\": %zu, %s",
                           m->parts.n_calls - 1,
                           part == ANSWER_NAME ? "\"name\": " : "\"arguments\": ")
          && json_append_string(&json, text, m->delta.size, err)
          && append_word(&json, part == ANSWER_NAME ? ", \"arguments\": \"\"}]}" : "}]}", err);
    else
        ok = buffer_printf(&json, err, "{\"%s\": ",
                           part == ANSWER_REASONING ? "reasoning" : "content")
          && json_append_string(&json, text, m->delta.size, err) && append_word(&json, "}", err);
    m->delta.size = 0;
    m->delta_open = false;
    return send(m, &json, ok, err);
}

static bool take_part(void *user, enum answer_part part, const char *text, size_t n,
                      struct error *err)
{
    struct message *m = user;
    bool same = m->delta_open && m->delta_part == part && part != ANSWER_NAME;
    if (!same && !flush(m, err))
        return false;
    bool ok = message_parts_add(&m->parts, part, text, n, err);
    m->delta_part = part;
    m->delta_open = true;
    return ok && (!m->request->sink || buffer_append(&m->delta, text, n, err));
}

/* ---- pieces ------------------------------------------------------------------------ */

/* Feeds n bytes in pieces of so many characters. */
static bool feed_characters(struct message *m, const char *text, size_t n, size_t characters,
                            struct error *err)
{
    for (size_t i = 0; i < n;) {
        size_t begin = i;
        for (size_t k = 0; k < characters && i < n; k++) {
            size_t length = utf8_length(text + i, n - i);
            i += length ? length : 1;
        }
        if (!answer_feed(m->answer, text + begin, i - begin, err) || !flush(m, err))
            return false;
    }
    return true;
}

/* Feeds ids; text between tags in pieces of one token, or of so many characters. */
static bool feed_ids(struct message *m, const int32_t *ids, size_t n, struct error *err)
{
    const struct message_request *q = m->request;
    int32_t tags[ANSWER_TAGS];
    struct buffer text = { 0 };
    bool ok = true, whole = !q->sink || q->characters;
    for (int t = 0; t < ANSWER_TAGS; t++)
        tags[t] = tokenizer_token_id(q->tokenizer, answer_tag_text((enum answer_tag)t));
    for (size_t i = 0; ok && i <= n; i++) {
        int tag = 0;
        while (i < n && tag < ANSWER_TAGS && tags[tag] != ids[i])
            tag++;
        bool is_tag = i < n && tag < ANSWER_TAGS;
        if (i < n && !is_tag)
            ok = tokenizer_append_bytes(q->tokenizer, ids[i], &text, err);
        if (!ok || (whole && i < n && !is_tag))
            continue;
        ok = feed_characters(m, text.data, text.size,
                             q->sink && q->characters ? q->characters : SIZE_MAX, err);
        text.size = 0;
        ok = ok && (!is_tag || answer_feed_tag(m->answer, (enum answer_tag)tag, err))
          && flush(m, err);
    }
    buffer_free(&text);
    return ok;
}

static bool feed(struct message *m, struct error *err)
{
    const struct message_request *q = m->request;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (!q->tokenizer)
        return feed_characters(m, q->text, q->n,
                               !q->sink ? SIZE_MAX : q->characters ? q->characters : 1, err);
    bool ok = tokenizer_encode(q->tokenizer, q->text, q->n, &ids, &n_ids, err)
           && feed_ids(m, ids, n_ids, err);
    free(ids);
    return ok;
}

/* ---- the message ---------------------------------------------------------------------- */

static bool append_message(struct buffer *json, const struct message *m, struct error *err)
{
    return append_word(json, "{", err)
        && message_parts_append_text(json, "reasoning", &m->parts.reasoning, err)
        && append_word(json, ", ", err)
        && message_parts_append_text(json, "content", &m->parts.content, err)
        && append_word(json, ", \"tool_calls\": ", err)
        && message_parts_append_calls(json, &m->parts, err)
        && buffer_printf(json, err, ", \"finish_reason\": \"%s\"}",
                         answer_finish_reason(m->answer));
}

static bool send_end(struct message *m, struct error *err)
{
    struct buffer json = { 0 };
    if (!m->request->sink)
        return true;
    bool ok = buffer_printf(&json, err, "{\"finish_reason\": \"%s\"}",
                            answer_finish_reason(m->answer));
    return send(m, &json, ok, err);
}

static bool read_tools(struct value *tools, const struct message_request *q, struct workspace *w,
                       struct error *err)
{
    struct value given = value_none();
    return (!q->tools || value_json_read(&given, q->tools, q->tools_bytes, "tools", false, w, err))
        && messages_normalize_tools(tools, &given, w, err);
}

bool message_parse(struct buffer *json, const struct message_request *request, struct error *err)
{
    struct workspace w = { .bytes_limit = WORKSPACE_BYTES, .steps_limit = WORKSPACE_STEPS };
    struct message m = { .request = request };
    struct answer_rules rules = request->rules;
    struct value tools;
    size_t bad;
    if (!utf8_valid(request->text, request->n, &bad))
        return error_set(err, "the answer: invalid UTF-8 at byte %zu", bad);
    rules.tools = &tools;
    rules.tags_are_tokens = request->tokenizer != NULL;
    bool ok = read_tools(&tools, request, &w, err)
           && (m.answer = answer_new(&rules, &(struct answer_sink){ take_part, &m }, err))
           && feed(&m, err) && answer_end(m.answer, request->at_length, err) && flush(&m, err)
           && append_message(json, &m, err) && send_end(&m, err);
    answer_free(m.answer);
    message_parts_free(&m.parts);
    buffer_free(&m.delta);
    workspace_free(&w);
    return ok;
}
