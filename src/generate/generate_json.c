#include "generate/generate_json.h"

#include <math.h>

#include "base/json.h"
#include "base/machine.h"

static const char *const finish_words[] = {
    [SURPRISAL_FINISH_STOP] = "stop", [SURPRISAL_FINISH_LENGTH] = "length",
    [SURPRISAL_FINISH_CONTEXT] = "context", [SURPRISAL_FINISH_INTERRUPTED] = "interrupted",
};

/* Text may hold NUL, which cJSON's strings cannot. */
static bool add_text(cJSON *root, const char *text, size_t n)
{
    struct buffer b = { 0 };
    bool ok = json_append_string(&b, text, n, NULL) && cJSON_AddRawToObject(root, "text", b.data);
    buffer_free(&b);
    return ok;
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

static bool add_answer(cJSON *root, const struct generate_json *g)
{
    const struct continuation *a = g->answer;
    const struct surprisal_generate_result *r = g->result;
    cJSON *ids = cJSON_AddArrayToObject(root, "ids");
    cJSON *logprobs = cJSON_AddArrayToObject(root, "logprobs");
    bool ok = ids && logprobs;
    for (size_t i = 0; ok && i < a->n; i++)
        ok = cJSON_AddItemToArray(ids, cJSON_CreateNumber((double)a->ids[i]))
          && cJSON_AddItemToArray(logprobs, cJSON_CreateNumber(a->logprobs[i]));
    return ok
        && (r->text ? add_text(root, r->text, r->n_bytes)
                    : cJSON_AddNullToObject(root, "text") != NULL)
        && cJSON_AddStringToObject(root, "finish_reason", finish_words[r->finish])
        && add_reason(root, a);
}

static bool add_sampling(cJSON *root, const struct sampler_settings *s)
{
    cJSON *o = cJSON_AddObjectToObject(root, "sampling");
    struct buffer seed = { 0 };
    bool ok = o && cJSON_AddNumberToObject(o, "temperature", s->temperature)
           && json_add_size(o, "top_k", s->top_k) && cJSON_AddNumberToObject(o, "top_p", s->top_p)
           && cJSON_AddNumberToObject(o, "min_p", s->min_p)
           && cJSON_AddNumberToObject(o, "presence_penalty", s->presence_penalty)
           && cJSON_AddNumberToObject(o, "frequency_penalty", s->frequency_penalty)
           && cJSON_AddNumberToObject(o, "repetition_penalty", s->repetition_penalty)
           && buffer_printf(&seed, NULL, "%llu", (unsigned long long)s->seed)
           && cJSON_AddRawToObject(o, "seed", seed.data);
    buffer_free(&seed);
    return ok;
}

static bool add_rate(cJSON *root, const char *key, size_t tokens, double seconds)
{
    return json_add_double(root, key, tokens && seconds > 0 ? (double)tokens / seconds : NAN);
}

static bool add_work(cJSON *root, const struct generate_json *g)
{
    const struct surprisal_generate_result *r = g->result;
    size_t steps = r->tokens ? r->tokens - 1 : 0;
    bool bf16 = g->machine->compute == SURPRISAL_COMPUTE_BF16;
    return json_add_size(root, "prompt_tokens", r->prompt_tokens)
        && json_add_size(root, "completion_tokens", r->tokens)
        && json_add_double(root, "prefill_seconds", r->prefill_seconds)
        && add_rate(root, "prefill_tokens_per_second", r->prompt_tokens, r->prefill_seconds)
        && json_add_double(root, "decode_seconds", r->decode_seconds)
        && add_rate(root, "decode_tokens_per_second", steps, r->decode_seconds)
        && cJSON_AddStringToObject(root, "compute", bf16 ? "bf16" : "f32")
        && cJSON_AddStringToObject(root, "isa", engine_isa(g->model->engine))
        && json_add_size(root, "threads", (size_t)engine_threads(g->model->engine))
        && json_add_size(root, "peak_rss_bytes", machine_peak_memory());
}

char *generate_json(const struct generate_json *g)
{
    cJSON *root = cJSON_CreateObject();
    bool ok = root && cJSON_AddStringToObject(root, "surprisal", SURPRISAL_VERSION)
           && json_add_bytes(root, "checkpoint", g->model->checkpoint->path)
           && (g->context ? json_add_size(root, "context", g->context)
                          : cJSON_AddNullToObject(root, "context"))
           && add_answer(root, g) && add_sampling(root, g->sampling) && add_work(root, g);
    char *text = ok ? json_print(root) : NULL;
    cJSON_Delete(root);
    return text;
}
