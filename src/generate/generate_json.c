#include "generate/generate_json.h"

#include <math.h>

#include "base/json.h"
#include "base/machine.h"

static const char *const finish_words[] = {
    [SURPRISAL_FINISH_STOP] = "stop", [SURPRISAL_FINISH_LENGTH] = "length",
    [SURPRISAL_FINISH_CONTEXT] = "context", [SURPRISAL_FINISH_INTERRUPTED] = "interrupted",
};

/* As cJSON's AddRaw functions take it; the buffer is freed. */
static bool add_raw(cJSON *root, const char *key, struct buffer *json, bool ok)
{
    ok = ok && cJSON_AddRawToObject(root, key, json->data);
    buffer_free(json);
    return ok;
}

/* Text may hold NUL, which cJSON's strings cannot. */
static bool add_text(cJSON *root, const char *key, const struct buffer *text)
{
    struct buffer json = { 0 };
    return add_raw(root, key, &json, json_append_string(&json, text->data ? text->data : "",
                                                        text->size, NULL));
}

static bool add_text_or_null(cJSON *root, const char *key, const struct buffer *text)
{
    return text->size ? add_text(root, key, text) : cJSON_AddNullToObject(root, key) != NULL;
}

/* The stop text, or the id, that ended the answer. */
static bool add_reason(cJSON *root, const struct continuation *a)
{
    const char *stop = continuation_stop_text(a);
    if (stop)
        return json_add_bytes(root, "stop_reason", stop) != NULL;
    return a->end_id >= 0 ? json_add_size(root, "stop_reason", (size_t)a->end_id) != NULL
                          : cJSON_AddNullToObject(root, "stop_reason") != NULL;
}

static bool add_ids(cJSON *root, const char *key, const int32_t *ids, size_t n)
{
    cJSON *list = cJSON_AddArrayToObject(root, key);
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = cJSON_AddItemToArray(list, cJSON_CreateNumber((double)ids[i]));
    return ok;
}

static bool add_logprobs(cJSON *root, const struct continuation *a)
{
    cJSON *list = cJSON_AddArrayToObject(root, "logprobs");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < a->n; i++)
        ok = cJSON_AddItemToArray(list, cJSON_CreateNumber(a->logprobs[i]));
    return ok;
}

/* Of a chat. */
static bool add_message(cJSON *root, const struct turn *t)
{
    const struct message_parts *m = &t->reader->parts;
    struct buffer calls = { 0 };
    return add_text_or_null(root, "reasoning", &m->reasoning)
        && add_text_or_null(root, "content", &m->content)
        && add_raw(root, "tool_calls", &calls, message_parts_append_calls(&calls, m, NULL));
}

static bool add_answer(cJSON *root, const struct generation *g, const struct turn *t)
{
    const struct continuation *a = &t->answer;
    const char *finish = t->reader && a->finish == SURPRISAL_FINISH_STOP
                       ? answer_finish_reason(t->reader->answer) : finish_words[a->finish];
    return (!t->reader || (add_message(root, t)
                           && add_ids(root, "prompt_ids", t->prompt, t->n_prompt)))
        && add_ids(root, "ids", a->ids, a->n) && add_logprobs(root, a)
        && (g->model.tokenizer ? add_text(root, "text", &a->text.text)
                               : cJSON_AddNullToObject(root, "text") != NULL)
        && cJSON_AddStringToObject(root, "finish_reason", finish) && add_reason(root, a);
}

static bool add_sampling(cJSON *root, const struct sampler_settings *s, uint64_t seed_used)
{
    cJSON *o = cJSON_AddObjectToObject(root, "sampling");
    struct buffer seed = { 0 };
    bool ok = o && cJSON_AddNumberToObject(o, "temperature", s->temperature)
           && json_add_size(o, "top_k", s->top_k) && cJSON_AddNumberToObject(o, "top_p", s->top_p)
           && cJSON_AddNumberToObject(o, "min_p", s->min_p)
           && cJSON_AddNumberToObject(o, "presence_penalty", s->presence_penalty)
           && cJSON_AddNumberToObject(o, "frequency_penalty", s->frequency_penalty)
           && cJSON_AddNumberToObject(o, "repetition_penalty", s->repetition_penalty)
           && buffer_printf(&seed, NULL, "%llu", (unsigned long long)seed_used);
    return add_raw(o, "seed", &seed, ok);
}

