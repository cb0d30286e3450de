#include "config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* Each size is at most this (token ids are int32_t anyway), so that a product of two, even
 * doubled, fits into size_t, and so does 2 * HK * dk + HV * dv. */
#define LARGEST_SIZE ((size_t)INT32_MAX)

/* What config_read hands around. */
struct source {
    const cJSON *root;          /* config.json */
    const cJSON *text;          /* text_config, or root in a text-only checkpoint */
    const cJSON *rope;          /* rope_parameters, else rope_scaling; NULL when absent */
    const char *path;
    bool is_moe, has_full_attention, has_linear_attention;
};

/* The value as one short line, for messages. */
static const char *value_text(const cJSON *item, char *text, size_t n)
{
    char *printed = item ? json_print_line(item) : NULL;
    snprintf(text, n, "%s", printed ? printed : "missing");
    if (printed && strlen(printed) >= n && n > 4)
        memcpy(text + n - 4, "...", 4);
    cJSON_free(printed);
    return text;
}

static bool refuse(const struct source *s, const char *key, const cJSON *found,
                   const char *expected, struct error *err)
{
    char text[80];
    return error_set(err, "%s: %s is %s, expected %s", s->path, key,
                     value_text(found, text, sizeof text), expected);
}

/* ---- model type --------------------------------------------------------- */

static const struct model_type {
    const char *name;
    bool is_moe;
} model_types[] = {
    { "qwen3_5_moe", true },
    { "qwen3_5_moe_text", true },
    { "qwen3_5", false },
    { "qwen3_5_text", false },
};

static const struct model_type *find_model_type(const cJSON *item)
{
    for (size_t i = 0; i < sizeof model_types / sizeof model_types[0]; i++)
        if (cJSON_IsString(item) && strcmp(item->valuestring, model_types[i].name) == 0)
            return &model_types[i];
    return NULL;
}

static bool read_model_type(struct config *c, struct source *s, struct error *err)
{
    const char *expected = "qwen3_5_moe, qwen3_5_moe_text, qwen3_5 or qwen3_5_text";
    const cJSON *item = json_get_value(s->root, "model_type");
    const struct model_type *type = find_model_type(item);
    if (!type)
        return refuse(s, "model_type", item, expected, err);
    const cJSON *inner_item = json_get_value(s->text, "model_type");
    const struct model_type *inner = find_model_type(inner_item);
    if (inner_item && !inner)
        return refuse(s, "text_config.model_type", inner_item, expected, err);
    if (inner && inner->is_moe != type->is_moe)
        return error_set(err, "%s: model_type is %s, but text_config.model_type is %s", s->path,
                         type->name, inner->name);
    snprintf(c->model_type, sizeof c->model_type, "%s", type->name);
    s->is_moe = type->is_moe;
    return true;
}

/* ---- settings with one implemented value -------------------------------- */

/* Absent or null is the default, which is the implemented value; anything else would change the
 * result and is refused.  (transformers, configuration_qwen3_5_moe.py and its ancestors) */
static const struct {
    const char *key, *expected;         /* the value as JSON text */
} implemented[] = {
    { "hidden_act", "\"silu\"" },
    { "attention_bias", "false" },
    { "attn_output_gate", "true" },
    { "norm_topk_prob", "true" },
    { "mlp_only_layers", "[]" },
    { "decoder_sparse_step", "1" },
    { "use_sliding_window", "false" },
    { "sliding_window", "null" },
    { "output_gate_type", "\"swish\"" },         /* of the delta net's gated norm */
    { "mlp_bias", "false" },
    { "use_qk_norm", "true" },
    { "scoring_func", "\"softmax\"" },           /* of the router */
    { "routed_scaling_factor", "1" },
    { "attn_logit_softcapping", "null" },
    { "final_logit_softcapping", "null" },
};

static bool check_implemented(const struct source *s, struct error *err)
{
    for (size_t i = 0; i < sizeof implemented / sizeof implemented[0]; i++) {
        const cJSON *item = json_get_value(s->text, implemented[i].key);
        char text[80];
        if (item && strcmp(value_text(item, text, sizeof text), implemented[i].expected) != 0)
            return refuse(s, implemented[i].key, item, implemented[i].expected, err);
    }
    return true;
}

