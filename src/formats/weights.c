#include "formats/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "formats/names.h"
#include "kernels/stored.h"

#define NAME_BYTES 256          /* prefix, two numbers and the longest pattern take less */

/* ---- the table ------------------------------------------------------------ */

/* Sizes that shapes are made of. */
enum dim {
    ONE, HIDDEN, TWICE_HIDDEN, VOCAB, HEAD_DIM, QUERY_GATE, KEY_VALUE, ATTENTION_OUT,
    CONV_CHANNELS, CONV_WIDTH, VALUE_HEADS, VALUE_HEAD_DIM, VALUES, EXPERTS, EXPERT_SIZE,
    SHARED_SIZE, DENSE_SIZE, DIMS
};

/* Where a row of the table applies. */
enum scope {
    MODEL, MTP, EVERY_LAYER, FULL_LAYER, LINEAR_LAYER, DENSE_LAYER, MOE_LAYER, EACH_EXPERT
};

/* The plain tensor of a weight, [rows, cols] being its view. */
enum storage {
    LINEAR,         /* NAME.weight [rows, cols]; may be packed or fused (weight.h) */
    OUTPUT,         /* the same; only rows whose output is needed meet it */
    TABLE,          /* NAME.weight [rows, cols], never packed */
    VECTOR,         /* NAME.weight [cols] */
    BARE_VECTOR,    /* NAME [cols] */
    CONVOLUTION,    /* NAME.weight [rows, 1, cols] */
};

struct row {
    enum scope scope;
    const char *name;           /* after the prefix and "layers.N." and "mlp.experts.E." */
    size_t offset;              /* in struct weights, mtp_weights, layer_weights, or (experts)
                                   mlp_weights */
    enum storage storage;
    enum dim rows, cols;
    enum weight_kind kind;
};

#define IN_MODEL(field) offsetof(struct weights, field)
#define IN_MTP(field) offsetof(struct mtp_weights, field)
#define IN_LAYER(field) offsetof(struct layer_weights, field)
#define IN_EXPERT(field) offsetof(struct mlp_weights, field)

