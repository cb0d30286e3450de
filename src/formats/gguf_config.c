#include "formats/gguf_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

#define LAYERS_MOST ((size_t)10000)
#define KEY_BYTES 128

struct maker {
    const struct gguf *g;               /* with the metadata */
    const struct gguf *parts;           /* [n_parts] */
    size_t n_parts;
    const char *architecture;
    cJSON *to;
    struct error *err;
};

static const char *path_of(const struct maker *m)
{
    return m->g->map.path;
}

/* By its name after "qwen35." */
static const struct gguf_entry *find(const struct maker *m, const char *name)
{
    char key[KEY_BYTES];
    snprintf(key, sizeof key, "%s.%s", m->architecture, name);
    return gguf_find(m->g, key);
}

static bool refuse(const struct maker *m, const char *name, const char *expected)
{
    return error_set(m->err, "%s: %s.%s is not %s", path_of(m), m->architecture, name, expected);
}

static bool put(const struct maker *m, const cJSON *item)
{
    return item || error_set(m->err, "out of memory: the settings of %s", path_of(m));
}

/* *out unchanged when the key is absent. */
static bool read_size(size_t *out, const struct maker *m, const char *name)
{
    const struct gguf_entry *e = find(m, name);
    return !e || (!e->is_array && gguf_size(out, e, 0)) || refuse(m, name, "a whole number from 0");
}

static bool read_number(double *out, const struct maker *m, const char *name)
{
    const struct gguf_entry *e = find(m, name);
    return !e || (!e->is_array && gguf_number(out, e, 0)) || refuse(m, name, "a finite number");
}

/* ---- sizes ------------------------------------------------------------------------ */

/* One number, or one a layer: 0 where it has no such part. */
static const struct {
    const char *theirs, *ours;
} sizes[] = {
    { "embedding_length", "hidden_size" },
    { "context_length", "max_position_embeddings" },
    { "feed_forward_length", "intermediate_size" },
    { "attention.head_count", "num_attention_heads" },
    { "attention.head_count_kv", "num_key_value_heads" },
    { "attention.key_length", "head_dim" },
    { "ssm.conv_kernel", "linear_conv_kernel_dim" },
    { "ssm.state_size", "linear_key_head_dim" },
    { "ssm.group_count", "linear_num_key_heads" },
    { "ssm.time_step_rank", "linear_num_value_heads" },
    { "expert_count", "num_experts" },
    { "expert_used_count", "num_experts_per_tok" },
    { "expert_feed_forward_length", "moe_intermediate_size" },
    { "expert_shared_feed_forward_length", "shared_expert_intermediate_size" },
};

static bool put_size(const struct maker *m, const char *theirs, const char *ours)
{
    const struct gguf_entry *e = find(m, theirs);
    size_t found = 0, one;
    for (size_t i = 0; e && i < e->n; i++) {
        if (!gguf_size(&one, e, i))
            return refuse(m, theirs, "a whole number from 0");
        if (found && one && one != found)
            return refuse(m, theirs, "the same in all layers");
        found = one ? one : found;
    }
    return !found || put(m, json_add_size(m->to, ours, found));
}

static const struct gguf_tensor *find_tensor(const struct maker *m, const char *name)
{
    for (size_t p = 0; p < m->n_parts; p++)
        for (size_t i = 0; i < m->parts[p].n_tensors; i++)
            if (gguf_text_is(m->parts[p].tensors[i].name, name))
                return &m->parts[p].tensors[i];
    return NULL;
}

static bool put_sizes(const struct maker *m)
{
    const struct gguf_tensor *embedding = find_tensor(m, GGUF_CONFIG_EMBEDDING);
    size_t values = 0, heads = 0, keys = 0, value_length = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof sizes / sizeof *sizes; i++)
        ok = put_size(m, sizes[i].theirs, sizes[i].ours);
    if (!ok || !read_size(&values, m, "ssm.inner_size")
        || !read_size(&heads, m, "ssm.time_step_rank")
        || !read_size(&keys, m, "attention.key_length")
        || !read_size(&value_length, m, "attention.value_length"))
        return false;
    if (value_length && value_length != keys)
        return refuse(m, "attention.value_length", "the same as attention.key_length");
    if (values && (!heads || values % heads))
        return refuse(m, "ssm.inner_size", "a multiple of ssm.time_step_rank");
    if (!embedding)
        return error_set(m->err, "%s: no tensor '" GGUF_CONFIG_EMBEDDING "'", path_of(m));
    return (!values || put(m, json_add_size(m->to, "linear_value_head_dim", values / heads)))
        && put(m, json_add_size(m->to, "vocab_size", embedding->ne[1]))
        && put(m, cJSON_AddBoolToObject(m->to, "tie_word_embeddings",
                                        !find_tensor(m, GGUF_CONFIG_HEAD)));
}