/* ---- sizes -------------------------------------------------------------- */

static bool read_size(size_t *out, const struct source *s, const char *key, bool required,
                      struct error *err)
{
    const cJSON *item = json_get_value(s->text, key);
    if (!item && !required)
        return true;
    if (!json_to_size(item, out) || *out == 0 || *out > LARGEST_SIZE)
        return refuse(s, key, item, "a whole number from 1 to 2147483647", err);
    return true;
}

/* Which layers must a checkpoint have for a setting to be needed? */
enum needed { ALWAYS, BY_FULL_ATTENTION, BY_LINEAR_ATTENTION, BY_MOE, BY_DENSE };

static bool is_needed(const struct source *s, enum needed by)
{
    switch (by) {
    case BY_FULL_ATTENTION:
        return s->has_full_attention;
    case BY_LINEAR_ATTENTION:
        return s->has_linear_attention;
    case BY_MOE:
        return s->is_moe;
    case BY_DENSE:
        return !s->is_moe;
    default:
        return true;
    }
}

#define SIZE(field) #field, offsetof(struct config, field)

static const struct {
    const char *key;
    size_t offset;
    enum needed by;
} sizes[] = {
    { SIZE(hidden_size), ALWAYS },
    { SIZE(vocab_size), ALWAYS },
    { SIZE(num_attention_heads), BY_FULL_ATTENTION },
    { SIZE(num_key_value_heads), BY_FULL_ATTENTION },
    { SIZE(head_dim), BY_FULL_ATTENTION },
    { SIZE(linear_num_key_heads), BY_LINEAR_ATTENTION },
    { SIZE(linear_num_value_heads), BY_LINEAR_ATTENTION },
    { SIZE(linear_key_head_dim), BY_LINEAR_ATTENTION },
    { SIZE(linear_value_head_dim), BY_LINEAR_ATTENTION },
    { SIZE(linear_conv_kernel_dim), BY_LINEAR_ATTENTION },
    { SIZE(num_experts), BY_MOE },
    { SIZE(num_experts_per_tok), BY_MOE },
    { SIZE(moe_intermediate_size), BY_MOE },
    { SIZE(shared_expert_intermediate_size), BY_MOE },
    { SIZE(intermediate_size), BY_DENSE },
};

/* Settings of a mixer that no layer uses may be absent, but are checked when they are there;
 * those of the other kind of MLP are left alone. */
static bool read_sizes(struct config *c, const struct source *s, struct error *err)
{
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        bool needed = is_needed(s, sizes[i].by);
        if (!needed && (sizes[i].by == BY_MOE || sizes[i].by == BY_DENSE))
            continue;
        if (!read_size((size_t *)((char *)c + sizes[i].offset), s, sizes[i].key, needed, err))
            return false;
    }
    const cJSON *experts = json_get_value(s->text, "num_experts");
    size_t zero;
    if (!s->is_moe && experts && !(json_to_size(experts, &zero) && zero == 0))
        return refuse(s, "num_experts", experts, "none in a dense model (model_type without moe)",
                      err);
    return true;
}

static bool check_multiple(const struct source *s, const char *key, size_t n, const char *of_key,
                           size_t of, struct error *err)
{
    return (of ? n % of == 0 : n == 0)
        || error_set(err, "%s: %s is %zu, not a multiple of %s, which is %zu", s->path, key, n,
                     of_key, of);
}

static bool check_relations(const struct config *c, const struct source *s, struct error *err)
{
    if (c->num_experts_per_tok > c->num_experts)
        return error_set(err, "%s: num_experts_per_tok is %zu, more than num_experts, which is %zu",
                         s->path, c->num_experts_per_tok, c->num_experts);
    return (!s->has_full_attention
            || check_multiple(s, "num_attention_heads", c->num_attention_heads,
                              "num_key_value_heads", c->num_key_value_heads, err))
        && (!s->has_linear_attention
            || check_multiple(s, "linear_num_value_heads", c->linear_num_value_heads,
                              "linear_num_key_heads", c->linear_num_key_heads, err));
}

/* ---- layers ------------------------------------------------------------- */

