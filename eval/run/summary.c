#include "eval/run/summary.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "eval/protocol/plans.h"
#include "eval/protocol/protocol.h"
#include "formats/weights.h"

double summary_tokens_per_second(const struct summary *s)
{
    return s->seconds > 0 ? (double)s->work.model_tokens / s->seconds : (double)NAN;
}

/* Adds null for 0, which means "does not apply". */
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

/* Formats of linears whose weights BF16 compute has rounded; none: there is no such member. */
static void add_rounded(cJSON *o, const struct summary *s)
{
    if (s->options->machine.compute != SURPRISAL_COMPUTE_BF16 || !s->weights->inexact_in_bf16)
        return;
    cJSON *list = cJSON_AddArrayToObject(o, "rounded_to_bf16");
    for (int i = 0; i < DTYPE_COUNT; i++)
        if (s->weights->inexact_in_bf16 & WEIGHT_DTYPE(i))
            cJSON_AddItemToArray(list, cJSON_CreateString(dtype_name((enum dtype)i)));
}

static void add_checkpoint(cJSON *root, const struct summary *s)
{
    cJSON *o = cJSON_AddObjectToObject(root, "checkpoint");
    json_add_bytes(o, "path", s->checkpoint->path);
    add_digest(o, "digest", &s->checkpoint_digest);
    add_digest(o, "head_sha256", &s->head_digest);
    cJSON_AddStringToObject(o, "model_type", s->checkpoint->config.model_type);
    json_add_size(o, "parameters", s->weights->parameters);
    json_add_size(o, "bytes", s->weights->bytes);
    json_add_size(o, "quantized_bytes", s->weights->quantized_bytes);
    add_rounded(o, s);
    if (*s->checkpoint->revision)
        cJSON_AddStringToObject(o, "revision", s->checkpoint->revision);
    else
        cJSON_AddNullToObject(o, "revision");
}

static void add_input(cJSON *root, const struct summary *s)
{
    const struct input *in = s->input;
    cJSON *o = cJSON_AddObjectToObject(root, "text");
    json_add_bytes(o, "path", in->path);
    add_digest(o, "sha256", &in->digest);
    json_add_size(o, "bytes", in->bytes);
    add_size_or_null(o, "words", in->words);
    if (in->is_text)
        cJSON_AddStringToObject(o, "join",
                                s->options->join == SURPRISAL_JOIN_HF ? "hf" : "raw");
    else
        cJSON_AddNullToObject(o, "join");
    add_digest(o, "ids_sha256", &in->ids_digest);
    if (!s->tokenizer) {
        cJSON_AddNullToObject(root, "tokenizer");
        return;
    }
    o = cJSON_AddObjectToObject(root, "tokenizer");
    json_add_bytes(o, "path", s->tokenizer);
    cJSON_AddStringToObject(o, "sha256", s->tokenizer_sha256);
}

static void add_protocol(cJSON *root, const struct summary *s)
{
    cJSON_AddStringToObject(root, "protocol", protocol_name(s->plan->protocol));
    json_add_size(root, "context", s->plan->context);
    json_add_size(root, "stride", s->plan->stride);
    json_add_size(root, "windows", s->windows);
    json_add_size(root, "tokens", s->input->n_ids);
    json_add_size(root, "scored", s->scored);
    cJSON_AddStringToObject(root, "compute",
                            s->options->machine.compute == SURPRISAL_COMPUTE_BF16 ? "bf16" : "f32");
    cJSON_AddStringToObject(root, "isa", s->isa);
    json_add_size(root, "threads", (size_t)s->threads);
}

static void add_figures(cJSON *root, const struct summary *s)
{
    const struct figures *f = &s->figures;
    json_add_double(root, "mean_nll", f->mean);
    json_add_double(root, "perplexity", f->perplexity);
    json_add_double(root, "nll_stderr", f->mean_se);
    json_add_double(root, "perplexity_stderr", f->perplexity_se);
    json_add_double(root, "word_perplexity", f->word_perplexity);
    json_add_double(root, "byte_perplexity", f->byte_perplexity);
    json_add_double(root, "bits_per_byte", f->bits_per_byte);
    json_add_double(root, "seconds", s->seconds);
    json_add_double(root, "tokens_per_second", summary_tokens_per_second(s));
    add_size_or_null(root, "peak_rss_bytes", s->peak_bytes);
    json_add_size(root, "bytes_read", s->work.bytes_read);
    json_add_size(root, "passes", s->work.passes);
}

