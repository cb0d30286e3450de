#include "eval/score/inspect.h"

#include <string.h>

#include "engine/cost.h"
#include "formats/config_unread.h"
#include "formats/notes.h"
#include "formats/quantization.h"
#include "formats/weights.h"

/* What the index does not name is a kind of its own. */
enum { STALE = TENSOR_KINDS, KINDS };

struct sum {
    size_t tensors, parameters, bytes;
};

struct inspection {
    const struct checkpoint *ck;
    const struct weights *w;
    struct sum sums[KINDS][DTYPE_COUNT];
    size_t n_unused;            /* tensors of the text model that nothing uses */
    const char *first_unused;
};

/* ---- gathering -------------------------------------------------------------- */

static void add_tensor(struct inspection *in, int kind, enum dtype dtype, size_t parameters,
                       size_t bytes)
{
    struct sum *s = &in->sums[kind][dtype];
    s->tensors++;
    s->parameters += parameters;
    s->bytes += bytes;
}

static bool starts_with(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

/* Tensors that no weight is made of.  weight_shape and its like only describe. */
static void add_unused(struct inspection *in, const struct tensor *t)
{
    enum weight_kind kind = weight_kind_outside(t->name);
    add_tensor(in, (int)kind, t->dtype, tensor_elements(t), t->n_bytes);
    if (kind != WEIGHT_OTHER || !starts_with(t->name, in->w->prefix)
        || weight_name_ends_with(t->name, "_shape"))
        return;
    in->n_unused++;
    if (!in->first_unused)
        in->first_unused = t->name;
}

static void gather_tensors(struct inspection *in)
{
    const struct weights *w = in->w;
    size_t next = 0;            /* both lists are sorted by name */
    for (size_t i = 0; i < in->ck->n_tensors; i++) {
        const struct tensor *t = in->ck->tensors[i];
        if (next < w->n_tensors && w->tensors[next].tensor == t) {
            const struct bound_tensor *b = &w->tensors[next++];
            add_tensor(in, (int)b->kind, b->stored, b->parameters, t->n_bytes);
        } else
            add_unused(in, t);
    }
    for (size_t i = 0; in->ck->n_stale && i < in->ck->n_files; i++)
        for (size_t j = 0; j < in->ck->files[i].n_tensors; j++) {
            const struct tensor *t = &in->ck->files[i].tensors[j];
            if (checkpoint_find(in->ck, t->name) != t)
                add_tensor(in, STALE, t->dtype, tensor_elements(t), t->n_bytes);
        }
}

/* ---- writing ------------------------------------------------------------------ */

static bool out_of_memory(struct error *err)
{
    return error_set(err, "out of memory: the result of inspect");
}

static bool write_architecture(cJSON *root, const struct config *c, struct error *err)
{
    size_t n_full = 0;
    for (size_t i = 0; i < c->num_hidden_layers; i++)
        n_full += c->layer_types[i] == FULL_ATTENTION;
    const struct {
        const char *key;
        size_t value;
    } sizes[] = {
        { "hidden_size", c->hidden_size },
        { "num_hidden_layers", c->num_hidden_layers },
        { "linear_attention_layers", c->num_hidden_layers - n_full },
        { "full_attention_layers", n_full },
        { "vocab_size", c->vocab_size },
        { "num_attention_heads", c->num_attention_heads },
        { "num_key_value_heads", c->num_key_value_heads },
        { "head_dim", c->head_dim },
        { "rotary_dim", c->rotary_dim },
        { "linear_num_key_heads", c->linear_num_key_heads },
        { "linear_num_value_heads", c->linear_num_value_heads },
        { "linear_key_head_dim", c->linear_key_head_dim },
        { "linear_value_head_dim", c->linear_value_head_dim },
        { "linear_conv_kernel_dim", c->linear_conv_kernel_dim },
        { "num_experts", c->num_experts },
        { "num_experts_per_tok", c->num_experts_per_tok },
        { "moe_intermediate_size", c->moe_intermediate_size },
        { "shared_expert_intermediate_size", c->shared_expert_intermediate_size },
        { "intermediate_size", c->intermediate_size },
        { "max_position_embeddings", c->max_position_embeddings },
    };
    cJSON *to = cJSON_AddObjectToObject(root, "architecture");
    bool ok = to != NULL;
    for (size_t i = 0; ok && i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].value)     /* 0: the model has no such part */
            ok = json_add_size(to, sizes[i].key, sizes[i].value);
    ok = ok && cJSON_AddNumberToObject(to, "rope_theta", c->rope_theta)
      && cJSON_AddNumberToObject(to, "rms_norm_eps", c->rms_norm_eps)
      && cJSON_AddBoolToObject(to, "tie_word_embeddings", c->tie_word_embeddings);
    return ok || out_of_memory(err);
}

static const char *kind_name(int kind)
{
    return kind == STALE ? "stale" : weight_kind_name((enum weight_kind)kind);
}

