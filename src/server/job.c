#include "server/job.h"

#include <stdlib.h>
#include <string.h>

#include "base/machine.h"
#include "server/choice.h"

#define JOB_WORKSPACE_BYTES ((size_t)512 << 20)

struct job *job_new(const struct job_host *host, const struct job_form *form, struct error *err)
{
    struct job *j = mem_array(1, sizeof *j, "a request", err);
    if (!j)
        return NULL;
    j->host = host;
    j->form = form;
    j->w = (struct workspace){ .bytes_limit = JOB_WORKSPACE_BYTES, .steps_limit = WORKSPACE_STEPS };
    j->chat.thinking_budget = REQUEST_NOT_GIVEN;
    j->created = time(NULL);
    j->arrived = machine_seconds();
    if (pthread_mutex_init(&j->lock, NULL) == 0)
        return j;
    free(j);
    error_lack(err, "out of memory: a lock");
    return NULL;
}

static void free_job(struct job *j)
{
    for (size_t i = 0; i < j->n_choices; i++)
        choice_free(&j->choices[i]);
    for (size_t i = 0; i < j->n_prompts; i++) {
        free(j->prompts[i].owned);
        free(j->prompts[i].offsets);
        buffer_free(&j->prompts[i].text);
        logprobs_free(&j->prompts[i].logprobs);
    }
    answer_form_close(&j->answer_form);
    free(j->choices);
    free(j->prompts);
    buffer_free(&j->stream);
    workspace_free(&j->w);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

/* ---- the end, behind the lock ------------------------------------------------------------ */

static void wake(struct job *j)
{
    if (j->wake && !j->abandoned)
        j->wake(j->user);
}

static bool write_usage_event(const struct job *j, struct buffer *b)
{
    struct writer w = { b, true, NULL };
    const struct job_usage all = job_usage(j);
    job_write_head(&w, j, j->form->event_object);
    writer_print(&w, "],");
    job_write_usage(&w, &all);
    writer_print(&w, "}");
    return w.ok;
}

/* How a stream ends: with an error or with usage, and in any case with [DONE]. */
static void end_stream(struct job *j)
{
    struct buffer json = { 0 };
    bool ok = true;
    if (j->problem.status)
        ok = problem_write(&json, &j->problem, NULL);
    else if (j->request.include_usage)
        ok = write_usage_event(j, &json);
    if (ok && json.size)
        buffer_printf(&j->stream, NULL, "data: %s\n\n", json.data);
    buffer_printf(&j->stream, NULL, "data: [DONE]\n\n");
    buffer_free(&json);
}

static void finish(struct job *j)
{
    struct metrics *m = j->host->metrics;
    if (j->request.stream)
        end_stream(j);
    for (size_t i = 0; i < j->n_choices; i++)
        metrics_finish(m, j->cancelled || j->problem.status ? METRICS_ABORT
                        : j->choices[i].answer.finish == SURPRISAL_FINISH_STOP ? METRICS_STOP
                                                                               : METRICS_LENGTH);
    metrics_time(m, METRICS_REQUEST, machine_seconds() - j->arrived);
    j->done = true;
    wake(j);
}

/* Behind the lock, which it gives back; frees what nobody waits for any more. */
static void leave(struct job *j)
{
    bool last = j->abandoned && !j->preparing && j->n_ended == j->n_added;
    pthread_mutex_unlock(&j->lock);
    if (last)
        free_job(j);
}

static void cancel(struct job *j)
{
    for (size_t i = 0; i < j->n_added; i++)
        scheduler_cancel(j->host->scheduler, j->choices[i].ticket);
}

static void ended(void *user, enum scheduler_end end, const struct error *err)
{
    struct choice *c = user;
    struct job *j = c->job;
    choice_rest(c);
    pthread_mutex_lock(&j->lock);
    if (end == SCHEDULER_FAILED && !j->problem.status) {
        j->problem.err = *err;
        problem_say(&j->problem, 500, NULL);
        cancel(j);
    }
    if (end == SCHEDULER_CANCELLED && !j->problem.status)
        problem_set(&j->problem, 503, NULL, "the server stops");
    j->n_ended++;
    if (j->n_ended == j->n_added && j->n_added == j->n_choices && !j->done)
        finish(j);
    leave(j);
}

/* ---- the beginning ------------------------------------------------------------------------ */

/* Alternatives of a prompt's tokens. */
static size_t most_logprobs(const struct job *j)
{
    const struct request *r = &j->request;
    if (r->prompt_logprobs == -1)
        return j->host->vocab_size;
    int64_t k = r->prompt_logprobs > r->logprobs ? r->prompt_logprobs : r->logprobs;
    return k > 0 ? (size_t)k : 0;
}

static bool make_choices(struct job *j)
{
    size_t n = j->n_prompts * j->request.n;
    j->choices = mem_array(n, sizeof *j->choices, "choices", &j->problem.err);
    if (!j->choices)
        return problem_say(&j->problem, 503, NULL);
    j->n_choices = n;
    for (size_t i = 0; i < n; i++) {
        struct job_prompt *p = &j->prompts[i / j->request.n];
        j->choices[i] = (struct choice){ .job = j, .index = i, .prompt = p };
        j->choices[i].characters = p->characters;
        p->logprobs.k = most_logprobs(j);
    }
    return true;
}

static bool add_choices(struct job *j)
{
    for (; j->n_added < j->n_choices; j->n_added++) {
        struct choice *c = &j->choices[j->n_added];
        struct scheduler_request r = choice_request(c);
        r.ended = ended;
        if (!scheduler_add(j->host->scheduler, &r, &c->ticket, &j->problem.err)) {
            const struct error *err = &j->problem.err;
            j->problem.status = err->interrupted ? 503 : err->lacking ? 429 : 400;
            return false;
        }
    }
    return true;
}

/* Behind the lock, so that no choice ends before all are there. */
static bool start(struct job *j)
{
    if (j->cancelled && !j->problem.status)
        problem_set(&j->problem, 503, NULL, "the server stops");
    if (j->cancelled)
        return false;
    if (!make_choices(j))
        return false;
    bool ok = add_choices(j);
    if (!ok)
        cancel(j);
    return ok;
}

bool job_start(struct job *j)
{
    pthread_mutex_lock(&j->lock);
    bool ok = start(j);
    pthread_mutex_unlock(&j->lock);
    return ok;
}

bool job_is_wanted(struct job *j)
{
    pthread_mutex_lock(&j->lock);
    bool wanted = !j->cancelled;
    pthread_mutex_unlock(&j->lock);
    return wanted;
}

void job_prepared(struct job *j, const struct problem *p)
{
    pthread_mutex_lock(&j->lock);
    if (p->status && !j->problem.status)
        j->problem = *p;
    j->preparing = false;
    if (p->status || !start(j))
        j->refused = true;
    wake(j);
    leave(j);
}

void job_cancel(struct job *j)
{
    pthread_mutex_lock(&j->lock);
    j->cancelled = true;
    cancel(j);
    pthread_mutex_unlock(&j->lock);
}

bool job_is_done(struct job *j)
{
    pthread_mutex_lock(&j->lock);
    bool done = j->done;
    pthread_mutex_unlock(&j->lock);
    return done;
}

void job_abandon(struct job *j)
{
    pthread_mutex_lock(&j->lock);
    j->abandoned = true;
    j->cancelled = j->cancelled || !j->done;
    cancel(j);
    leave(j);
}

bool job_emit(struct job *j, const struct buffer *json, struct error *err)
{
    pthread_mutex_lock(&j->lock);
    bool ok = j->stream.size - j->sent < JOB_STREAM_BYTES
           || error_set(err, "the client does not read its stream");
    ok = ok && buffer_printf(&j->stream, err, "data: ")
      && buffer_append(&j->stream, json->data, json->size, err)
      && buffer_printf(&j->stream, err, "\n\n");
    wake(j);
    pthread_mutex_unlock(&j->lock);
    return ok;
}

/* ---- figures -------------------------------------------------------------------------------- */

struct job_usage job_usage_of(const struct choice *c)
{
    return (struct job_usage){ c->prompt->n, c->answer.n, c->prompt->n_cached,
                               c->reasoning_tokens };
}

struct job_usage job_usage(const struct job *j)
{
    struct job_usage u = { 0 };
    for (size_t i = 0; i < j->n_prompts; i++) {
        u.prompt += j->prompts[i].n;
        u.cached += j->prompts[i].n_cached;
    }
    for (size_t i = 0; i < j->n_choices; i++) {
        u.completion += j->choices[i].answer.n;
        u.reasoning += j->choices[i].reasoning_tokens;
    }
    return u;
}

void job_write_usage(struct writer *w, const struct job_usage *u)
{
    writer_print(w, "\"usage\":{\"prompt_tokens\":%zu,\"completion_tokens\":%zu,"
                 "\"total_tokens\":%zu,\"prompt_tokens_details\":{\"cached_tokens\":%zu},"
                 "\"completion_tokens_details\":{\"reasoning_tokens\":%zu}}", u->prompt,
                 u->completion, u->prompt + u->completion, u->cached, u->reasoning);
}

struct logprobs_names job_names(const struct job *j, int64_t most)
{
    return (struct logprobs_names){ j->host->tokenizer, j->request.ids_as_tokens,
                                    most < 0 ? SIZE_MAX : (size_t)most };
}

void job_write_head(struct writer *w, const struct job *j, const char *object)
{
    writer_print(w, "{\"id\":");
    writer_word(w, j->id);
    writer_print(w, ",\"object\":\"%s\",\"created\":%lld,\"model\":", object,
                 (long long)j->created);
    writer_word(w, j->model);
    writer_print(w, ",\"choices\":[");
}

void job_write_tail(struct writer *w, const struct job *j)
{
    const struct job_usage usage = job_usage(j);
    writer_print(w, "],\"system_fingerprint\":\"surprisal-" SURPRISAL_VERSION "\","
                 "\"service_tier\":null,");
    job_write_usage(w, &usage);
}