/* Rows of one scope and place; the name in the file is the field's. */
#define LAYER(name, storage, rows, cols, kind) \
    { EVERY_LAYER, #name, IN_LAYER(name), storage, rows, cols, kind }
#define ATTENTION(name, storage, rows, cols, kind) \
    { FULL_LAYER, "self_attn." #name, IN_LAYER(attention.name), storage, rows, cols, kind }
#define DELTA_NET(name, storage, rows, cols, kind) \
    { LINEAR_LAYER, "linear_attn." #name, IN_LAYER(delta_net.name), storage, rows, cols, kind }
#define DENSE(name, field, rows, cols) \
    { DENSE_LAYER, "mlp." name, IN_LAYER(field), LINEAR, rows, cols, WEIGHT_DENSE_MLP }
#define MOE(name, field, rows, cols, kind) \
    { MOE_LAYER, "mlp." name, IN_LAYER(field), LINEAR, rows, cols, kind }
#define EXPERT(name, field, rows, cols) \
    { EACH_EXPERT, name, IN_EXPERT(field), LINEAR, rows, cols, WEIGHT_EXPERTS }

/* The router comes before the experts: its shape proves their number before memory is taken. */
static const struct row table[] = {
    { MODEL, "embed_tokens", IN_MODEL(embed_tokens), TABLE, VOCAB, HIDDEN, WEIGHT_EMBED_TOKENS },
    { MODEL, "norm", IN_MODEL(norm), VECTOR, ONE, HIDDEN, WEIGHT_NORM },
    { MODEL, "lm_head", IN_MODEL(lm_head), LINEAR, VOCAB, HIDDEN, WEIGHT_LM_HEAD },

    { MTP, "fc", IN_MTP(fc), LINEAR, HIDDEN, TWICE_HIDDEN, WEIGHT_MTP },
    { MTP, "pre_fc_norm_embedding", IN_MTP(pre_fc_norm_embedding), VECTOR, ONE, HIDDEN,
      WEIGHT_MTP },
    { MTP, "pre_fc_norm_hidden", IN_MTP(pre_fc_norm_hidden), VECTOR, ONE, HIDDEN, WEIGHT_MTP },
    { MTP, "norm", IN_MTP(norm), VECTOR, ONE, HIDDEN, WEIGHT_MTP },

    LAYER(input_layernorm, VECTOR, ONE, HIDDEN, WEIGHT_NORM),
    LAYER(post_attention_layernorm, VECTOR, ONE, HIDDEN, WEIGHT_NORM),

    ATTENTION(q_proj, OUTPUT, QUERY_GATE, HIDDEN, WEIGHT_ATTENTION),
    ATTENTION(k_proj, LINEAR, KEY_VALUE, HIDDEN, WEIGHT_ATTENTION),
    ATTENTION(v_proj, LINEAR, KEY_VALUE, HIDDEN, WEIGHT_ATTENTION),
    ATTENTION(o_proj, OUTPUT, HIDDEN, ATTENTION_OUT, WEIGHT_ATTENTION),
    ATTENTION(q_norm, VECTOR, ONE, HEAD_DIM, WEIGHT_NORM),
    ATTENTION(k_norm, VECTOR, ONE, HEAD_DIM, WEIGHT_NORM),

    DELTA_NET(in_proj_qkv, LINEAR, CONV_CHANNELS, HIDDEN, WEIGHT_DELTA_NET),
    DELTA_NET(in_proj_z, OUTPUT, VALUES, HIDDEN, WEIGHT_DELTA_NET),
    DELTA_NET(in_proj_a, LINEAR, VALUE_HEADS, HIDDEN, WEIGHT_DELTA_NET),
    DELTA_NET(in_proj_b, LINEAR, VALUE_HEADS, HIDDEN, WEIGHT_DELTA_NET),
    DELTA_NET(conv1d, CONVOLUTION, CONV_CHANNELS, CONV_WIDTH, WEIGHT_DELTA_NET_STATE),
    DELTA_NET(A_log, BARE_VECTOR, ONE, VALUE_HEADS, WEIGHT_DELTA_NET_STATE),
    DELTA_NET(dt_bias, BARE_VECTOR, ONE, VALUE_HEADS, WEIGHT_DELTA_NET_STATE),
    DELTA_NET(norm, VECTOR, ONE, VALUE_HEAD_DIM, WEIGHT_NORM),
    DELTA_NET(out_proj, OUTPUT, HIDDEN, VALUES, WEIGHT_DELTA_NET),

    DENSE("gate_proj", mlp.gate, DENSE_SIZE, HIDDEN),
    DENSE("up_proj", mlp.up, DENSE_SIZE, HIDDEN),
    DENSE("down_proj", mlp.down, HIDDEN, DENSE_SIZE),

    MOE("gate", router, EXPERTS, HIDDEN, WEIGHT_ROUTER),
    MOE("shared_expert.gate_proj", shared_expert.gate, SHARED_SIZE, HIDDEN, WEIGHT_SHARED_EXPERT),
    MOE("shared_expert.up_proj", shared_expert.up, SHARED_SIZE, HIDDEN, WEIGHT_SHARED_EXPERT),
    MOE("shared_expert.down_proj", shared_expert.down, HIDDEN, SHARED_SIZE, WEIGHT_SHARED_EXPERT),
    MOE("shared_expert_gate", shared_expert_gate, ONE, HIDDEN, WEIGHT_SHARED_EXPERT_GATE),

    EXPERT("gate_proj", gate, EXPERT_SIZE, HIDDEN),
    EXPERT("up_proj", up, EXPERT_SIZE, HIDDEN),
    EXPERT("down_proj", down, HIDDEN, EXPERT_SIZE),
};

#define N_ROWS (sizeof table / sizeof table[0])

/* No product overflows: the config bounds each factor. */
static void fill_dims(size_t dims[DIMS], const struct config *c)
{
    size_t keys = c->linear_num_key_heads * c->linear_key_head_dim;
    size_t values = c->linear_num_value_heads * c->linear_value_head_dim;
    dims[ONE] = 1;
    dims[HIDDEN] = c->hidden_size;
    dims[TWICE_HIDDEN] = 2 * c->hidden_size;
    dims[VOCAB] = c->vocab_size;
    dims[HEAD_DIM] = c->head_dim;
    dims[QUERY_GATE] = c->num_attention_heads * 2 * c->head_dim;
    dims[KEY_VALUE] = c->num_key_value_heads * c->head_dim;
    dims[ATTENTION_OUT] = c->num_attention_heads * c->head_dim;
    dims[CONV_CHANNELS] = 2 * keys + values;
    dims[CONV_WIDTH] = c->linear_conv_kernel_dim;
    dims[VALUE_HEADS] = c->linear_num_value_heads;
    dims[VALUE_HEAD_DIM] = c->linear_value_head_dim;
    dims[VALUES] = values;
    dims[EXPERTS] = c->num_experts;
    dims[EXPERT_SIZE] = c->moe_intermediate_size;
    dims[SHARED_SIZE] = c->shared_expert_intermediate_size;
    dims[DENSE_SIZE] = c->intermediate_size;
}

/* ---- walking the table ---------------------------------------------------- */

/* Whose weights are listed, and what is done with each. */
struct walk {
    const struct config *config;
    const char *prefix;
    const struct weights *w;            /* NULL: nothing is bound */
    const struct mtp_weights *mtp;      /* the same of its layer */
    size_t dims[DIMS];
    bool (*visit)(void *user, const struct model_weight *weight);
    void *user;
};

/* A number that no layer of the model has. */
size_t weights_mtp_layer(const struct config *c)
{
    return c->num_hidden_layers + 1;
}

static bool row_applies(const struct row *row, const struct config *c, size_t layer)
{
    bool is_mtp = layer == weights_mtp_layer(c);
    if (layer == c->num_hidden_layers)
        return row->scope == MODEL;
    switch (row->scope) {
    case EVERY_LAYER:
        return true;
    case MTP:
        return is_mtp;
    case FULL_LAYER:
        return is_mtp || c->layer_types[layer] == FULL_ATTENTION;
    case LINEAR_LAYER:
        return !is_mtp && c->layer_types[layer] == LINEAR_ATTENTION;
    case DENSE_LAYER:
        return c->num_experts == 0;
    case MOE_LAYER:
        return c->num_experts != 0;
    default:
        return false;
    }
}

/* Where a bound weight is: in the model, its layer or its expert. */
static struct matrix *place_of(const struct walk *k, const struct row *row, size_t layer,
                               size_t expert)
{
    if (!k->w && !k->mtp)
        return NULL;
    const struct layer_weights *of = k->mtp ? &k->mtp->layer
                                   : row->scope == MODEL ? NULL : &k->w->layers[layer];
    const char *base = row->scope == MODEL ? (const char *)k->w
                     : row->scope == MTP ? (const char *)k->mtp
                     : row->scope == EACH_EXPERT ? (const char *)&of->experts[expert]
                     : (const char *)of;
    return (struct matrix *)(uintptr_t)(base + row->offset);
}

static void name_of(char name[NAME_BYTES], const struct walk *k, const struct row *row,
                    size_t layer, size_t expert)
{
    const char *end = row->storage == BARE_VECTOR ? "" : ".weight";
    if (layer == weights_mtp_layer(k->config))
        layer = 0;                      /* its only one */
    if (row->kind == WEIGHT_LM_HEAD)
        snprintf(name, NAME_BYTES, "%s%s", row->name, end);
    else if (row->scope == MODEL || row->scope == MTP)
        snprintf(name, NAME_BYTES, "%s%s%s", k->prefix, row->name, end);
    else if (row->scope == EACH_EXPERT)
        snprintf(name, NAME_BYTES, "%slayers.%zu.mlp.experts.%zu.%s%s", k->prefix, layer, expert,
                 row->name, end);
    else
        snprintf(name, NAME_BYTES, "%slayers.%zu.%s%s", k->prefix, layer, row->name, end);
}

static bool visit_row(const struct walk *k, const struct row *row, size_t layer, size_t expert)
{
    char name[NAME_BYTES], module[NAME_BYTES];
    size_t rows = k->dims[row->rows], cols = k->dims[row->cols];
    enum storage storage = row->storage;
    struct model_weight x = {
        .name = name,
        .module = module,
        .label = row->name,
        .kind = row->kind,
        .layer = layer,
        .expert = expert,
        .num_experts = row->scope == EACH_EXPERT ? k->config->num_experts : 0,
        .rows = rows,
        .cols = cols,
        .matrix = place_of(k, row, layer, expert),
        .is_linear = storage == LINEAR || storage == OUTPUT,
        .is_output = storage == OUTPUT,
        .hint =
            row->kind == WEIGHT_LM_HEAD
                ? " (if the head is the embedding, set tie_word_embeddings to true in config.json)"
                : "",
        .may_be_absent = row->kind == WEIGHT_LM_HEAD && k->config->tie_word_embeddings,
        .ndim = storage == CONVOLUTION                      ? 3
              : storage == VECTOR || storage == BARE_VECTOR ? 1
                                                            : 2,
    };
    const size_t convolution[] = { rows, 1, cols }, matrix[] = { rows, cols };
    memcpy(x.shape, x.ndim == 3 ? convolution : x.ndim == 2 ? matrix : &cols,
           x.ndim * sizeof cols);
    name_of(name, k, row, layer, expert);
    memcpy(module, name, sizeof module);
    module[weight_module_length(name)] = '\0';
    return k->visit(k->user, &x);
}

/* Every weight of a layer but its experts; layer == num_hidden_layers: those outside layers. */
static bool walk_layer(const struct walk *k, size_t layer)
{
    for (const struct row *row = table; row < table + N_ROWS; row++)
        if (row_applies(row, k->config, layer) && !visit_row(k, row, layer, 0))
            return false;
    return true;
}

static bool walk_expert(const struct walk *k, size_t layer, size_t expert)
{
    for (const struct row *row = table; row < table + N_ROWS; row++)
        if (row->scope == EACH_EXPERT && !visit_row(k, row, layer, expert))
            return false;
    return true;
}

static bool walk_experts(const struct walk *k, size_t layer, size_t n)
{
    bool ok = true;
    for (size_t e = 0; ok && layer != k->config->num_hidden_layers && e < n; e++)
        ok = walk_expert(k, layer, e);
    return ok;
}

bool weights_each_of_model(const struct config *c, const char *prefix,
                           bool (*visit)(void *user, const struct model_weight *weight), void *user)
{
    struct walk k = { .config = c, .prefix = prefix, .visit = visit, .user = user };
    fill_dims(k.dims, c);
    bool ok = walk_layer(&k, c->num_hidden_layers);
    for (size_t i = 0; ok && i < c->num_hidden_layers; i++)
        ok = walk_layer(&k, i) && walk_experts(&k, i, c->num_experts);
    return ok;
}

bool weights_of_layer(const struct config *c, size_t layer,
                      bool (*visit)(void *user, const struct model_weight *weight),
                      void *user)
{
    struct walk k = { .config = c, .prefix = "", .visit = visit, .user = user };
    fill_dims(k.dims, c);
    return walk_layer(&k, layer) && walk_experts(&k, layer, c->num_experts ? 1 : 0);
}

/* ---- binding --------------------------------------------------------------- */

struct binder {
    const struct checkpoint *ck;
    struct weights *w;
    struct walk walk;
    size_t capacity;            /* of w->tensors */
    struct error *err;
};

/* The tensors of a weight; a packed one has its parameters in the codes. */
static bool remember(struct binder *b, const struct stored_weight *s, enum weight_kind kind)
{
    struct weights *w = b->w;
    for (size_t i = 0; i < s->n_parts; i++) {
        const struct tensor *t = s->parts[i];
        if (!mem_grow(&w->tensors, &b->capacity, w->n_tensors + 1, sizeof *w->tensors, "weights",
                      b->err))
            return false;
        w->tensors[w->n_tensors++] = (struct bound_tensor){
            t, kind, s->view.dtype,
            i ? 0 : s->is_packed ? s->view.rows * s->view.cols : tensor_elements(t) };
    }
    return true;
}

/* ---- what is missing ------------------------------------------------------- */

/* A config may ask for more weights than any folder holds: they are counted no further. */
#define COUNTED_MOST ((size_t)100000)

struct counter {
    const struct checkpoint *ck;
    size_t n_seen, n_missing;
};

static bool count_fault(void *user, enum weight_fault fault, const struct tensor *t,
                        const char *name, const char *text, struct error *err)
{
    struct counter *c = user;
    (void)t, (void)name, (void)text, (void)err;
    c->n_missing += fault == WEIGHT_MISSING;
    return true;
}

static bool count_missing(void *user, const struct model_weight *x)
{
    struct counter *c = user;
    struct stored_weight s;
    const struct weight_faults faults = { count_fault, c };
    return weight_find(&s, c->ck, x, &faults, NULL) && ++c->n_seen < COUNTED_MOST;
}

static void count_all(const struct binder *b, struct counter *c)
{
    struct walk k = b->walk;
    bool is_mtp = k.mtp != NULL;
    k.visit = count_missing;
    k.user = c;
    k.mtp = NULL;                       /* nothing is bound */
    if (!is_mtp)
        weights_each_of_model(k.config, k.prefix, count_missing, c);
    else if (walk_layer(&k, weights_mtp_layer(k.config)))
        walk_experts(&k, weights_mtp_layer(k.config), k.config->num_experts);
}

/* Refuses at the first fault; of what is missing, it says how much there is of it. */
static bool refuse_fault(void *user, enum weight_fault fault, const struct tensor *t,
                         const char *name, const char *text, struct error *err)
{
    const struct binder *b = user;
    struct counter c = { .ck = b->ck };
    char all[ERROR_MESSAGE_BYTES];
    if (fault != WEIGHT_MISSING)
        return weight_fault_refuse(b->ck, t, name, text, err);
    count_all(b, &c);
    if (c.n_missing < 2)
        return weight_fault_refuse(b->ck, t, name, text, err);
    snprintf(all, sizeof all, "%s; %s%zu weights are missing", text,
             c.n_seen == COUNTED_MOST ? "at least " : "", c.n_missing);
    return weight_fault_refuse(b->ck, t, name, all, err);
}

/* The one way in which a weight comes into the model. */
static bool bind(void *user, const struct model_weight *x)
{
    struct binder *b = user;
    struct stored_weight s;
    const struct weight_faults faults = { refuse_fault, b };
    if (!weight_find(&s, b->ck, x, &faults, b->err))
        return false;
    if (s.n_parts == 0) {               /* a tied head */
        *x->matrix = b->w->embed_tokens;
        return true;
    }
    if ((x->is_linear || s.is_packed) && !stored_exact_in_bf16(&s.view))
        b->w->inexact_in_bf16 |= WEIGHT_DTYPE(s.view.dtype);
    *x->matrix = s.view;
    x->matrix->rows = x->rows;          /* a convolution's [C, 1, K] is [C, K] */
    x->matrix->cols = x->cols;
    return remember(b, &s, x->kind);
}

static bool find_prefix(struct binder *b)
{
    static const char *const prefixes[] = { NAMES_MULTIMODAL, NAMES_TEXT };
    const struct tensor *found[2];
    char there[512];
    for (size_t i = 0; i < 2; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i]);
        found[i] = checkpoint_find(b->ck, name);
        if (found[i])
            b->w->prefix = prefixes[i];
    }
    if (found[0] && found[1])
        return error_set(b->err, "%s: '%s' and '%s' are both there, expected one of them",
                         b->ck->path, found[0]->name, found[1]->name);
    return found[0] || found[1]
        || error_set(b->err, "%s: missing tensor '%sembed_tokens.weight' (or"
                     " '%sembed_tokens.weight'); there are %s", b->ck->path, prefixes[0],
                     prefixes[1], names_shown(b->ck, there, sizeof there));
}

/* The router's shape has proved the number of experts before memory is taken for them. */
static bool bind_layer(struct binder *b, size_t layer)
{
    struct layer_weights *lw = &b->w->layers[layer];
    size_t n = b->ck->config.num_experts;
    if (!walk_layer(&b->walk, layer))
        return false;
    if (n == 0)
        return true;
    lw->experts = mem_array(n, sizeof *lw->experts, "experts", b->err);
    return lw->experts && walk_experts(&b->walk, layer, n);
}

static int compare_bound(const void *a, const void *b)
{
    return strcmp(((const struct bound_tensor *)a)->tensor->name,
                  ((const struct bound_tensor *)b)->tensor->name);
}

/* Sorts, drops the repetitions of fused tensors, and adds up. */
static void sum_up(struct weights *w)
{
    qsort(w->tensors, w->n_tensors, sizeof *w->tensors, compare_bound);
    size_t n = 0;
    for (size_t i = 0; i < w->n_tensors; i++)
        if (n == 0 || w->tensors[n - 1].tensor != w->tensors[i].tensor)
            w->tensors[n++] = w->tensors[i];
    w->n_tensors = n;
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = w->tensors[i].tensor;
        w->parameters += w->tensors[i].parameters;
        w->bytes += t->n_bytes;
        if (dtype_is_packed(w->tensors[i].stored))
            w->quantized_bytes += t->n_bytes;
    }
}