static bool write_kind(cJSON *list, int kind, const struct sum sums[DTYPE_COUNT])
{
    cJSON *to = NULL, *dtypes = NULL;
    for (size_t i = 0; i < DTYPE_COUNT; i++) {
        if (!sums[i].tensors)
            continue;
        if (!to) {
            to = cJSON_CreateObject();
            if (!cJSON_AddItemToArray(list, to)
                || !cJSON_AddStringToObject(to, "module", kind_name(kind))
                || !cJSON_AddBoolToObject(to, "used", kind < WEIGHT_KINDS)
                || !(dtypes = cJSON_AddArrayToObject(to, "dtypes")))
                return false;
        }
        cJSON *row = cJSON_CreateObject();
        if (!cJSON_AddItemToArray(dtypes, row)
            || !cJSON_AddStringToObject(row, "dtype", dtype_name((enum dtype)i))
            || !json_add_size(row, "tensors", sums[i].tensors)
            || !json_add_size(row, "parameters", sums[i].parameters)
            || !json_add_size(row, "bytes", sums[i].bytes))
            return false;
    }
    return true;
}

static bool write_modules(cJSON *root, const struct inspection *in, struct error *err)
{
    cJSON *list = cJSON_AddArrayToObject(root, "modules");
    bool ok = list != NULL;
    for (int kind = 0; ok && kind < KINDS; kind++)
        ok = write_kind(list, kind, in->sums[kind]);
    return ok || out_of_memory(err);
}

static bool add_line(cJSON *list, const char *line, struct error *err)
{
    return cJSON_AddItemToArray(list, cJSON_CreateString(line)) || out_of_memory(err);
}

static bool write_contradictions(cJSON *root, const struct inspection *in, struct error *err)
{
    cJSON *list = cJSON_AddArrayToObject(root, "contradictions");
    struct contradictions found = { 0 };
    struct buffer unused = { 0 };
    bool ok = list ? quantization_contradictions(&found, in->ck, in->w, err) : out_of_memory(err);
    char *rest = found.text.data;
    for (char *line; ok && rest && (line = strtok_r(NULL, "\n", &rest));)
        ok = add_line(list, line, err);
    if (ok && in->n_unused)
        ok = buffer_printf(&unused, err, "%s (%zu such): in the files, not part of the model that"
                           " the config describes", in->first_unused, in->n_unused)
          && add_line(list, unused.data, err);
    buffer_free(&unused);
    quantization_contradictions_free(&found);
    return ok;
}

static bool write_notes(cJSON *root, const struct inspection *in, struct error *err)
{
    cJSON *list = cJSON_AddArrayToObject(root, "warnings");
    struct buffer notes = { 0 };
    bool ok = list ? notes_list(&notes, in->ck, in->w, err) : out_of_memory(err);
    char *rest = notes.data;
    for (char *line; ok && rest && (line = strtok_r(NULL, "\n", &rest));)
        ok = add_line(list, line, err);
    buffer_free(&notes);
    return ok;
}

static bool add_unread(void *user, const char *name)
{
    return cJSON_AddItemToArray(user, cJSON_CreateString(name));
}

static bool write_unread(cJSON *root, const struct inspection *in, struct error *err)
{
    cJSON *list = cJSON_AddArrayToObject(root, "unread_settings");
    return (list && config_unread_each(in->ck->config_json, add_unread, list))
        || out_of_memory(err);
}

static bool write_cost(cJSON *root, const struct inspection *in, struct error *err)
{
    const struct config *c = &in->ck->config;
    cJSON *to = cJSON_AddObjectToObject(root, "cost");
    return (to && json_add_size(to, "bytes_per_pass", in->w->bytes)
            && json_add_double(to, "flop_per_token", cost_layers_flop(c, 1, 1))
            && json_add_double(to, "head_flop_per_scored_token", cost_head_flop(c))
            && json_add_size(to, "residual_bytes_per_token",
                             c->hidden_size * sizeof(float)))
        || out_of_memory(err);
}

static bool write_all(cJSON *root, const struct inspection *in, struct error *err)
{
    const char *revision = in->ck->revision;
    bool ok = json_add_bytes(root, "path", in->ck->path)
           && (*revision ? cJSON_AddStringToObject(root, "revision", revision)
                         : cJSON_AddNullToObject(root, "revision"))
           && cJSON_AddStringToObject(root, "model_type", in->ck->config.model_type)
           && json_add_size(root, "parameters", in->w->parameters)
           && json_add_size(root, "bytes", in->w->bytes)
           && json_add_size(root, "quantized_bytes", in->w->quantized_bytes)
           && json_add_size(root, "stale_tensors", in->ck->n_stale);
    return (ok || out_of_memory(err)) && write_architecture(root, &in->ck->config, err)
        && write_modules(root, in, err) && write_contradictions(root, in, err)
        && write_notes(root, in, err) && write_unread(root, in, err)
        && write_cost(root, in, err);
}

bool inspect_opened(cJSON **out, const struct checkpoint *ck, const struct weights *w,
                    struct error *err)
{
    struct inspection in = { .ck = ck, .w = w };
    gather_tensors(&in);
    *out = cJSON_CreateObject();
    if (*out ? write_all(*out, &in, err) : out_of_memory(err))
        return true;
    cJSON_Delete(*out);
    *out = NULL;
    return false;
}

bool inspect_checkpoint(cJSON **out, const char *path, struct error *err)
{
    struct checkpoint ck;
    struct weights w = { 0 };
    *out = NULL;
    if (!checkpoint_open(&ck, path, err))
        return false;
    bool ok = quantization_check(&ck, err) && weights_bind(&w, &ck, err)
           && inspect_opened(out, &ck, &w, err);
    weights_free(&w);
    checkpoint_close(&ck);
    return ok;
}