static bool read_layer_list(struct config *c, const struct source *s, const cJSON *list,
                            struct error *err)
{
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
        n++;
    if (!cJSON_IsArray(list) || n != c->num_hidden_layers)
        return error_set(err, "%s: layer_types is not a list of %zu entries (num_hidden_layers)",
                         s->path, c->num_hidden_layers);
    n = 0;
    cJSON_ArrayForEach(item, list) {
        bool full = cJSON_IsString(item) && strcmp(item->valuestring, "full_attention") == 0;
        if (!full && !(cJSON_IsString(item) && strcmp(item->valuestring, "linear_attention") == 0))
            return refuse(s, "an entry of layer_types", item, "linear_attention or full_attention",
                          err);
        c->layer_types[n++] = full ? FULL_ATTENTION : LINEAR_ATTENTION;
    }
    return true;
}

static bool read_layers(struct config *c, struct source *s, size_t max_layers, struct error *err)
{
    if (!read_size(&c->num_hidden_layers, s, "num_hidden_layers", true, err))
        return false;
    if (c->num_hidden_layers > max_layers)
        return error_set(err, "%s: num_hidden_layers is %zu, but there are only %zu tensors",
                         s->path, c->num_hidden_layers, max_layers);
    c->layer_types = mem_array(c->num_hidden_layers, sizeof *c->layer_types, "layer_types", err);
    if (!c->layer_types)
        return false;
    const cJSON *list = json_get_value(s->text, "layer_types");
    size_t interval = 4;                /* transformers' default */
    if (list ? !read_layer_list(c, s, list, err)
             : !read_size(&interval, s, "full_attention_interval", false, err))
        return false;
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        if (!list)
            c->layer_types[i] = (i + 1) % interval == 0 ? FULL_ATTENTION : LINEAR_ATTENTION;
        *(c->layer_types[i] == FULL_ATTENTION ? &s->has_full_attention
                                              : &s->has_linear_attention) = true;
    }
    return true;
}

/* ---- numbers, rotary ----------------------------------------------------- */

static bool is_positive(const cJSON *item)
{
    return cJSON_IsNumber(item) && isfinite(item->valuedouble) && item->valuedouble > 0;
}

/* From rope_parameters, or from the text config as older files have it; both must agree. */
static bool read_rope_number(double *out, const struct source *s, const char *key,
                             struct error *err)
{
    const cJSON *inner = json_get_value(s->rope, key), *outer = json_get_value(s->text, key);
    const cJSON *item = inner ? inner : outer;
    if (item && !is_positive(item))
        return refuse(s, key, item, "a positive number", err);
    if (inner && outer && !cJSON_Compare(inner, outer, true))
        return error_set(err, "%s: %s has one value in rope_parameters and another beside them",
                         s->path, key);
    if (item)
        *out = item->valuedouble;
    return true;
}

static bool check_rope_type(const struct source *s, struct error *err)
{
    static const char *const places[] = { "rope_parameters", "rope_scaling" };
    static const char *const keys[] = { "rope_type", "type" };
    for (size_t p = 0; p < 2; p++) {
        const cJSON *rope = json_get_value(s->text, places[p]);
        if (rope && !cJSON_IsObject(rope))
            return refuse(s, places[p], rope, "an object", err);
        if (!json_unique_keys(rope, s->path, err))
            return false;
        for (size_t k = 0; k < 2; k++) {
            const cJSON *type = json_get_value(rope, keys[k]);
            if (type && !(cJSON_IsString(type) && strcmp(type->valuestring, "default") == 0))
                return refuse(s, keys[k], type, "\"default\"", err);
        }
        /* The legacy key without a type scales in a way that its keys only hint at. */
        if (p == 1 && rope && !json_get_value(rope, "rope_type") && !json_get_value(rope, "type"))
            return refuse(s, places[p], rope, "null, or a rope_type of default", err);
    }
    return true;
}

