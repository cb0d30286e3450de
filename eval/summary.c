#include "eval/summary.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/machine.h"
#include "eval/protocol.h"

double summary_tokens_per_second(const struct summary *s)
{
    return s->seconds > 0 ? (double)s->work.model_tokens / s->seconds : (double)NAN;
}

/* Size 0 stands for "does not apply". */
static void add_size_or_null(cJSON *object, const char *key, size_t value)
{
    if (value)
        json_add_size(object, key, value);
    else
        cJSON_AddNullToObject(object, key);
}

static void add_digest(cJSON *object, const char *key, const struct digest *d)
{
    char hex[2 * DIGEST_BYTES + 1];
    digest_hex(hex, d);
    cJSON_AddStringToObject(object, key, hex);
}

/* A file name is any bytes, JSON is UTF-8: what is not ASCII in a broken name becomes '?'. */
static void add_path(cJSON *object, const char *path)
{
    bool valid = utf8_valid(path, strlen(path), NULL);
    cJSON *item = cJSON_AddStringToObject(object, "path", path);
    for (char *c = item ? item->valuestring : NULL; !valid && c && *c; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
}

static void add_checkpoint(cJSON *root, const struct summary *s)
{
    cJSON *o = cJSON_AddObjectToObject(root, "checkpoint");
    add_path(o, s->checkpoint->path);
    add_digest(o, "digest", &s->checkpoint_digest);
    cJSON_AddStringToObject(o, "model_type", s->checkpoint->config.model_type);
    json_add_size(o, "parameters", s->weights->parameters);
    json_add_size(o, "bytes", s->weights->bytes);
    json_add_size(o, "quantized_bytes", s->weights->quantized_bytes);
}

static void add_input(cJSON *root, const struct summary *s)
{
    const struct input *in = s->input;
    cJSON *o = cJSON_AddObjectToObject(root, "text");
    add_path(o, in->path);
    add_digest(o, "sha256", &in->digest);
    json_add_size(o, "bytes", in->bytes);
    add_size_or_null(o, "words", in->words);
    if (in->is_text)
        cJSON_AddStringToObject(o, "join",
                                s->options->join == SURPRISAL_JOIN_HF ? "hf" : "raw");
    else
        cJSON_AddNullToObject(o, "join");
    if (!s->tokenizer) {
        cJSON_AddNullToObject(root, "tokenizer");
        return;
    }
    o = cJSON_AddObjectToObject(root, "tokenizer");
    add_path(o, tokenizer_path(s->tokenizer));
    cJSON_AddStringToObject(o, "sha256", tokenizer_sha256(s->tokenizer));
}

static void add_protocol(cJSON *root, const struct summary *s)
{
    const struct surprisal_eval_options *o = s->options;
    bool strided = o->protocol == SURPRISAL_STRIDED;
    cJSON_AddStringToObject(root, "protocol", protocol_name(o->protocol));
    json_add_size(root, "context", o->context);
    json_add_size(root, "stride", strided && o->stride ? o->stride : o->context);
    json_add_size(root, "windows", s->windows);
    json_add_size(root, "tokens", s->input->n_ids);
    json_add_size(root, "scored", s->scored);
    cJSON_AddStringToObject(root, "compute",
                            o->compute == SURPRISAL_COMPUTE_BF16 ? "bf16" : "f32");
    cJSON_AddStringToObject(root, "isa", s->isa);
    json_add_size(root, "threads", (size_t)s->threads);
}

static void add_figures(cJSON *root, const struct summary *s)
{
    const struct figures *f = &s->figures;
    json_add_double(root, "mean_nll", f->mean_nll);
    json_add_double(root, "perplexity", f->perplexity);
    json_add_double(root, "nll_stderr", f->nll_stderr);
    json_add_double(root, "perplexity_stderr", f->perplexity_stderr);
    json_add_double(root, "word_perplexity", f->word_perplexity);
    json_add_double(root, "byte_perplexity", f->byte_perplexity);
    json_add_double(root, "bits_per_byte", f->bits_per_byte);
    json_add_double(root, "seconds", s->seconds);
    json_add_double(root, "tokens_per_second", summary_tokens_per_second(s));
    json_add_size(root, "peak_rss_bytes", machine_peak_memory());
    json_add_size(root, "bytes_read", s->work.bytes_read);
    json_add_size(root, "passes", s->work.passes);
}

static void add_extras(cJSON *root, const struct summary *s)
{
    if (s->prefix_id >= 0)
        json_add_size(root, "prefix_id", (size_t)s->prefix_id);
    else
        cJSON_AddNullToObject(root, "prefix_id");
    add_size_or_null(root, "max_windows", s->options->max_windows);
    if (s->options->documents == SURPRISAL_DOCUMENTS_WIKITEXT) {
        cJSON *o = cJSON_AddObjectToObject(root, "documents");
        cJSON_AddStringToObject(o, "split", "wikitext");
        json_add_size(o, "count", s->input->n_documents);
    } else
        cJSON_AddNullToObject(root, "documents");
}

bool summary_settings(const struct summary *s, struct buffer *out, struct error *err)
{
    const struct surprisal_eval_options *o = s->options;
    char config[2 * DIGEST_BYTES + 1], text[2 * DIGEST_BYTES + 1];
    digest_hex(config, &s->checkpoint->config_digest);
    digest_hex(text, &s->input->digest);
    return buffer_printf(out, err, "version: %s\nconfig.json: %s\ntext: %s\ntokenizer: %s\n",
                         SURPRISAL_VERSION, config, text,
                         s->tokenizer ? tokenizer_sha256(s->tokenizer) : "none")
        && buffer_printf(out, err, "protocol: %s\ncontext: %zu\nstride: %zu\njoin: %d\n"
                         "documents: %d\nmax-documents: %zu\nmax-windows: %zu\nprefix-id: %d\n",
                         protocol_name(o->protocol), o->context, o->stride, (int)o->join,
                         (int)o->documents, o->max_documents, o->max_windows, (int)s->prefix_id)
        && buffer_printf(out, err, "scored: %zu\nhidden: %d\ncompute: %d\nisa: %s\n", s->scored,
                         (int)o->hidden, (int)o->compute, s->isa);
}

char *summary_json(const struct summary *s, struct error *err)
{
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "surprisal", SURPRISAL_VERSION);
    add_checkpoint(root, s);
    add_input(root, s);
    add_protocol(root, s);
    add_figures(root, s);
    add_extras(root, s);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    if (!text)
        error_set(err, "out of memory: the summary");
    return text;
}
