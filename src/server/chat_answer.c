/* Answers and streams of chats (chat.h). */
#include "server/chat.h"

#include <sys/random.h>

#include "server/choice.h"
#include "server/event.h"

static const struct buffer nothing;

static const struct buffer *reasoning_of(const struct choice *c)
{
    return c->job->chat.hide_reasoning ? &nothing : &c->reader.parts.reasoning;
}

static size_t calls_of(const struct choice *c)
{
    size_t n = c->reader.parts.n_calls;
    return c->job->chat.one_call ? size_min(n, 1) : n;
}

static void write_call_id(struct writer *w)
{
    unsigned char bytes[16];
    w->ok = w->ok && (getrandom(bytes, sizeof bytes, 0) == sizeof bytes
                      || error_set(w->err, "no random bytes can be had"));
    writer_print(w, "\"id\":\"chatcmpl-tool-");
    for (size_t i = 0; i < sizeof bytes; i++)
        writer_print(w, "%02x", bytes[i]);
    writer_print(w, "\"");
}

/* ---- whole answers ------------------------------------------------------------------------ */

static void write_calls(struct writer *w, const struct choice *c)
{
    size_t n = calls_of(c);
    if (n == 0)
        return;
    writer_print(w, ",\"tool_calls\":[");
    for (size_t i = 0; i < n; i++) {
        const struct message_call *call = &c->reader.parts.calls[i];
        writer_print(w, i ? ",{" : "{");
        write_call_id(w);
        writer_print(w, ",\"type\":\"function\",\"function\":{\"name\":");
        writer_buffer(w, &call->name);
        writer_print(w, ",\"arguments\":");
        writer_buffer(w, &call->arguments);
        writer_print(w, "}}");
    }
    writer_print(w, "]");
}

static void write_message(struct writer *w, const struct choice *c)
{
    writer_print(w, "{\"role\":\"assistant\",\"content\":");
    writer_text_or_null(w, &c->reader.parts.content);
    writer_print(w, ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":null,"
                 "\"reasoning\":");
    writer_text_or_null(w, reasoning_of(c));
    writer_print(w, ",\"reasoning_content\":");
    writer_text_or_null(w, reasoning_of(c));
    write_calls(w, c);
    writer_print(w, "}");
}

/* Of tokens from `begin` on. */
static void write_logprobs(struct writer *w, const struct choice *c, size_t begin)
{
    const struct logprobs_names names = job_names(c->job, c->job->request.logprobs);
    if (c->logprobs.n <= begin) {
        writer_print(w, ",\"logprobs\":null");
        return;
    }
    writer_print(w, ",\"logprobs\":{\"content\":");
    logprobs_write_content(w, &c->logprobs, begin, c->logprobs.n, &names);
    writer_print(w, ",\"refusal\":null}");
}

static void write_choice(struct writer *w, const struct choice *c)
{
    writer_print(w, "{\"index\":%zu,\"message\":", c->index);
    write_message(w, c);
    write_logprobs(w, c, 0);
    writer_print(w, ",");
    choice_write_finish(w, c);
    writer_print(w, ",\"token_ids\":");
    if (c->job->request.return_ids)
        writer_ids(w, c->answer.ids, c->answer.n);
    else
        writer_print(w, "null");
    writer_print(w, "}");
}

static bool answer(const struct job *j, struct buffer *b, struct error *err)
{
    struct writer w = { b, true, err };
    const struct job_prompt *p = j->prompts;
    const struct logprobs_names names = job_names(j, j->request.prompt_logprobs);
    job_write_head(&w, j, "chat.completion");
    for (size_t i = 0; i < j->n_choices; i++) {
        writer_print(&w, i ? "," : "");
        write_choice(&w, &j->choices[i]);
    }
    job_write_tail(&w, j);
    writer_print(&w, ",\"prompt_logprobs\":");
    if (p->has_logprobs)
        logprobs_write_prompt(&w, &p->logprobs, &names);
    else
        writer_print(&w, "null");
    writer_print(&w, ",\"prompt_token_ids\":");
    if (j->request.return_ids)
        writer_ids(&w, p->ids, p->n);
    else
        writer_print(&w, "null");
    writer_print(&w, "}");
    return w.ok;
}

/* ---- streams ------------------------------------------------------------------------------ */