/* What would change a linear's result and is not implemented: refused rather than left out.
 * prefix: of the linears. */
static bool refuse_companions(const struct binder *b, const char *prefix)
{
    const struct weights *w = b->w;
    static const char *const companions[] = {
        ".bias", ".pre_quant_scale", ".smooth_scale", ".svdquant_lora_a", ".svdquant_lora_b",
        ".weight_zp", ".weight_zero_point", ".weight_g_idx", ".weight_global_scale",
        ".weight_scale_2", ".weight_scale_inv", ".qzeros", ".g_idx",
    };
    for (size_t i = 0; i < b->ck->n_tensors; i++) {
        const struct tensor *t = b->ck->tensors[i];
        bool is_head = !b->walk.mtp && strncmp(t->name, "lm_head.", 8) == 0;
        if (strncmp(t->name, prefix, strlen(prefix)) != 0 && !is_head)
            continue;
        const struct bound_tensor key = { .tensor = t };
        if (bsearch(&key, w->tensors, w->n_tensors, sizeof key, compare_bound))
            continue;
        for (size_t j = 0; j < sizeof companions / sizeof companions[0]; j++)
            if (weight_name_ends_with(t->name, companions[j]))
                return error_set(b->err, "%s: '%s' is not part of this model, whose linears have"
                                 " no %s", t->file, t->name, companions[j] + 1);
    }
    return true;
}

