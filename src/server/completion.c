#include "server/completion.h"

#include "base/utf8.h"
#include "server/choice.h"
#include "server/event.h"
#include "tokenizer/token_text.h"

#define DEFAULT_TOKENS 16       /* as in vLLM */

/* ---- requests ------------------------------------------------------------------------- */

static bool encode_prompt(struct job_prompt *p, const struct value *v, const struct fields *f,
                          const struct request_rules *rules)
{
    const struct marked_text *t = &v->of.string;
    if (!tokenizer_encode(rules->tokenizer, t->bytes, t->n, &p->owned, &p->n, &f->problem->err))
        return problem_say(f->problem, 400, "prompt");
    p->ids = p->owned;
    return true;
}

static bool read_prompt(struct job_prompt *p, const struct value *v, enum value_kind kind,
                        const struct fields *f, const struct request_rules *rules)
{
    if (v->kind != kind)
        return problem_set(f->problem, 400, "prompt", "prompt mixes kinds: it is a string, a list "
                           "of strings, a list of token ids, or a list of such lists");
    return kind == VALUE_STRING
         ? encode_prompt(p, v, f, rules)
         : fields_ids_of(f, "prompt", v, rules->vocab_size, &p->ids, &p->n);
}

static bool read_prompts(struct job *j, const struct fields *f, const struct request_rules *rules)
{
    const struct value *v = fields_get(f, "prompt");
    if (!v || (v->kind != VALUE_STRING && v->kind != VALUE_LIST))
        return problem_set(f->problem, 400, "prompt", "prompt is %s, expected a string, a list of "
                           "strings, a list of token ids, or a list of such lists",
                           v ? value_type(v) : "missing");
    const struct value_list *list = v->kind == VALUE_LIST ? v->of.list : NULL;
    if (list && (list->n == 0))
        return problem_set(f->problem, 400, "prompt", "prompt is an empty list");
    bool many = list && (list->items[0].kind == VALUE_STRING || list->items[0].kind == VALUE_LIST);
    size_t n = many ? list->n : 1;
    if (n > REQUEST_PROMPTS)
        return problem_set(f->problem, 400, "prompt", "%zu prompts, expected at most %d", n,
                           REQUEST_PROMPTS);
    j->prompts = mem_array(n, sizeof *j->prompts, "prompts", &f->problem->err);
    if (!j->prompts)
        return problem_say(f->problem, 503, NULL);
    j->n_prompts = n;
    for (size_t i = 0; i < n; i++) {
        const struct value *item = many ? &list->items[i] : v;
        if (!read_prompt(&j->prompts[i], item, many ? list->items[0].kind : v->kind, f, rules))
            return false;
    }
    return true;
}

static bool read_own_fields(struct request *r, const struct fields *f,
                            const struct request_rules *rules)
{
    static const struct request_unsupported unsupported[] = {
        { "suffix", NULL }, { "best_of", "1" }, { "use_beam_search", NULL },
        { "length_penalty", "1" }, { "prompt_embeds", NULL }, { "logits_processors", NULL },
        { "kv_transfer_params", NULL }, { "vllm_xargs", NULL }, { "repetition_detection", NULL },
    };
    if (!request_refuse_unsupported(f, unsupported, sizeof unsupported / sizeof *unsupported)
        || !fields_integer(f, "max_tokens", 0, INT32_MAX, &r->max_tokens)
        || !fields_integer(f, "logprobs", 0, request_most_logprobs(rules), &r->logprobs))
        return false;
    return r->max_tokens != 0 || r->echo
        || problem_set(f->problem, 400, "max_tokens", "max_tokens is 0, expected 1 or more, or "
                       "\"echo\": true");
}

/* The text of a prompt, and where its tokens are in it. */
static bool make_echo(struct job_prompt *p, const struct tokenizer *t, struct error *err)
{
    struct token_text characters = { .tokenizer = t };
    p->offsets = mem_array(p->n, sizeof *p->offsets, "offsets of tokens", err);
    bool ok = p->offsets != NULL;
    for (size_t i = 0; ok && i < p->n; i++) {
        size_t size = p->text.size;
        p->offsets[i] = p->characters;
        ok = !tokenizer_has_token(t, p->ids[i])
          || token_text_add(&characters, p->ids[i], &p->text, err);
        if (p->text.size > size)
            p->characters += utf8_count(p->text.data + size, p->text.size - size);
    }
    size_t size = p->text.size;
    ok = ok && token_text_end(&characters, &p->text, err);
    p->characters += p->text.size > size;       /* one U+FFFD */
    token_text_free(&characters);
    return ok;
}