/* An event with this delta, and the tokens that no event had yet. */
static bool emit(struct choice *c, const struct buffer *delta, bool first, bool last,
                 struct error *err)
{
    struct job *j = c->job;
    struct buffer json = { 0 };
    struct writer w = { &json, true, err };
    job_write_head(&w, j, j->form->event_object);
    writer_print(&w, "{\"index\":%zu,\"delta\":%s", c->index, delta->data);
    write_logprobs(&w, c, c->shown);
    writer_print(&w, ",");
    if (last)
        choice_write_finish(&w, c);
    else
        writer_print(&w, "\"finish_reason\":null");
    event_write_ids(&w, c);
    writer_print(&w, "}]");
    if (first)
        event_write_prompt_ids(&w, c);
    return event_send(&w, c);
}

static bool emit_delta(struct choice *c, struct writer *delta, struct error *err)
{
    bool ok = delta->ok && emit(c, delta->b, false, false, err);
    delta->b->size = 0;
    return ok;
}

static bool begun(struct choice *c, struct error *err)
{
    struct buffer delta = { 0 };
    bool ok = buffer_printf(&delta, err, "{\"role\":\"assistant\",\"content\":\"\"}")
           && emit(c, &delta, true, false, err);
    buffer_free(&delta);
    return ok;
}

static bool emit_call(struct choice *c, struct writer *w, size_t i, struct error *err)
{
    const struct message_call *call = &c->reader.parts.calls[i];
    if (i >= c->shown_calls) {
        writer_print(w, "{\"tool_calls\":[{\"index\":%zu,", i);
        write_call_id(w);
        writer_print(w, ",\"type\":\"function\",\"function\":{\"name\":");
        writer_buffer(w, &call->name);
        writer_print(w, ",\"arguments\":\"\"}}]}");
        c->shown_calls = i + 1;
        c->shown_arguments = 0;
        if (!emit_delta(c, w, err))
            return false;
    }
    size_t begin = c->shown_arguments;
    if (call->arguments.size == begin)
        return true;
    writer_print(w, "{\"tool_calls\":[{\"index\":%zu,\"function\":{\"arguments\":", i);
    writer_text(w, call->arguments.data + begin, call->arguments.size - begin);
    writer_print(w, "}}]}");
    c->shown_arguments = call->arguments.size;
    return emit_delta(c, w, err);
}

static void write_piece(struct writer *w, const char *key, const struct buffer *text, size_t begin)
{
    writer_print(w, "\"%s\":", key);
    writer_text(w, text->data + begin, text->size - begin);
}

/* What the message has gained. */
static bool emit_parts(struct choice *c, struct error *err)
{
    struct buffer delta = { 0 };
    struct writer w = { &delta, true, err };
    const struct buffer *reasoning = reasoning_of(c), *content = &c->reader.parts.content;
    bool ok = true;
    if (reasoning->size > c->shown_reasoning) {
        writer_print(&w, "{");
        write_piece(&w, "reasoning", reasoning, c->shown_reasoning);
        writer_print(&w, ",");
        write_piece(&w, "reasoning_content", reasoning, c->shown_reasoning);
        writer_print(&w, "}");
        c->shown_reasoning = reasoning->size;
        ok = emit_delta(c, &w, err);
    }
    if (ok && content->size > c->shown_content) {
        writer_print(&w, "{");
        write_piece(&w, "content", content, c->shown_content);
        writer_print(&w, "}");
        c->shown_content = content->size;
        ok = emit_delta(c, &w, err);
    }
    size_t first = c->shown_calls ? c->shown_calls - 1 : 0;
    for (size_t i = first; ok && i < calls_of(c); i++)
        ok = emit_call(c, &w, i, err);
    buffer_free(&delta);
    return ok;
}

/* Tokens whose text is held back, or that have none, come with an empty piece of content. */
static bool grown(struct choice *c, struct error *err)
{
    const struct request *r = &c->job->request;
    struct buffer delta = { 0 };
    bool rides = r->logprobs != REQUEST_NOT_GIVEN || r->return_ids || r->continuous_usage;
    if (!emit_parts(c, err))
        return false;
    if (!rides || c->shown == c->answer.n)
        return true;
    bool ok = buffer_printf(&delta, err, "{\"content\":\"\"}")
           && emit(c, &delta, false, false, err);
    buffer_free(&delta);
    return ok;
}

static bool over(struct choice *c, struct error *err)
{
    struct buffer delta = { 0 };
    bool ok = emit_parts(c, err) && buffer_printf(&delta, err, "{}")
           && emit(c, &delta, false, true, err);
    buffer_free(&delta);
    return ok;
}

const struct job_form chat_form = {
    .id_prefix = "chatcmpl-", .event_object = "chat.completion.chunk", .is_chat = true,
    .begun = begun, .grown = grown, .over = over, .answer = answer,
};