static bool read_rope(struct config *c, struct source *s, struct error *err)
{
    double factor = 0.25;
    c->rope_theta = 10000.0;
    if (!check_rope_type(s, err))
        return false;
    s->rope = json_get_value(s->text, "rope_parameters");
    if (!s->rope)
        s->rope = json_get_value(s->text, "rope_scaling");
    if (!read_rope_number(&c->rope_theta, s, "rope_theta", err)
        || !read_rope_number(&factor, s, "partial_rotary_factor", err))
        return false;
    if (factor > 1)
        return error_set(err, "%s: partial_rotary_factor is %g, more than 1", s->path, factor);
    c->rotary_dim = (size_t)((double)c->head_dim * factor);
    if (s->has_full_attention && (c->rotary_dim == 0 || c->rotary_dim % 2))
        return error_set(err, "%s: partial_rotary_factor %g of head_dim %zu is %zu rotary channels,"
                         " expected an even number of at least 2", s->path, factor, c->head_dim,
                         c->rotary_dim);
    return true;
}

/* ---- the rest ----------------------------------------------------------- */

/* The text config's, else the top's. */
static const cJSON *get_either(const struct source *s, const char *key)
{
    const cJSON *item = json_get_value(s->text, key);
    return item ? item : json_get_value(s->root, key);
}

static bool read_token_id(int64_t *out, const struct source *s, const char *key, struct error *err)
{
    const cJSON *item = get_either(s, key), *first = cJSON_IsArray(item) ? item->child : item;
    size_t id;
    *out = -1;
    if (!first)
        return true;
    if (!json_to_size(first, &id))
        return refuse(s, key, item, "a token id, a list of them or null", err);
    *out = (int64_t)id;
    return true;
}

static bool read_others(struct config *c, const struct source *s, struct error *err)
{
    const cJSON *eps = json_get_value(s->text, "rms_norm_eps");
    if (!is_positive(eps))
        return refuse(s, "rms_norm_eps", eps, "a positive number", err);
    c->rms_norm_eps = eps->valuedouble;
    const cJSON *tie = get_either(s, "tie_word_embeddings");
    if (tie && !cJSON_IsBool(tie))
        return refuse(s, "tie_word_embeddings", tie, "true or false", err);
    c->tie_word_embeddings = cJSON_IsTrue(tie);
    const cJSON *positions = json_get_value(s->text, "max_position_embeddings");
    if (positions && !(json_to_size(positions, &c->max_position_embeddings)
                       && c->max_position_embeddings > 0))
        return refuse(s, "max_position_embeddings", positions, "a positive whole number", err);
    return read_token_id(&c->bos_token_id, s, "bos_token_id", err)
        && read_token_id(&c->eos_token_id, s, "eos_token_id", err);
}

bool config_read(struct config *c, const cJSON *root, size_t max_layers, const char *path,
                 struct error *err)
{
    *c = (struct config){ 0 };
    if (!cJSON_IsObject(root))
        return error_set(err, "%s: is not a JSON object", path);
    struct source s = { .root = root, .text = json_get_value(root, "text_config"), .path = path };
    if (s.text && !cJSON_IsObject(s.text))
        return refuse(&s, "text_config", s.text, "an object", err);
    if (!json_unique_keys(root, path, err) || !json_unique_keys(s.text, path, err))
        return false;
    if (!s.text)
        s.text = root;
    return read_model_type(c, &s, err) && check_implemented(&s, err)
        && read_layers(c, &s, max_layers, err) && read_sizes(c, &s, err)
        && check_relations(c, &s, err) && read_rope(c, &s, err) && read_others(c, &s, err);
}

/* Read by name, above. */
bool config_reads(const char *key)
{
    static const char *const others[] = {
        "model_type", "num_hidden_layers", "layer_types", "full_attention_interval",
        "rope_parameters", "rope_scaling", "rms_norm_eps", "tie_word_embeddings",
        "max_position_embeddings", "bos_token_id", "eos_token_id", "text_config",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i], key) == 0)
            return true;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (strcmp(sizes[i].key, key) == 0)
            return true;
    for (size_t i = 0; i < sizeof implemented / sizeof *implemented; i++)
        if (strcmp(implemented[i].key, key) == 0)
            return true;
    return strcmp(key, "rope_theta") == 0 || strcmp(key, "partial_rotary_factor") == 0;
}

bool config_reads_rope(const char *key)
{
    return strcmp(key, "rope_theta") == 0 || strcmp(key, "partial_rotary_factor") == 0
        || strcmp(key, "rope_type") == 0 || strcmp(key, "type") == 0;
}

void config_free(struct config *c)
{
    free(c->layer_types);
    *c = (struct config){ 0 };
}