/* answer_starts_in_thinking (chat/answer.h) of ids. */
static bool starts_in_thinking(const struct job_prompt *p, const struct tokenizer *t)
{
    int32_t start = tokenizer_token_id(t, "<|im_start|>");
    int32_t think = tokenizer_token_id(t, answer_tag_text(ANSWER_THINK));
    int32_t end = tokenizer_token_id(t, answer_tag_text(ANSWER_END_THINK));
    bool thinks = false;
    for (size_t i = 0; i < p->n; i++)
        if (p->ids[i] == start || p->ids[i] == end)
            thinks = false;
        else if (p->ids[i] == think)
            thinks = true;
    return thinks;
}

bool completion_read(struct job *j, const struct value *body, const struct request_rules *rules)
{
    const struct fields f = { body, &j->w, &j->problem };
    struct request *r = &j->request;
    if (!request_read(r, &f, rules) || !read_own_fields(r, &f, rules)
        || !read_prompts(j, &f, rules)
        || !answer_form_read(&j->answer_form, &f, NULL, rules->publisher->n_end_ids > 0))
        return false;
    for (size_t i = 0; i < j->n_prompts; i++) {
        struct job_prompt *p = &j->prompts[i];
        p->has_logprobs = r->prompt_logprobs != REQUEST_NOT_GIVEN
                       || (r->echo && r->logprobs != REQUEST_NOT_GIVEN);
        if (!request_fit(r, rules, &p->ids, &p->n, DEFAULT_TOKENS, &p->max_tokens, &j->problem))
            return false;
        p->thinks = starts_in_thinking(p, rules->tokenizer);
        if (r->echo && !make_echo(p, rules->tokenizer, &j->problem.err))
            return problem_say(&j->problem, 500, NULL);
    }
    return true;
}

/* ---- answers --------------------------------------------------------------------------- */

/* Four arrays over the prompt, if it is echoed here, and tokens [begin, end) of the answer. */
static void write_logprobs(struct writer *w, const struct choice *c, bool with_prompt, size_t begin,
                           size_t end)
{
    const struct job_prompt *p = c->prompt;
    const struct logprobs_names names = job_names(c->job, c->job->request.logprobs);
    const struct logprobs *of_prompt = &p->logprobs, *l = &c->logprobs;
    const char *comma = with_prompt && end > begin ? "," : "";
    size_t n = with_prompt ? p->n : 0;
    if (c->job->request.logprobs == REQUEST_NOT_GIVEN) {
        writer_print(w, "null");
        return;
    }
    writer_print(w, "{\"text_offset\":[");
    for (size_t i = 0; i < n + (end - begin); i++)
        writer_print(w, i ? ",%zu" : "%zu", i < n ? p->offsets[i] : c->offsets[begin + i - n]);
    writer_print(w, "],\"token_logprobs\":[%s", with_prompt ? n > 1 ? "null," : "null" : "");
    logprobs_write_values(w, of_prompt, 0, with_prompt ? of_prompt->n : 0);
    writer_print(w, "%s", comma);
    logprobs_write_values(w, l, begin, end);
    writer_print(w, "],\"tokens\":[");
    for (size_t i = 0; i < n; i++) {
        writer_print(w, i ? "," : "");
        logprobs_write_token(w, &names, p->ids[i]);
    }
    writer_print(w, "%s", comma);
    logprobs_write_tokens(w, l, begin, end, &names);
    writer_print(w, "],\"top_logprobs\":[%s", with_prompt ? n > 1 ? "null," : "null" : "");
    logprobs_write_top(w, of_prompt, 0, with_prompt ? of_prompt->n : 0, &names);
    writer_print(w, "%s", comma);
    logprobs_write_top(w, l, begin, end, &names);
    writer_print(w, "]}");
}