/* Drafts are counted from 1. */
static void add_drafts(cJSON *root, const struct summary *s)
{
    if (!s->options->mtp)
        return;
    cJSON *list = cJSON_AddArrayToObject(root, "mtp");
    for (size_t i = 0; i < s->options->mtp; i++) {
        const struct draft_figures f = draft_figures_of(&s->drafts[i]);
        cJSON *o = cJSON_CreateObject();
        json_add_size(o, "draft", i + 1);
        json_add_size(o, "positions", f.positions);
        json_add_double(o, "same_top1", f.same_top1);
        json_add_double(o, "accepted", f.accepted);
        json_add_double(o, "mean_nll", f.mean_nll);
        cJSON_AddItemToArray(list, o);
    }
}

static void add_document_windows(cJSON *documents, const struct sequence *q)
{
    cJSON *list = cJSON_AddArrayToObject(documents, "windows");
    for (size_t begin = 0, end; begin < q->all.n; begin = end) {
        size_t document = sequence_document(q, begin);
        for (end = begin; end < q->all.n && sequence_document(q, end) == document; end++)
            ;
        cJSON_AddItemToArray(list, cJSON_CreateNumber((double)(end - begin)));
    }
}

/* Only of a part. */
static void add_part(cJSON *root, const struct summary *s)
{
    if (!s->options->part.of)
        return;
    cJSON *o = cJSON_AddObjectToObject(root, "part");
    json_add_size(o, "index", s->options->part.index);
    json_add_size(o, "of", s->options->part.of);
    json_add_size(o, "first_window", s->sequence->first_window);
    json_add_size(o, "windows_of_all", s->sequence->all.n);
}

/* Text from files: may be anything. */
static void add_text_or_null(cJSON *object, const char *key, const char *text)
{
    if (text)
        json_add_bytes(object, key, text);
    else
        cJSON_AddNullToObject(object, key);
}

static void add_prefix(cJSON *root, const struct summary *s)
{
    if (s->prefix_id >= 0)
        json_add_size(root, "prefix_id", (size_t)s->prefix_id);
    else
        cJSON_AddNullToObject(root, "prefix_id");
    add_text_or_null(root, "prefix_token", s->prefix ? s->prefix->token : NULL);
    add_text_or_null(root, "prefix_source", s->prefix ? s->prefix->source : NULL);
}

static void add_extras(cJSON *root, const struct summary *s)
{
    add_prefix(root, s);
    add_size_or_null(root, "max_windows", s->options->max_windows);
    if (s->plan->task != SURPRISAL_TASK_NONE) {
        cJSON *o = cJSON_AddObjectToObject(root, "documents");
        cJSON_AddStringToObject(o, "split", plan_task_name(s->plan->task));
        json_add_size(o, "count", s->input->n_documents);
        add_document_windows(o, s->sequence);
    } else
        cJSON_AddNullToObject(root, "documents");
    json_add_size(root, "plans", size_max(s->options->n_plans, 1));
    add_part(root, s);
}

static void add_digest_or_null(cJSON *root, const char *key, const struct digest *d, bool there)
{
    if (there)
        add_digest(root, key, d);
    else
        cJSON_AddNullToObject(root, key);
}

static void add_record(cJSON *root, const struct summary *s)
{
    const struct run_digests *d = &s->digests;
    add_digest_or_null(root, "tokens_sha256", &d->tokens, d->has_tokens);
    if (d->has_hidden)
        cJSON_AddStringToObject(root, "hidden",
                                s->options->hidden == SURPRISAL_HIDDEN_BF16 ? "bf16" : "f32");
    else
        cJSON_AddNullToObject(root, "hidden");
    add_digest_or_null(root, "hidden_sha256", &d->hidden, d->has_hidden);
}