bool weights_bind(struct weights *w, const struct checkpoint *ck, struct error *err)
{
    *w = (struct weights){ 0 };
    size_t n_layers = ck->config.num_hidden_layers;
    struct binder b = { .ck = ck, .w = w, .err = err };
    if (!find_prefix(&b))
        return false;
    char layers[NAME_BYTES];
    snprintf(layers, sizeof layers, "%slayers.", w->prefix);
    b.walk = (struct walk){ .config = &ck->config, .prefix = w->prefix, .w = w, .visit = bind,
                            .user = &b };
    fill_dims(b.walk.dims, &ck->config);
    bool ok = walk_layer(&b.walk, n_layers)
           && (w->layers = mem_array(n_layers, sizeof *w->layers, "layers", err));
    w->n_layers = ok ? n_layers : 0;
    for (size_t i = 0; ok && i < n_layers; i++)
        ok = bind_layer(&b, i);
    if (ok)
        sum_up(w);
    ok = ok && refuse_companions(&b, layers);
    if (!ok)
        weights_free(w);
    return ok;
}

void weights_free(struct weights *w)
{
    for (size_t i = 0; i < w->n_layers; i++)
        free(w->layers[i].experts);
    free(w->layers);
    free(w->tensors);
    *w = (struct weights){ 0 };
}

