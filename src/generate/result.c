#include "generate/result.h"

#include <stdlib.h>
#include <string.h>

#include "generate/generate_json.h"

/* NULL for an empty text. */
static char *give_text(struct buffer *b, size_t *n)
{
    char *text = b->size ? b->data : NULL;
    *n = b->size;
    if (text)
        b->data = NULL;
    return text;
}

static bool give_call(struct surprisal_chat_call *to, struct message_call *call,
                      struct error *err)
{
    if (!buffer_append(&call->name, "", 0, err) || !buffer_append(&call->arguments, "", 0, err))
        return false;
    *to = (struct surprisal_chat_call){ call->name.data, call->arguments.data };
    call->name.data = call->arguments.data = NULL;
    return true;
}

static bool give_message(struct surprisal_generate_result *r, struct answer_reader *reader,
                         struct error *err)
{
    struct message_parts *m = &reader->parts;
    r->wants_results = strcmp(answer_finish_reason(reader->answer), "tool_calls") == 0;
    r->calls = mem_array(m->n_calls, sizeof *r->calls, "calls", err);
    if (!r->calls)
        return false;
    for (; r->n_calls < m->n_calls; r->n_calls++)
        if (!give_call(&r->calls[r->n_calls], &m->calls[r->n_calls], err))
            return false;
    r->reasoning = give_text(&m->reasoning, &r->reasoning_bytes);
    r->content = give_text(&m->content, &r->content_bytes);
    return true;
}

static bool give(struct surprisal_generate_result *r, const struct generation *g, struct turn *t,
                 struct error *err)
{
    struct continuation *a = &t->answer;
    r->json = generate_json(g, t);
    if (!r->json)
        return error_set(err, "out of memory: the answer as JSON");
    if (t->reader && !give_message(r, t->reader, err))
        return false;
    /* The result owns them now. */
    if (g->model.tokenizer) {
        r->n_bytes = a->text.text.size;
        r->text = a->text.text.data;
        a->text.text.data = NULL;
    }
    r->ids = a->ids;
    r->logprobs = a->logprobs;
    a->ids = NULL;
    a->logprobs = NULL;
    return true;
}

bool result_give(struct surprisal_generate_result *r, const struct generation *g, struct turn *t,
                 struct error *err)
{
    *r = (struct surprisal_generate_result){
        .prompt_tokens = t->n_prompt, .cached_tokens = t->n_cached, .tokens = t->answer.n,
        .finish = t->answer.finish, .prefill_seconds = t->prefill_seconds,
        .decode_seconds = t->decode_seconds, .drafts_stopped = g->drafting.stopped,
    };
    for (size_t i = 0; i < g->drafting.n_drafts; i++)
        r->drafts[i] = drafting_count(&g->drafting, i);
    if (give(r, g, t, err))
        return true;
    result_free(r);
    return false;
}

void result_free(struct surprisal_generate_result *r)
{
    for (size_t i = 0; i < r->n_calls; i++) {
        free(r->calls[i].name);
        free(r->calls[i].arguments);
    }
    free(r->calls);
    free(r->reasoning);
    free(r->content);
    free(r->ids);
    free(r->logprobs);
    free(r->text);
    free(r->json);
    *r = (struct surprisal_generate_result){ 0 };
}