bool summary_settings(const struct summary *s, struct buffer *out, struct error *err)
{
    const struct surprisal_eval_options *o = s->options;
    char config[2 * DIGEST_BYTES + 1], text[2 * DIGEST_BYTES + 1];
    digest_hex(config, &s->checkpoint->config_digest);
    digest_hex(text, &s->input->digest);
    return buffer_printf(out, err, "version: %s\nconfig.json: %s\ntext: %s\n",
                         SURPRISAL_VERSION, config, text)
        && buffer_printf(out, err, "join: %d\nmax-documents: %zu\nmax-windows: %zu\nhidden: %d\n"
                         "compute: %d\nisa: %s\nplans: %zu\npart: %zu/%zu\n", (int)o->join,
                         o->max_documents, o->max_windows, (int)o->hidden,
                         (int)o->machine.compute, s->isa, o->n_plans, o->part.index, o->part.of);
}

bool summary_plan_settings(const struct summary *s, struct buffer *out, struct error *err)
{
    const struct surprisal_protocol_plan *p = s->plan;
    char ids[2 * DIGEST_BYTES + 1];
    digest_hex(ids, &s->input->ids_digest);
    return buffer_printf(out, err, "protocol: %s\ncontext: %zu\nstride: %zu\ntask: %d\n"
                         "prefix-id: %d\ntoken ids: %s\nscored: %zu\n",
                         protocol_name(p->protocol), p->context, p->stride, (int)p->task,
                         (int)s->prefix_id, ids, s->scored);
}

/* ---- the summary's own digest ------------------------------------------------- */

static const char own_digest[] = ",\n\t\"sha256\":\t\"", after_digest[] = "\"\n}";
static const char closing[] = "\n}";

/* text: from json_print.  Gives it with the digest as its last member. */
static char *with_own_digest(const char *text, struct error *err)
{
    struct digest d;
    struct buffer b = { 0 };
    char hex[2 * DIGEST_BYTES + 1];
    size_t n = strlen(text);
    if (!digest_of(&d, text, n, err))
        return NULL;
    digest_hex(hex, &d);
    if (buffer_append(&b, text, n - strlen(closing), err)
        && buffer_printf(&b, err, "%s%s%s", own_digest, hex, after_digest))
        return b.data;
    buffer_free(&b);
    return NULL;
}

char *summary_sealed(const cJSON *root, struct error *err)
{
    char *plain = json_print(root);
    if (!plain)
        error_set(err, "out of memory: the summary");
    char *text = plain ? with_own_digest(plain, err) : NULL;
    cJSON_free(plain);
    return text;
}

bool summary_check_digest(const char *text, size_t n, const char *path, struct error *err)
{
    const size_t before = strlen(own_digest), after = strlen(after_digest);
    const size_t hex_bytes = 2 * DIGEST_BYTES;
    const size_t tail = before + hex_bytes + after;
    const char *own = text + n - size_min(n, tail), *stated = own + size_min(n, before);
    if (n < tail || memcmp(own, own_digest, before) != 0
        || memcmp(stated + hex_bytes, after_digest, after) != 0)
        return error_set(err, "%s: does not end with its own sha256: it was cut short or edited, "
                         "or written by a version that kept no digests (evaluate again)", path);
    struct buffer rest = { 0 };
    struct digest d;
    char hex[2 * DIGEST_BYTES + 1];
    bool ok = buffer_append(&rest, text, n - tail, err)
           && buffer_append(&rest, closing, strlen(closing), err)
           && digest_of(&d, rest.data, rest.size, err);
    buffer_free(&rest);
    if (!ok)
        return false;
    digest_hex(hex, &d);
    return memcmp(hex, stated, hex_bytes) == 0
        || error_set(err, "%s: was edited: its text has sha256 %s, expected %.64s", path, hex,
                     stated);
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
    add_drafts(root, s);
    cJSON_AddItemToObject(root, "left_out", left_out_json(&s->left_out));
    warnings_add_json(root, s->warnings);
    add_record(root, s);
    cJSON_AddTrueToObject(root, "complete");
    char *text = summary_sealed(root, err);
    cJSON_Delete(root);
    return text;
}