/* ---- the MTP layer ------------------------------------------------------------ */

/* As vLLM's qwen3_5_mtp.py has it: several layers would take turns, and embeddings of its own
 * would take the place of the model's. */
static bool check_mtp_config(const struct checkpoint *ck, struct error *err)
{
    const cJSON *text = json_get_value(ck->config_json, "text_config");
    const cJSON *from = text ? text : ck->config_json;
    const cJSON *layers = json_get_value(from, "mtp_num_hidden_layers");
    size_t n;
    if (layers && !(json_to_size(layers, &n) && n == 1))
        return error_set(err, "%s: mtp_num_hidden_layers is not 1, the only number of MTP layers"
                         " that is supported", ck->config_path);
    if (cJSON_IsTrue(json_get_value(from, "mtp_use_dedicated_embeddings")))
        return error_set(err, "%s: mtp_use_dedicated_embeddings is true, but only an MTP layer that"
                         " uses the model's embedding is supported", ck->config_path);
    return true;
}

static const char *find_mtp_prefix(const struct checkpoint *ck)
{
    static const char *const prefixes[] = { "mtp.", "model.mtp.", NAMES_MULTIMODAL "mtp.",
                                            "language_model.mtp." };
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        for (size_t t = 0; t < ck->n_tensors; t++)
            if (strncmp(ck->tensors[t]->name, prefixes[i], strlen(prefixes[i])) == 0)
                return prefixes[i];
    return NULL;
}

