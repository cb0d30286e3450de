#include "server/choice.h"

#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "base/utf8.h"
#include "chat/value_json.h"
#include "server/choice_mask.h"

/* ---- the beginning -------------------------------------------------------------------- */

static bool open_reader(struct choice *c, struct error *err)
{
    struct answer_rules rules = c->job->chat.rules;
    const struct answer_reader_delta none = { 0 };
    rules.starts_in_thinking = c->prompt->thinks;
    const struct buffer *echo = &c->prompt->text;
    return answer_reader_open(&c->reader, &rules, c->job->host->tokenizer, &none, err)
        && (!echo->size || message_parts_add(&c->reader.parts, ANSWER_CONTENT, echo->data,
                                             echo->size, err));
}

static void begin_answer(struct choice *c)
{
    const struct request *r = &c->job->request;
    const struct job_host *host = c->job->host;
    const struct continuation_limits limits = {
        .tokenizer = host->tokenizer, .end_ids = host->publisher->end_ids,
        .n_end_ids = r->ignore_eos ? 0 : host->publisher->n_end_ids,
        .stop_ids = r->stop_ids, .n_stop_ids = r->n_stop_ids,
        .stop = r->stop, .n_stop = r->n_stop, .keep_stop = r->keep_stop,
        .keep_special = r->keep_special, .min_tokens = (size_t)r->min_tokens,
        .max_tokens = c->prompt->max_tokens, .at_most = SURPRISAL_FINISH_LENGTH,
    };
    continuation_init(&c->answer, &limits);
}

/* The memory of a sampler is large: only choices that run have one. */
static bool begin(struct choice *c, struct error *err)
{
    struct job *j = c->job;
    struct sampler_settings settings = j->request.sampling;
    c->mask = (struct sampler_mask){ choice_mask_apply, c };
    settings.mask = &c->mask;
    settings.stream = c->index % j->request.n;
    c->thinking = j->form->is_chat && c->prompt->thinks;
    c->begun = true;
    c->logprobs.k = j->request.logprobs > 0 ? (size_t)j->request.logprobs : 0;
    if (!sampler_open(&c->sampler, &settings, j->host->vocab_size, err)
        || (j->form->is_chat && !open_reader(c, err)) || !choice_mask_open(c, err))
        return false;
    sampler_add_prompt(&c->sampler, c->prompt->ids, c->prompt->n);
    return !j->request.stream || j->form->begun(c, err);
}

/* ---- tokens ---------------------------------------------------------------------------- */

static void note_thinking(struct choice *c, int32_t id)
{
    if (!c->thinking)
        return;
    if (id == c->reader.ids[ANSWER_END_THINK])
        c->thinking = false;
    else if (id != c->answer.end_id)
        c->reasoning_tokens++;
}

static bool note_logprobs(struct choice *c, const struct sampler_choice *drawn, struct error *err)
{
    if (c->job->request.logprobs == REQUEST_NOT_GIVEN)
        return true;
    if (!mem_grow(&c->offsets, &c->offsets_capacity, c->logprobs.n + 1, sizeof *c->offsets,
                  "the answer", err))
        return false;
    c->offsets[c->logprobs.n] = c->characters;
    return logprobs_add(&c->logprobs, c->sampler.raw, drawn->logsumexp, c->sampler.vocab_size,
                        drawn->id, err);
}

static bool is_complete_call(const struct message_call *call)
{
    struct workspace w = { .bytes_limit = WORKSPACE_BYTES, .steps_limit = WORKSPACE_STEPS };
    struct value v;
    bool complete = call->arguments.size
                 && value_json_read(&v, call->arguments.data, call->arguments.size, "arguments",
                                    true, &w, NULL);
    workspace_free(&w);
    return complete;
}

/* With parallel_tool_calls false: has the only call been made? */
static bool has_call(const struct choice *c, int32_t id)
{
    const struct message_parts *m = &c->reader.parts;
    return c->job->chat.one_call
        && (m->n_calls > 1 || (m->n_calls == 1 && id == c->reader.ids[ANSWER_END_CALL]
                               && is_complete_call(&m->calls[0])));
}

static bool add(struct choice *c, const struct sampler_choice *drawn, struct error *err)
{
    struct continuation *a = &c->answer;
    size_t size = a->text.text.size;
    if (!note_logprobs(c, drawn, err) || !continuation_add(a, drawn, err))
        return false;
    if (a->text.text.size > size)
        c->characters += utf8_count(a->text.text.data + size, a->text.text.size - size);
    note_thinking(c, drawn->id);
    sampler_add(&c->sampler, drawn->id);
    if (!choice_mask_add(c, drawn->id, err))
        return false;
    if (!c->reader.answer)
        return true;
    if (!answer_reader_add(&c->reader, a, drawn->id, size, err))
        return false;
    if (has_call(c, drawn->id))
        continuation_stop(a, SURPRISAL_FINISH_STOP);
    return true;
}