/* ---- layers ----------------------------------------------------------------------- */

static bool is_full(bool *full, const struct maker *m, size_t layer, size_t interval)
{
    const struct gguf_entry *recurrent = find(m, "attention.recurrent_layers");
    size_t is_recurrent = (layer + 1) % interval != 0;
    if (recurrent && (!recurrent->is_array || !gguf_size(&is_recurrent, recurrent, layer)
                      || is_recurrent > 1))
        return refuse(m, "attention.recurrent_layers", "a list of a bool for each layer");
    *full = !is_recurrent;
    return true;
}

static bool put_layers(const struct maker *m)
{
    size_t blocks = 0, drafting = 0, interval = 4;
    bool full = false;
    if (!read_size(&blocks, m, "block_count") || !read_size(&drafting, m, "nextn_predict_layers")
        || !read_size(&interval, m, "full_attention_interval"))
        return false;
    if (blocks <= drafting || blocks > LAYERS_MOST)
        return refuse(m, "block_count", "a number of layers, those of nextn_predict_layers"
                      " included");
    if (interval == 0)
        return refuse(m, "full_attention_interval", "a number from 1");
    cJSON *list = cJSON_AddArrayToObject(m->to, "layer_types");
    bool ok = put(m, list) && put(m, json_add_size(m->to, "num_hidden_layers", blocks - drafting))
           && (!drafting || put(m, json_add_size(m->to, "mtp_num_hidden_layers", drafting)));
    for (size_t i = 0; ok && i < blocks - drafting; i++) {
        ok = is_full(&full, m, i, interval);
        cJSON *type = ok ? cJSON_CreateString(full ? "full_attention" : "linear_attention") : NULL;
        ok = ok && put(m, type) && cJSON_AddItemToArray(list, type);
    }
    return ok;
}

/* A draft layer's own embedding or head, in any layer. */
static bool has_own_embeddings(const struct maker *m)
{
    static const char *const names[] = { "nextn.embed_tokens.weight",
                                         "nextn.shared_head_head.weight" };
    for (size_t p = 0; p < m->n_parts; p++)
        for (size_t i = 0; i < m->parts[p].n_tensors; i++)
            for (size_t k = 0; k < 2; k++) {
                struct gguf_text name = m->parts[p].tensors[i].name;
                size_t n = strlen(names[k]);
                if (name.n > n && memcmp(name.bytes + name.n - n, names[k], n) == 0)
                    return true;
            }
    return false;
}

/* ---- numbers ---------------------------------------------------------------------- */

static bool put_rope(const struct maker *m)
{
    size_t head_dim = 0, rotary = 0;
    double theta = 0;
    if (!read_size(&head_dim, m, "attention.key_length")
        || !read_size(&rotary, m, "rope.dimension_count")
        || !read_number(&theta, m, "rope.freq_base"))
        return false;
    double factor = head_dim && rotary ? (double)rotary / (double)head_dim : 1;
    if (head_dim && rotary && (size_t)((double)head_dim * factor) < rotary)
        factor = nextafter(factor, 2);          /* the quotient was rounded down */
    return (theta == 0 || put(m, json_add_double(m->to, "rope_theta", theta)))
        && put(m, json_add_double(m->to, "partial_rotary_factor", factor));
}