/* The router's shape proves the number of experts, as in bind_layer. */
static bool bind_mtp(struct binder *b, struct mtp_weights *m)
{
    size_t n = b->ck->config.num_experts, layer = weights_mtp_layer(&b->ck->config);
    if (!walk_layer(&b->walk, layer))
        return false;
    if (n == 0)
        return true;
    m->layer.experts = mem_array(n, sizeof *m->layer.experts, "experts", b->err);
    return m->layer.experts && walk_experts(&b->walk, layer, n);
}

static struct walk mtp_walk(const struct checkpoint *ck, const struct mtp_weights *m,
                            bool (*visit)(void *user, const struct model_weight *weight),
                            void *user)
{
    struct walk k = { .config = &ck->config, .prefix = m->prefix, .mtp = m, .visit = visit,
                      .user = user };
    fill_dims(k.dims, &ck->config);
    return k;
}

bool weights_bind_mtp(struct mtp_weights *m, const struct checkpoint *ck, struct error *err)
{
    struct weights list = { 0 };                /* of its tensors, for refuse_companions */
    *m = (struct mtp_weights){ .prefix = find_mtp_prefix(ck) };
    if (!m->prefix)
        return error_set(err, "%s: has no MTP layer (no tensor 'mtp.fc.weight'), which drafts"
                         " need: leave them out, or take a checkpoint that has it", ck->path);
    struct binder b = { .ck = ck, .w = &list, .err = err };
    b.walk = mtp_walk(ck, m, bind, &b);
    bool ok = check_mtp_config(ck, err) && bind_mtp(&b, m);
    if (ok)
        sum_up(&list);
    ok = ok && refuse_companions(&b, m->prefix);
    free(list.tensors);
    return ok;
}

