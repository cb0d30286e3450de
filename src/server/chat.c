#include "server/chat.h"

#include <stdlib.h>
#include <string.h>

#include "chat/answer.h"
#include "server/tools.h"

static bool read_effort(const struct fields *f)
{
    static const char *const words[] = { "none", "minimal", "low", "medium", "high", "xhigh",
                                         "max" };
    const char *effort = NULL;
    if (!fields_text(f, "reasoning_effort", &effort))
        return false;
    for (size_t i = 0; effort && i < sizeof words / sizeof *words; i++)
        if (strcmp(effort, words[i]) == 0)
            return true;
    return !effort
        || problem_set(f->problem, 400, "reasoning_effort", "reasoning_effort is '%.40s', expected "
                       "none, minimal, low, medium, high, xhigh or max", effort);
}

static bool read_logprobs(struct request *r, const struct fields *f,
                          const struct request_rules *rules)
{
    bool wanted = false;
    int64_t top = REQUEST_NOT_GIVEN;
    if (!fields_flag(f, "logprobs", &wanted)
        || !fields_integer(f, "top_logprobs", 0, request_most_logprobs(rules), &top))
        return false;
    if (!wanted && top > 0)
        return problem_set(f->problem, 400, "top_logprobs",
                           "top_logprobs needs \"logprobs\": true");
    if (wanted)
        r->logprobs = top > 0 ? top : 0;
    return true;
}

static bool read_limits(struct request *r, const struct fields *f)
{
    const char *name = fields_get(f, "max_completion_tokens") ? "max_completion_tokens"
                                                              : "max_tokens";
    return fields_integer(f, name, 1, INT32_MAX, &r->max_tokens);
}

/* The end of thinking that takes longer than it may, in the workspace. */
static bool encode_end(struct request_word *word, const struct tokenizer *t, struct workspace *w,
                       struct error *err)
{
    static const char end[] = "</think>\n\n";
    int32_t *ids;
    if (!tokenizer_encode(t, end, strlen(end), &ids, &word->n, err))
        return false;
    word->ids = (const int32_t *)workspace_copy(w, (const char *)ids, word->n * sizeof *ids, err);
    free(ids);
    return word->ids != NULL;
}

static bool read_budget(struct job *j, const struct fields *f, const struct request_rules *rules)
{
    struct job_chat *chat = &j->chat;
    return fields_integer(f, "thinking_token_budget", 0, INT32_MAX, &chat->thinking_budget)
        && (chat->thinking_budget == REQUEST_NOT_GIVEN
            || encode_end(&chat->end_thinking, rules->tokenizer, &j->w, &f->problem->err)
            || problem_say(f->problem, 500, NULL));
}

static bool read_own_fields(struct job *j, const struct fields *f,
                            const struct request_rules *rules, const struct chat_rules *chat)
{
    static const struct request_unsupported unsupported[] = {
        { "chat_template", NULL }, { "audio", NULL }, { "modalities", "text" },
        { "prediction", NULL }, { "web_search_options", NULL }, { "best_of", "1" },
        { "use_beam_search", NULL }, { "length_penalty", "1" }, { "mm_processor_kwargs", NULL },
        { "media_io_kwargs", NULL }, { "logits_processors", NULL },
        { "kv_transfer_params", NULL }, { "vllm_xargs", NULL }, { "repetition_detection", NULL },
    };
    bool reasoning = true;
    if (!request_refuse_unsupported(f, unsupported, sizeof unsupported / sizeof *unsupported)
        || !read_limits(&j->request, f) || !read_logprobs(&j->request, f, rules)
        || !read_effort(f) || !fields_flag(f, "include_reasoning", &reasoning)
        || !read_budget(j, f, rules) || !tools_read(j, f, chat))
        return false;
    const struct value *tools = j->chat.rules.tools;
    if (!answer_form_read(&j->answer_form, f, tools->kind == VALUE_LIST ? tools : NULL,
                          rules->publisher->n_end_ids > 0))
        return false;
    j->chat.rules.no_reasoning = chat->no_reasoning;
    j->chat.hide_reasoning = !reasoning;
    return true;
}

bool chat_prompt(int32_t **ids, size_t *n, bool *thinks, const struct chat_body *body,
                 const struct chat_rules *chat, const struct tokenizer *tokenizer,
                 struct problem *p)
{
    struct marked_text_builder b = { 0 };
    const struct prompt_request q = {
        .messages = body->text, .messages_bytes = body->n, .defaults = chat->default_kwargs,
        .defaults_bytes = chat->default_kwargs ? strlen(chat->default_kwargs) : 0,
        .merge_system_messages = chat->merge_system,
    };
    if (!chat->template) {
        p->err = *chat->why;
        return problem_say(p, 400, "messages");
    }
    if (!value_member(body->value, "messages"))
        return problem_set(p, 400, "messages", "messages is missing");
    bool ok = prompt_make(&b, chat->template, &q, &p->err)
           && prompt_encode(ids, n, &b, chat->plain_messages, tokenizer, &p->err);
    if (ok && thinks)
        *thinks = answer_starts_in_thinking(b.bytes.data ? b.bytes.data : "", b.bytes.size);
    marked_text_builder_free(&b);
    return ok || problem_say(p, 400, "messages");
}

/* An echo: content begins with that of the last message, if it is the assistant's. */
static bool take_echo(struct buffer *text, const struct value *body, struct error *err)
{
    const struct value *messages = value_member(body, "messages");
    if (!messages || messages->kind != VALUE_LIST || messages->of.list->n == 0)
        return true;
    const struct value *last = &messages->of.list->items[messages->of.list->n - 1];
    const struct value *role = value_member(last, "role"), *content = value_member(last, "content");
    bool ok = true;
    if (!role || !value_is_string(role, "assistant") || !content)
        return true;
    if (content->kind == VALUE_STRING)
        return buffer_append(text, content->of.string.bytes, content->of.string.n, err);
    for (size_t i = 0; ok && content->kind == VALUE_LIST && i < content->of.list->n; i++) {
        const struct value *part = value_member(&content->of.list->items[i], "text");
        if (part && part->kind == VALUE_STRING)
            ok = buffer_append(text, "\n", text->size > 0, err)
              && buffer_append(text, part->of.string.bytes, part->of.string.n, err);
    }
    return ok;
}

bool chat_read(struct job *j, const struct chat_body *body, const struct request_rules *rules,
               const struct chat_rules *chat)
{
    const struct fields f = { body->value, &j->w, &j->problem };
    struct request *r = &j->request;
    if (!request_read(r, &f, rules))
        return false;
    bool echo = r->echo;
    r->echo = false;
    if (!read_own_fields(j, &f, rules, chat))
        return false;
    struct job_prompt *p = j->prompts = mem_array(1, sizeof *p, "prompts", &j->problem.err);
    if (!p)
        return problem_say(&j->problem, 503, NULL);
    j->n_prompts = 1;
    if (!chat_prompt(&p->owned, &p->n, &p->thinks, body, chat, rules->tokenizer, &j->problem))
        return false;
    if (echo && !take_echo(&p->text, body->value, &j->problem.err))
        return problem_say(&j->problem, 503, NULL);
    p->ids = p->owned;
    p->has_logprobs = r->prompt_logprobs != REQUEST_NOT_GIVEN;
    return request_fit(r, rules, &p->ids, &p->n, INT64_MAX, &p->max_tokens, &j->problem);
}