/* What another value of would change the result. */
static bool check_implied(const struct maker *m)
{
    double gating = 1, scale = 1, normed = 1;
    struct gguf_text scaling;
    const struct gguf_entry *e = find(m, "rope.scaling.type");
    if (e && !(gguf_text(&scaling, e) && gguf_text_is(scaling, "none")))
        return refuse(m, "rope.scaling.type", "'none', the only one that is supported");
    if (!read_number(&gating, m, "expert_gating_func")
        || !read_number(&scale, m, "expert_weights_scale")
        || !read_number(&normed, m, "expert_weights_norm"))
        return false;
    if (gating != 1)
        return refuse(m, "expert_gating_func", "1 (softmax)");
    if (scale != 1 && scale != 0)
        return refuse(m, "expert_weights_scale", "1");
    return normed == 1 || refuse(m, "expert_weights_norm", "true");
}

static bool put_tokens(const struct maker *m)
{
    static const char *const keys[] = { "bos_token_id", "eos_token_id" };
    for (size_t i = 0; i < 2; i++) {
        char name[KEY_BYTES];
        size_t id;
        snprintf(name, sizeof name, "tokenizer.ggml.%s", keys[i]);
        const struct gguf_entry *e = gguf_find(m->g, name);
        if (e && !(!e->is_array && gguf_size(&id, e, 0)))
            return error_set(m->err, "%s: %s is not an id", path_of(m), name);
        if (e && !put(m, json_add_size(m->to, keys[i], id)))
            return false;
    }
    return true;
}

/* ---- keys that nothing reads ------------------------------------------------------ */

static bool is_read(const char *name)
{
    static const char *const others[] = {
        "block_count", "nextn_predict_layers", "full_attention_interval", "ssm.inner_size",
        "attention.recurrent_layers", "attention.value_length",
        "attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.dimension_count",
        "rope.dimension_sections",      /* positions of text are the same in all sections */
        "rope.scaling.type", "expert_gating_func", "expert_weights_scale", "expert_weights_norm",
        "vocab_size",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(name, others[i]) == 0)
            return true;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (strcmp(name, sizes[i].theirs) == 0)
            return true;
    return false;
}

static bool put_unread(const struct maker *m)
{
    size_t n = strlen(m->architecture);
    for (size_t i = 0; i < m->g->n_entries; i++) {
        char key[KEY_BYTES];
        struct gguf_text text = m->g->entries[i].key;
        snprintf(key, sizeof key, "%.*s", (int)size_min(text.n, sizeof key - 1), text.bytes);
        if (strncmp(key, m->architecture, n) == 0 && key[n] == '.' && !is_read(key + n + 1)
            && !put(m, cJSON_AddBoolToObject(m->to, key, true)))
            return false;
    }
    return true;
}

/* ---- all of it -------------------------------------------------------------------- */

static bool put_all(struct maker *m)
{
    double eps = 0;
    return check_implied(m) && put_layers(m) && put_sizes(m) && put_rope(m)
        && read_number(&eps, m, "attention.layer_norm_rms_epsilon")
        && (eps == 0 || put(m, json_add_double(m->to, "rms_norm_eps", eps))) && put_tokens(m)
        && (!has_own_embeddings(m)
            || put(m, cJSON_AddBoolToObject(m->to, "mtp_use_dedicated_embeddings", true)))
        && put_unread(m);
}

cJSON *gguf_config_make(const struct gguf *parts, size_t n, struct error *err)
{
    struct maker m = { .g = parts, .parts = parts, .n_parts = n, .err = err };
    const struct gguf_entry *e = gguf_find(parts, "general.architecture");
    struct gguf_text name = { "missing", 7 };
    if (e && !gguf_text(&name, e))
        name = (struct gguf_text){ "no string", 9 };
    bool is_moe = gguf_text_is(name, "qwen35moe");
    if (!is_moe && !gguf_text_is(name, "qwen35")) {
        error_set(err, "%s: general.architecture is %.*s, expected qwen35 or qwen35moe",
                  parts->map.path, (int)size_min(name.n, 60), name.bytes);
        return NULL;
    }
    m.architecture = is_moe ? "qwen35moe" : "qwen35";
    m.to = cJSON_CreateObject();
    if (put(&m, m.to)
        && put(&m, cJSON_AddStringToObject(m.to, "model_type",
                                           is_moe ? "qwen3_5_moe_text" : "qwen3_5_text"))
        && put_all(&m))
        return m.to;
    cJSON_Delete(m.to);
    return NULL;
}