static bool end(struct choice *c, struct error *err)
{
    struct continuation *a = &c->answer;
    return continuation_end(a, err)
        && (!c->reader.answer || answer_reader_end(&c->reader, a, err))
        && (!c->job->request.stream || c->job->form->over(c, err));
}

static void note_time(struct choice *c)
{
    struct job *j = c->job;
    double now = machine_seconds();
    if (c->last_token > 0)
        metrics_time(j->host->metrics, METRICS_BETWEEN_TOKENS, now - c->last_token);
    else if (j->first_token == 0) {
        j->first_token = now;
        metrics_time(j->host->metrics, METRICS_FIRST_TOKEN, now - j->arrived);
    }
    c->last_token = now;
}

static bool choose(void *user, float *logits, size_t position, int32_t *id, bool *more,
                   struct error *err)
{
    struct choice *c = user;
    struct sampler_choice drawn;
    if (!c->begun && !begin(c, err))
        return false;
    if (c->prompt->max_tokens == 0)
        continuation_stop(&c->answer, SURPRISAL_FINISH_LENGTH);
    else {
        if (!choice_mask_prepare(c, err))
            return false;
        if (!sampler_draw(&c->sampler, &drawn, logits, position, err)) {
            choice_mask_explain(c);
            return false;
        }
        if (!add(c, &drawn, err))
            return false;
        *id = drawn.id;
        note_time(c);
        if (c->job->request.stream && !c->job->form->grown(c, err))
            return false;
    }
    *more = !c->answer.finished;
    return *more || end(c, err);
}

/* ---- prompts -------------------------------------------------------------------------- */

/* The first choice of a prompt fills what all of them show. */
static bool prompt_logits(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    struct choice *c = user;
    struct job_prompt *p = c->prompt;
    size_t V = c->job->host->vocab_size;
    for (size_t i = 0; i < n; i++) {
        const float *of_row = logits + i * V;
        if (!sampler_check_logits(of_row, V, row + i + 1, err)
            || !logprobs_add(&p->logprobs, of_row, sampler_logsumexp(of_row, V), V,
                          p->ids[row + i + 1], err))
            return false;
    }
    return true;
}

static void started(void *user, size_t n_cached)
{
    struct choice *c = user;
    struct job *j = c->job;
    double now = machine_seconds();
    pthread_mutex_lock(&j->lock);
    if (c->index % j->request.n == 0)
        c->prompt->n_cached = n_cached;
    if (j->n_started++ == 0) {
        j->prefill_begun = now;
        metrics_time(j->host->metrics, METRICS_QUEUE, now - j->arrived);
    }
    pthread_mutex_unlock(&j->lock);
}

struct scheduler_request choice_request(struct choice *c)
{
    struct job_prompt *p = c->prompt;
    bool wants_prompt = p->has_logprobs && c->index % c->job->request.n == 0;
    begin_answer(c);
    return (struct scheduler_request){
        .prompt = p->ids, .n_prompt = p->n, .first_logits = wants_prompt ? 0 : p->n - 1,
        .max_answer = size_max(p->max_tokens, 1), .cache_salt = c->job->request.cache_salt,
        .user = c, .started = started,
        .prompt_logits = wants_prompt ? prompt_logits : NULL, .choose = choose,
    };
}

void choice_rest(struct choice *c)
{
    choice_mask_close(c);
    sampler_close(&c->sampler);
}

void choice_free(struct choice *c)
{
    sampler_close(&c->sampler);
    continuation_free(&c->answer);
    answer_reader_close(&c->reader);
    logprobs_free(&c->logprobs);
    free(c->offsets);
}

/* ---- the end ---------------------------------------------------------------------------- */

const char *choice_finish_reason(const struct choice *c)
{
    if (c->answer.finish != SURPRISAL_FINISH_STOP)
        return "length";
    return c->reader.answer && !c->job->chat.named ? answer_finish_reason(c->reader.answer)
                                                   : "stop";
}

void choice_write_finish(struct writer *w, const struct choice *c)
{
    const struct continuation *a = &c->answer;
    writer_print(w, "\"finish_reason\":\"%s\",\"stop_reason\":", choice_finish_reason(c));
    if (continuation_stop_text(a))
        writer_word(w, continuation_stop_text(a));
    else if (a->end_id >= 0 && a->end_id != c->job->host->own_end_id)
        writer_print(w, "%d", (int)a->end_id);
    else
        writer_print(w, "null");
}