void weights_free_mtp(struct mtp_weights *m)
{
    free(m->layer.experts);
    *m = (struct mtp_weights){ 0 };
}

/* ---- visiting what is bound --------------------------------------------------- */

struct visitor {
    const struct weights *w;
    bool (*visit)(void *user, const struct model_weight *weight);
    void *user;
};

static bool visit_once(void *user, const struct model_weight *x)
{
    const struct visitor *v = user;
    bool tied = x->kind == WEIGHT_LM_HEAD && x->matrix->data == v->w->embed_tokens.data;
    return tied || v->visit(v->user, x);
}

static struct walk walk_of(const struct checkpoint *ck, const struct weights *w, struct visitor *v)
{
    struct walk k = { .config = &ck->config, .prefix = w->prefix, .w = w, .visit = visit_once,
                      .user = v };
    fill_dims(k.dims, &ck->config);
    return k;
}

bool weights_visit_layer(const struct checkpoint *ck, const struct weights *w, size_t layer,
                         bool (*visit)(void *user, const struct model_weight *weight), void *user)
{
    struct visitor v = { w, visit, user };
    const struct walk k = walk_of(ck, w, &v);
    return walk_layer(&k, layer) && walk_experts(&k, layer, ck->config.num_experts);
}

bool weights_visit_mtp(const struct checkpoint *ck, const struct mtp_weights *m,
                       bool (*visit)(void *user, const struct model_weight *weight), void *user)
{
    const struct walk k = mtp_walk(ck, m, visit, user);
    size_t layer = weights_mtp_layer(&ck->config);
    return walk_layer(&k, layer) && walk_experts(&k, layer, ck->config.num_experts);
}

/* ---- checks ------------------------------------------------------------------ */

struct nan_check {
    const struct checkpoint *ck;
    struct error *err;
};

static bool check_nan(void *user, const struct model_weight *x)
{
    const struct nan_check *check = user;
    struct stored_nan at;
    if (!stored_find_nan(&at, x->matrix))
        return true;
    struct stored_weight s;
    if (!weight_find(&s, check->ck, x, NULL, check->err))
        return false;
    const struct tensor *t = s.parts[at.part];
    return error_set(check->err, "%s: '%s' has %s, at [%zu, %zu]", t->file, t->name, at.what,
                     at.row, at.col);
}

bool weights_check_scales(const struct checkpoint *ck, const struct weights *w, size_t layer,
                          struct error *err)
{
    struct nan_check check = { ck, err };
    struct visitor v = { w, check_nan, &check };
    const struct walk k = walk_of(ck, w, &v);
    return walk_layer(&k, layer);
}

bool weights_check_expert(const struct checkpoint *ck, const struct weights *w, size_t layer,
                          size_t expert, struct error *err)
{
    struct nan_check check = { ck, err };
    struct visitor v = { w, check_nan, &check };
    const struct walk k = walk_of(ck, w, &v);
    return walk_expert(&k, layer, expert);
}

bool weights_check_mtp(const struct checkpoint *ck, const struct mtp_weights *m, struct error *err)
{
    struct nan_check check = { ck, err };
    return weights_visit_mtp(ck, m, check_nan, &check);
}
