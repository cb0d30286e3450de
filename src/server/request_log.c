#include "server/request_log.h"

#include "base/machine.h"
#include "server/choice.h"

static void write_text(struct writer *w, const struct job *j)
{
    writer_print(w, ",\"prompts\":[");
    for (size_t i = 0; i < j->n_prompts; i++) {
        struct buffer text = { 0 };
        writer_print(w, i ? "," : "");
        w->ok = w->ok && tokenizer_decode(j->host->tokenizer, j->prompts[i].ids, j->prompts[i].n,
                                          &text, w->err);
        writer_buffer(w, &text);
        buffer_free(&text);
    }
    writer_print(w, "],\"answers\":[");
    for (size_t i = 0; i < j->n_choices; i++) {
        writer_print(w, i ? "," : "");
        writer_buffer(w, &j->choices[i].answer.text.text);
    }
    writer_print(w, "]");
}

/* Behind the job's lock; what is still being computed belongs to the engine thread. */
static void write_job(struct writer *w, const struct job *j, bool texts)
{
    const struct job_usage u = job_usage(j);
    writer_print(w, ",\"id\":");
    writer_word(w, j->id);
    writer_print(w, ",\"stream\":%s,\"choices\":%zu,\"done\":%s",
                 j->request.stream ? "true" : "false", j->n_choices, j->done ? "true" : "false");
    if (!j->done)
        return;
    writer_print(w, ",");
    job_write_usage(w, &u);
    writer_print(w, ",\"queue_seconds\":%.6f,\"first_token_seconds\":%.6f",
                 j->prefill_begun > 0 ? j->prefill_begun - j->arrived : 0,
                 j->first_token > 0 ? j->first_token - j->arrived : 0);
    writer_print(w, ",\"finish_reasons\":[");
    for (size_t i = 0; i < j->n_choices; i++)
        writer_print(w, i ? ",\"%s\"" : "\"%s\"",
                     j->choices[i].answer.finished ? choice_finish_reason(&j->choices[i])
                                                   : "abort");
    writer_print(w, "]");
    if (texts)
        write_text(w, j);
}

void request_log(struct exchange *x)
{
    const struct surprisal_serve_options *o = x->server->o;
    struct buffer line = { 0 };
    struct writer w = { &line, true, NULL };
    if (!o->log)
        return;
    writer_print(&w, "{\"time\":%lld,\"path\":", (long long)time(NULL));
    writer_word(&w, x->route ? x->route->path : NULL);
    writer_print(&w, ",\"status\":%u,\"seconds\":%.6f", x->status, machine_seconds() - x->began);
    if (x->problem.status) {
        writer_print(&w, ",\"error\":");
        writer_word(&w, x->problem.err.message);
    }
    if (x->job) {
        pthread_mutex_lock(&x->job->lock);
        write_job(&w, x->job, o->log_texts);
        pthread_mutex_unlock(&x->job->lock);
    }
    writer_print(&w, "}");
    if (w.ok)
        o->log(o->generate.machine.progress.user, line.data);
    buffer_free(&line);
}
