#include "generate/chat_session.h"

#include <stdlib.h>

#include "generate/conversation.h"
#include "generate/result.h"

struct chat_session {
    struct surprisal_generate_options o;
    struct surprisal_chat_settings settings;
    struct generation generation;
    struct conversation conversation;
};

/* ---- opening --------------------------------------------------------------------- */

bool chat_session_check(const struct surprisal_generate_options *o, struct error *err)
{
    if (o->prompt || o->text || o->ids)
        return error_set(err, "a chat has no prompt: messages are sent to it");
    return generation_check(o, err) && (!o->chat || conversation_check(o->chat, err));
}

/* The tokens that the conversation may have. */
static bool set_context(struct chat_session *s, size_t context, struct error *err)
{
    struct generation *g = &s->generation;
    const char *path = g->model.checkpoint->path;
    if (!context && !g->context)
        return error_set(err, "%s: the config has no max_position_embeddings, so the context must "
                         "be given", path);
    if (context && g->context && context > g->context)
        return error_set(err, "a context of %zu is beyond the %zu tokens that %s was made for",
                         context, g->context, path);
    if (context)
        g->context = context;
    return true;
}

struct chat_session *chat_session_open(const struct surprisal_generate_options *o, size_t context,
                                       struct error *err)
{
    struct chat_session *s = mem_array(1, sizeof *s, "a chat", err);
    if (!s)
        return NULL;
    s->o = *o;
    if (o->chat)
        s->settings = *o->chat;
    struct generation *g = &s->generation;
    if (chat_session_check(o, err) && generation_open(g, &s->o, err)
        && conversation_open(&s->conversation, &s->settings, g->model.checkpoint->folder, err)
        && set_context(s, context, err) && generation_reserve(g, g->context, true, err))
        return s;
    chat_session_close(s);
    return NULL;
}

void chat_session_close(struct chat_session *s)
{
    if (!s)
        return;
    conversation_close(&s->conversation);
    generation_close(&s->generation);
    free(s);
}

struct surprisal_chat_size chat_session_size(const struct chat_session *s)
{
    const struct surprisal_generate_plan *p = &s->generation.plan;
    return (struct surprisal_chat_size){
        .context = s->generation.context,
        .memory_bytes = p->weight_memory_bytes + p->kv_cache_bytes + p->buffer_bytes,
    };
}

bool chat_session_waits(const struct chat_session *s)
{
    return s->conversation.waits;
}

/* ---- turns ------------------------------------------------------------------------ */

static bool answer(struct chat_session *s, struct turn *t, bool thinks,
                   struct surprisal_generate_result *result, struct error *err)
{
    struct generation *g = &s->generation;
    struct answer_reader reader = { 0 };
    t->reader = &reader;
    generation_begin(g, t, SIZE_MAX);
    bool ok = conversation_open_reader(&s->conversation, &reader, g->model.tokenizer, thinks,
                                       s->o.machine.progress.user, err)
           && generation_run(g, t, err)
           && conversation_add_answer(&s->conversation, &reader.parts, err)
           && result_give(result, g, t, err);
    continuation_free(&t->answer);
    answer_reader_close(&reader);
    return ok;
}

static bool run_turn(struct chat_session *s, struct surprisal_generate_result *result,
                     struct error *err)
{
    struct generation *g = &s->generation;
    struct turn t = { .json_line = true };
    int32_t *ids = NULL;
    bool thinks;
    bool ok = conversation_prompt(&s->conversation, g->model.tokenizer, &ids, &t.n_prompt, &thinks,
                                  err);
    t.prompt = ids;
    ok = ok && generation_check_prompt(g, "the conversation", ids, t.n_prompt, err)
      && answer(s, &t, thinks, result, err);
    free(ids);
    return ok;
}

bool chat_session_send(struct chat_session *s, const struct surprisal_chat_message *messages,
                       size_t n, struct surprisal_generate_result *result, struct error *err)
{
    struct conversation *c = &s->conversation;
    size_t size = c->added.size;
    bool waits = c->waits, ok = true;
    *result = (struct surprisal_generate_result){ 0 };
    if (n == 0 && !waits)
        return error_set(err, "no message is sent");
    for (size_t i = 0; ok && i < n; i++)
        ok = conversation_add(c, messages[i].role, messages[i].text, messages[i].n_bytes, err);
    if (ok && run_turn(s, result, err))
        return true;
    conversation_cut(c, size, waits);
    return false;
}
