#include "server/event.h"

void event_write_ids(struct writer *w, const struct choice *c)
{
    if (!c->job->request.return_ids)
        return;
    writer_print(w, ",\"token_ids\":");
    writer_ids(w, c->answer.ids + c->shown, c->answer.n - c->shown);
}

void event_write_prompt_ids(struct writer *w, const struct choice *c)
{
    if (!c->job->request.return_ids)
        return;
    writer_print(w, ",\"prompt_token_ids\":");
    writer_ids(w, c->prompt->ids, c->prompt->n);
}

bool event_send(struct writer *w, struct choice *c)
{
    if (c->job->request.continuous_usage) {
        const struct job_usage usage = job_usage_of(c);
        writer_print(w, ",");
        job_write_usage(w, &usage);
    }
    writer_print(w, "}");
    c->shown = c->answer.n;
    bool ok = w->ok && job_emit(c->job, w->b, w->err);
    buffer_free(w->b);
    return ok;
}