/* [{draft, checked, accepted}], and when drafts were given up. */
static bool add_drafts(cJSON *root, const struct drafting *d)
{
    if (!d->n_drafts)
        return true;
    cJSON *list = cJSON_AddArrayToObject(root, "drafts");
    bool ok = list != NULL;
    for (size_t i = 0; ok && i < d->n_drafts; i++) {
        const struct surprisal_draft_count count = drafting_count(d, i);
        cJSON *draft = cJSON_CreateObject();
        ok = cJSON_AddItemToArray(list, draft) && json_add_size(draft, "draft", i + 1)
          && json_add_size(draft, "checked", count.checked)
          && json_add_size(draft, "accepted", count.accepted);
    }
    return ok && (d->stopped ? json_add_size(root, "drafts_stopped", d->stopped)
                             : cJSON_AddNullToObject(root, "drafts_stopped")) != NULL;
}

static bool add_rate(cJSON *root, const char *key, size_t tokens, double seconds)
{
    return json_add_double(root, key, tokens && seconds > 0 ? (double)tokens / seconds : NAN);
}

static bool add_work(cJSON *root, const struct generation *g, const struct turn *t)
{
    const struct engine *e = g->model.engine;
    size_t tokens = t->answer.n, steps = tokens ? tokens - 1 : 0;
    bool bf16 = g->o->machine.compute == SURPRISAL_COMPUTE_BF16;
    return json_add_size(root, "prompt_tokens", t->n_prompt)
        && (!t->reader || json_add_size(root, "cached_tokens", t->n_cached))
        && json_add_size(root, "completion_tokens", tokens)
        && json_add_double(root, "prefill_seconds", t->prefill_seconds)
        && add_rate(root, "prefill_tokens_per_second", t->n_prompt - t->n_cached,
                    t->prefill_seconds)
        && json_add_double(root, "decode_seconds", t->decode_seconds)
        && add_rate(root, "decode_tokens_per_second", steps, t->decode_seconds)
        && cJSON_AddStringToObject(root, "compute", bf16 ? "bf16" : "f32")
        && cJSON_AddStringToObject(root, "kv_cache_dtype",
                                   g->plan.kv_cache_bf16 ? "bf16" : "f32")
        && cJSON_AddStringToObject(root, "isa", engine_isa(e))
        && json_add_size(root, "threads", (size_t)engine_threads(e))
        && json_add_size(root, "weight_bytes", g->plan.weight_bytes)
        && json_add_size(root, "weight_memory_bytes", g->plan.weight_memory_bytes)
        && json_add_size(root, "weight_bytes_read", decoder_bytes_read(g->decoder))
        && json_add_size(root, "kv_cache_bytes", g->plan.kv_cache_bytes)
        && json_add_size(root, "buffer_bytes", g->plan.buffer_bytes)
        && json_add_size(root, "planned_bytes", g->plan.memory_bytes)
        && json_add_size(root, "peak_rss_bytes", machine_peak_memory());
}

char *generate_json(const struct generation *g, const struct turn *t)
{
    cJSON *root = cJSON_CreateObject();
    bool ok = root && cJSON_AddStringToObject(root, "surprisal", SURPRISAL_VERSION)
           && json_add_bytes(root, "checkpoint", g->model.checkpoint->path)
           && (g->context ? json_add_size(root, "context", g->context)
                          : cJSON_AddNullToObject(root, "context"))
           && add_answer(root, g, t) && add_sampling(root, &g->sampling, t->seed)
           && add_drafts(root, &g->drafting) && add_work(root, g, t);
    char *text = ok ? t->json_line ? json_print_line(root) : json_print(root) : NULL;
    cJSON_Delete(root);
    return text;
}