static void write_choice(struct writer *w, const struct choice *c)
{
    const struct request *r = &c->job->request;
    const struct logprobs_names names = job_names(c->job, r->prompt_logprobs);
    struct buffer text = { 0 };
    const struct buffer *prompt = &c->prompt->text, *own = &c->answer.text.text;
    w->ok = w->ok && buffer_append(&text, prompt->data ? prompt->data : "", prompt->size, w->err)
         && buffer_append(&text, own->data ? own->data : "", own->size, w->err);
    writer_print(w, "{\"index\":%zu,\"text\":", c->index);
    writer_buffer(w, &text);
    buffer_free(&text);
    writer_print(w, ",\"logprobs\":");
    write_logprobs(w, c, r->echo, 0, c->logprobs.n);
    writer_print(w, ",");
    choice_write_finish(w, c);
    writer_print(w, ",\"prompt_logprobs\":");
    if (r->prompt_logprobs == REQUEST_NOT_GIVEN)
        writer_print(w, "null");
    else
        logprobs_write_prompt(w, &c->prompt->logprobs, &names);
    if (r->return_ids) {
        writer_print(w, ",\"token_ids\":");
        writer_ids(w, c->answer.ids, c->answer.n);
        writer_print(w, ",\"prompt_token_ids\":");
        writer_ids(w, c->prompt->ids, c->prompt->n);
    } else
        writer_print(w, ",\"token_ids\":null,\"prompt_token_ids\":null");
    writer_print(w, "}");
}

static bool answer(const struct job *j, struct buffer *b, struct error *err)
{
    struct writer w = { b, true, err };
    job_write_head(&w, j, "text_completion");
    for (size_t i = 0; i < j->n_choices; i++) {
        writer_print(&w, i ? "," : "");
        write_choice(&w, &j->choices[i]);
    }
    job_write_tail(&w, j);
    writer_print(&w, "}");
    return w.ok;
}

/* ---- streams ----------------------------------------------------------------------------- */

/* One event: a text of n bytes, tokens that were not shown yet, and the end if `last`. */
static bool emit(struct choice *c, const char *text, size_t n, bool first, bool last,
                 struct error *err)
{
    struct job *j = c->job;
    struct buffer json = { 0 };
    struct writer w = { &json, true, err };
    size_t end = j->request.logprobs == REQUEST_NOT_GIVEN ? 0 : c->answer.n;
    job_write_head(&w, j, "text_completion");
    writer_print(&w, "{\"index\":%zu,\"text\":", c->index);
    writer_text(&w, text, n);
    writer_print(&w, ",\"logprobs\":");
    if ((first && j->request.echo) || c->shown < end)
        write_logprobs(&w, c, first && j->request.echo, c->shown, size_max(end, c->shown));
    else
        writer_print(&w, "null");
    writer_print(&w, ",");
    if (last)
        choice_write_finish(&w, c);
    else
        writer_print(&w, "\"finish_reason\":null,\"stop_reason\":null");
    event_write_ids(&w, c);
    if (first)
        event_write_prompt_ids(&w, c);
    writer_print(&w, "}]");
    return event_send(&w, c);
}

static bool begun(struct choice *c, struct error *err)
{
    const struct request *r = &c->job->request;
    const struct buffer *text = &c->prompt->text;
    return !(r->echo || r->return_ids)
        || emit(c, text->data ? text->data : "", text->size, true, false, err);
}

static bool grown(struct choice *c, struct error *err)
{
    const struct request *r = &c->job->request;
    size_t n;
    const char *text = continuation_news(&c->answer, &n);
    bool rides = r->logprobs != REQUEST_NOT_GIVEN || r->return_ids || r->continuous_usage;
    return (n == 0 && !rides) || emit(c, text, n, false, false, err);
}

static bool over(struct choice *c, struct error *err)
{
    size_t n;
    const char *text = continuation_news(&c->answer, &n);
    return emit(c, text, n, false, true, err);
}

const struct job_form completion_form = {
    .id_prefix = "cmpl-", .event_object = "text_completion", .begun = begun, .grown = grown,
    .over = over, .answer = answer,
};
