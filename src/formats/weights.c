#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define NAME_BYTES 256          /* prefix, two numbers and the longest pattern take less */

/* ---- the table ------------------------------------------------------------ */

/* Sizes that shapes are made of. */
enum dim {
    ONE, HIDDEN, VOCAB, HEAD_DIM, QUERY_GATE, KEY_VALUE, ATTENTION_OUT, CONV_CHANNELS, CONV_WIDTH,
    VALUE_HEADS, VALUE_HEAD_DIM, VALUES, EXPERTS, EXPERT_SIZE, SHARED_SIZE, DENSE_SIZE, DIMS
};

/* Where a row of the table applies. */
enum scope { MODEL, EVERY_LAYER, FULL_LAYER, LINEAR_LAYER, DENSE_LAYER, MOE_LAYER, EACH_EXPERT };

/* How a weight is stored, [rows, cols] being its view. */
enum storage {
    LINEAR,         /* NAME.weight [rows, cols], or MXFP4 in NAME.weight_packed, .weight_scale */
    TABLE,          /* NAME.weight [rows, cols], never packed */
    VECTOR,         /* NAME.weight [cols] */
    BARE_VECTOR,    /* NAME [cols] */
    CONVOLUTION,    /* NAME.weight [rows, 1, cols] */
};

struct row {
    enum scope scope;
    const char *name;           /* after the prefix and "layers.N." and "mlp.experts.E." */
    size_t offset;              /* in struct weights, layer_weights, or (experts) mlp_weights */
    enum storage storage;
    enum dim rows, cols;
    enum weight_kind kind;
    const char *fused;          /* the fused tensor of all experts, after "mlp.experts." */
    size_t part, parts;         /* which of how many parts of a slab of it */
};

#define IN_MODEL(field) offsetof(struct weights, field)
#define IN_LAYER(field) offsetof(struct layer_weights, field)
#define IN_EXPERT(field) offsetof(struct mlp_weights, field)
#define NOT_FUSED NULL, 0, 1

/* Rows of one scope and place; the name in the file is the field's. */
#define LAYER(name, storage, rows, cols, kind) \
    { EVERY_LAYER, #name, IN_LAYER(name), storage, rows, cols, kind, NOT_FUSED }
#define ATTENTION(name, storage, rows, cols, kind) \
    { FULL_LAYER, "self_attn." #name, IN_LAYER(attention.name), storage, rows, cols, kind, \
      NOT_FUSED }
#define DELTA_NET(name, storage, rows, cols, kind) \
    { LINEAR_LAYER, "linear_attn." #name, IN_LAYER(delta_net.name), storage, rows, cols, kind, \
      NOT_FUSED }
#define DENSE(name, field, rows, cols) \
    { DENSE_LAYER, "mlp." name, IN_LAYER(field), LINEAR, rows, cols, WEIGHT_DENSE_MLP, NOT_FUSED }
#define MOE(name, field, rows, cols, kind) \
    { MOE_LAYER, "mlp." name, IN_LAYER(field), LINEAR, rows, cols, kind, NOT_FUSED }
#define EXPERT(name, field, rows, cols, fused, part, parts) \
    { EACH_EXPERT, name, IN_EXPERT(field), LINEAR, rows, cols, WEIGHT_EXPERTS, fused, part, parts }

/* The router comes before the experts: its shape proves their number before memory is taken. */
static const struct row table[] = {
    { MODEL, "embed_tokens", IN_MODEL(embed_tokens), TABLE, VOCAB, HIDDEN, WEIGHT_EMBED_TOKENS,
      NOT_FUSED },
    { MODEL, "norm", IN_MODEL(norm), VECTOR, ONE, HIDDEN, WEIGHT_NORM, NOT_FUSED },
    { MODEL, "lm_head", IN_MODEL(lm_head), LINEAR, VOCAB, HIDDEN, WEIGHT_LM_HEAD, NOT_FUSED },

    LAYER(input_layernorm, VECTOR, ONE, HIDDEN, WEIGHT_NORM),
    LAYER(post_attention_layernorm, VECTOR, ONE, HIDDEN, WEIGHT_NORM),

    ATTENTION(q_proj, LINEAR, QUERY_GATE, HIDDEN, WEIGHT_ATTENTION),
    ATTENTION(k_proj, LINEAR, KEY_VALUE, HIDDEN, WEIGHT_ATTENTION),
    ATTENTION(v_proj, LINEAR, KEY_VALUE, HIDDEN, WEIGHT_ATTENTION),
    ATTENTION(o_proj, LINEAR, HIDDEN, ATTENTION_OUT, WEIGHT_ATTENTION),
    ATTENTION(q_norm, VECTOR, ONE, HEAD_DIM, WEIGHT_NORM),
    ATTENTION(k_norm, VECTOR, ONE, HEAD_DIM, WEIGHT_NORM),

    DELTA_NET(in_proj_qkv, LINEAR, CONV_CHANNELS, HIDDEN, WEIGHT_DELTA_NET),
    DELTA_NET(in_proj_z, LINEAR, VALUES, HIDDEN, WEIGHT_DELTA_NET),
    DELTA_NET(in_proj_a, LINEAR, VALUE_HEADS, HIDDEN, WEIGHT_DELTA_NET),
    DELTA_NET(in_proj_b, LINEAR, VALUE_HEADS, HIDDEN, WEIGHT_DELTA_NET),
    DELTA_NET(conv1d, CONVOLUTION, CONV_CHANNELS, CONV_WIDTH, WEIGHT_DELTA_NET_STATE),
    DELTA_NET(A_log, BARE_VECTOR, ONE, VALUE_HEADS, WEIGHT_DELTA_NET_STATE),
    DELTA_NET(dt_bias, BARE_VECTOR, ONE, VALUE_HEADS, WEIGHT_DELTA_NET_STATE),
    DELTA_NET(norm, VECTOR, ONE, VALUE_HEAD_DIM, WEIGHT_NORM),
    DELTA_NET(out_proj, LINEAR, HIDDEN, VALUES, WEIGHT_DELTA_NET),

    DENSE("gate_proj", mlp.gate, DENSE_SIZE, HIDDEN),
    DENSE("up_proj", mlp.up, DENSE_SIZE, HIDDEN),
    DENSE("down_proj", mlp.down, HIDDEN, DENSE_SIZE),

    MOE("gate", router, EXPERTS, HIDDEN, WEIGHT_ROUTER),
    MOE("shared_expert.gate_proj", shared_expert.gate, SHARED_SIZE, HIDDEN, WEIGHT_SHARED_EXPERT),
    MOE("shared_expert.up_proj", shared_expert.up, SHARED_SIZE, HIDDEN, WEIGHT_SHARED_EXPERT),
    MOE("shared_expert.down_proj", shared_expert.down, HIDDEN, SHARED_SIZE, WEIGHT_SHARED_EXPERT),
    MOE("shared_expert_gate", shared_expert_gate, ONE, HIDDEN, WEIGHT_SHARED_EXPERT_GATE),

    EXPERT("gate_proj", gate, EXPERT_SIZE, HIDDEN, "gate_up_proj", 0, 2),
    EXPERT("up_proj", up, EXPERT_SIZE, HIDDEN, "gate_up_proj", 1, 2),
    EXPERT("down_proj", down, HIDDEN, EXPERT_SIZE, "down_proj", 0, 1),
};

#define N_ROWS (sizeof table / sizeof table[0])

/* No product overflows: the config bounds each factor. */
static void fill_dims(size_t dims[DIMS], const struct config *c)
{
    size_t keys = c->linear_num_key_heads * c->linear_key_head_dim;
    size_t values = c->linear_num_value_heads * c->linear_value_head_dim;
    dims[ONE] = 1;
    dims[HIDDEN] = c->hidden_size;
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

/* One weight: a row of the table at one layer and expert. */
struct site {
    const struct row *row;
    struct matrix *matrix;
    size_t expert;
    char module[NAME_BYTES];            /* full name without ".weight" */
    char fused[NAME_BYTES];             /* experts: the fused tensor's full name */
};

typedef bool site_fn(void *user, const struct site *site);

static bool row_applies(const struct row *row, const struct config *c, size_t layer)
{
    if (layer == c->num_hidden_layers)
        return row->scope == MODEL;
    switch (row->scope) {
    case EVERY_LAYER:
        return true;
    case FULL_LAYER:
        return c->layer_types[layer] == FULL_ATTENTION;
    case LINEAR_LAYER:
        return c->layer_types[layer] == LINEAR_ATTENTION;
    case DENSE_LAYER:
        return c->num_experts == 0;
    case MOE_LAYER:
        return c->num_experts != 0;
    default:
        return false;
    }
}

static bool walk_experts(const struct config *c, const struct weights *w, size_t layer, site_fn *fn,
                         void *user)
{
    struct site site;
    for (size_t e = 0; e < c->num_experts; e++)
        for (const struct row *row = table; row < table + N_ROWS; row++) {
            if (row->scope != EACH_EXPERT)
                continue;
            site.row = row;
            site.expert = e;
            site.matrix = w->layers
                ? (struct matrix *)((char *)&w->layers[layer].experts[e] + row->offset) : NULL;
            snprintf(site.module, NAME_BYTES, "%slayers.%zu.mlp.experts.%zu.%s", w->prefix, layer,
                     e, row->name);
            snprintf(site.fused, NAME_BYTES, "%slayers.%zu.mlp.experts.%s", w->prefix, layer,
                     row->fused);
            if (!fn(user, &site))
                return false;
        }
    return true;
}

/* Every weight of a layer but its experts; layer == num_hidden_layers: those outside layers. */
static bool walk_layer(const struct config *c, const struct weights *w, size_t layer, site_fn *fn,
                       void *user)
{
    struct site site = { .expert = 0 };
    for (const struct row *row = table; row < table + N_ROWS; row++) {
        if (!row_applies(row, c, layer))
            continue;
        const char *base = row->scope == MODEL ? (const char *)w
                         : w->layers ? (const char *)&w->layers[layer] : NULL;
        site.row = row;
        site.matrix = base ? (struct matrix *)(uintptr_t)(base + row->offset) : NULL;
        if (row->kind == WEIGHT_LM_HEAD)
            snprintf(site.module, NAME_BYTES, "%s", row->name);
        else if (row->scope == MODEL)
            snprintf(site.module, NAME_BYTES, "%s%s", w->prefix, row->name);
        else
            snprintf(site.module, NAME_BYTES, "%slayers.%zu.%s", w->prefix, layer, row->name);
        if (!fn(user, &site))
            return false;
    }
    return true;
}

/* ---- binding one weight --------------------------------------------------- */

struct binder {
    const struct checkpoint *ck;
    struct weights *w;
    size_t dims[DIMS];
    size_t capacity;            /* of w->tensors */
    struct error *err;
};

static const struct tensor *find(const struct binder *b, const char *module, const char *suffix)
{
    char name[NAME_BYTES + 32];
    snprintf(name, sizeof name, "%s%s", module, suffix);
    return checkpoint_find(b->ck, name);
}

static bool expect_shape(const struct tensor *t, const size_t *shape, size_t ndim,
                         struct error *err)
{
    bool same = t->ndim == ndim;
    for (size_t i = 0; same && i < ndim; i++)
        same = t->shape[i] == shape[i];
    if (same)
        return true;
    struct tensor expected = { .ndim = ndim };
    memcpy(expected.shape, shape, ndim * sizeof *shape);
    char found_text[256], expected_text[256];
    return error_set(err, "%s: '%s' has shape %s, expected %s", t->file, t->name,
                     tensor_shape_text(t, found_text, sizeof found_text),
                     tensor_shape_text(&expected, expected_text, sizeof expected_text));
}

static bool expect_float(const struct tensor *t, struct error *err)
{
    return t->dtype == DTYPE_BF16 || t->dtype == DTYPE_F16 || t->dtype == DTYPE_F32
        || error_set(err, "%s: '%s' has dtype %s, expected BF16, F16 or F32", t->file, t->name,
                     dtype_name(t->dtype));
}

static bool expect_u8(const struct tensor *t, struct error *err)
{
    return t->dtype == DTYPE_U8
        || error_set(err, "%s: '%s' has dtype %s, expected U8", t->file, t->name,
                     dtype_name(t->dtype));
}

static bool remember(struct binder *b, const struct tensor *t, enum weight_kind kind,
                     enum dtype stored, size_t parameters)
{
    struct weights *w = b->w;
    if (!mem_grow(&w->tensors, &b->capacity, w->n_tensors + 1, sizeof *w->tensors, "weights",
                  b->err))
        return false;
    w->tensors[w->n_tensors++] = (struct bound_tensor){ t, kind, stored, parameters };
    return true;
}

static bool bind_packed(struct binder *b, const struct site *site, const struct tensor *packed)
{
    struct matrix *m = site->matrix;
    const struct tensor *scale = find(b, site->module, ".weight_scale");
    if (!scale)
        return error_set(b->err, "%s: '%s' has no '%s.weight_scale' beside it", packed->file,
                         packed->name, site->module);
    if (m->cols % MXFP4_BLOCK)
        return error_set(b->err, "%s: '%s' has %zu columns, MXFP4 needs a multiple of %zu",
                         packed->file, packed->name, m->cols, MXFP4_BLOCK);
    const size_t packed_shape[] = { m->rows, m->cols / 2 };
    const size_t scale_shape[] = { m->rows, m->cols / MXFP4_BLOCK };
    m->dtype = DTYPE_MXFP4;
    m->data = packed->data;
    m->scale = scale->data;
    return expect_u8(packed, b->err) && expect_shape(packed, packed_shape, 2, b->err)
        && expect_u8(scale, b->err) && expect_shape(scale, scale_shape, 2, b->err)
        && remember(b, packed, site->row->kind, DTYPE_MXFP4, 2 * packed->n_bytes)
        && remember(b, scale, site->row->kind, DTYPE_MXFP4, 0);
}

/* An expert's slab of the fused tensor, or its gate or up half. */
static bool bind_fused(struct binder *b, const struct site *site, const struct tensor *t)
{
    const struct row *row = site->row;
    struct matrix *m = site->matrix;
    const size_t shape[] = { b->dims[EXPERTS], row->parts * m->rows, m->cols };
    if (!expect_float(t, b->err) || !expect_shape(t, shape, 3, b->err))
        return false;
    m->dtype = t->dtype;
    /* Inside the tensor, whose bytes were counted without overflow. */
    size_t first_row = (site->expert * row->parts + row->part) * m->rows;
    m->data = t->data + first_row * m->cols * dtype_bytes(t->dtype);
    return remember(b, t, row->kind, t->dtype, tensor_elements(t));
}

static bool bind_plain(struct binder *b, const struct site *site, const struct tensor *t)
{
    struct matrix *m = site->matrix;
    const size_t matrix[] = { m->rows, m->cols }, vector[] = { m->cols };
    const size_t convolution[] = { m->rows, 1, m->cols };
    enum storage storage = site->row->storage;
    const size_t *shape = storage == CONVOLUTION ? convolution
                        : storage == VECTOR || storage == BARE_VECTOR ? vector : matrix;
    size_t ndim = storage == CONVOLUTION ? 3 : shape == vector ? 1 : 2;
    m->dtype = t->dtype;
    m->data = t->data;
    return expect_float(t, b->err) && expect_shape(t, shape, ndim, b->err)
        && remember(b, t, site->row->kind, t->dtype, tensor_elements(t));
}

/* A scale would mean that the stored values are not the weights. */
static bool refuse_scale(const struct binder *b, const struct site *site,
                         const struct tensor *plain)
{
    const struct tensor *scale = find(b, site->module, ".weight_scale");
    return !scale
        || error_set(b->err, "%s: '%s' stands beside '%s', expected only beside a '.weight_packed'",
                     scale->file, scale->name, plain->name);
}

static bool refuse_missing(const struct binder *b, const struct site *site)
{
    const char *path = b->ck->path, *module = site->module;
    if (site->row->storage == BARE_VECTOR)
        return error_set(b->err, "%s: missing tensor '%s'", path, module);
    if (site->row->storage != LINEAR)
        return error_set(b->err, "%s: missing tensor '%s.weight'", path, module);
    if (!site->row->fused)
        return error_set(b->err, "%s: missing tensor '%s.weight' (or '.weight_packed')", path,
                         module);
    return error_set(b->err, "%s: missing tensor '%s.weight' (or '.weight_packed', or '%s')", path,
                     module, site->fused);
}

/* The one way in which a weight comes into the model. */
static bool bind_site(void *user, const struct site *site)
{
    struct binder *b = user;
    const struct row *row = site->row;
    bool linear = row->storage == LINEAR;
    *site->matrix = (struct matrix){ .rows = b->dims[row->rows], .cols = b->dims[row->cols] };
    const char *suffix = row->storage == BARE_VECTOR ? "" : ".weight";
    const struct tensor *plain = find(b, site->module, suffix);
    const struct tensor *packed = linear ? find(b, site->module, ".weight_packed") : NULL;
    const struct tensor *fused = row->fused ? find(b, site->fused, "") : NULL;
    if ((plain != NULL) + (packed != NULL) + (fused != NULL) > 1)
        return error_set(b->err, "%s: '%s' and '%s' are both there, expected one of them",
                         plain ? plain->file : packed->file, plain ? plain->name : packed->name,
                         fused ? fused->name : packed->name);
    if (packed)
        return bind_packed(b, site, packed);
    if (fused)
        return bind_fused(b, site, fused);
    if (plain)
        return bind_plain(b, site, plain) && (!linear || refuse_scale(b, site, plain));
    if (row->kind == WEIGHT_LM_HEAD && b->ck->config.tie_word_embeddings) {
        *site->matrix = b->w->embed_tokens;
        return true;
    }
    return refuse_missing(b, site);
}

/* ---- all of them ---------------------------------------------------------- */

static bool find_prefix(struct binder *b)
{
    static const char *const prefixes[] = { "model.language_model.", "model." };
    const struct tensor *found[2];
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
                     " '%sembed_tokens.weight')", b->ck->path, prefixes[0], prefixes[1]);
}

/* What would change a linear's result and is not implemented: refused rather than left out. */
static bool refuse_companions(const struct binder *b)
{
    static const char *const companions[] = { ".bias", ".weight_global_scale", ".weight_zero_point",
                                              ".weight_g_idx", ".weight_scale_inv", ".input_scale",
                                              ".input_global_scale" };
    char layers[NAME_BYTES];
    snprintf(layers, sizeof layers, "%slayers.", b->w->prefix);
    for (size_t i = 0; i < b->ck->n_tensors; i++) {
        const struct tensor *t = b->ck->tensors[i];
        if (strncmp(t->name, layers, strlen(layers)) != 0 && strncmp(t->name, "lm_head.", 8) != 0)
            continue;
        size_t n = strlen(t->name);
        for (size_t j = 0; j < sizeof companions / sizeof companions[0]; j++) {
            size_t n_suffix = strlen(companions[j]);
            if (n > n_suffix && strcmp(t->name + n - n_suffix, companions[j]) == 0)
                return error_set(b->err, "%s: '%s' is not part of this model, whose linears have"
                                 " no %s", t->file, t->name, companions[j] + 1);
        }
    }
    return true;
}

static bool bind_layer(struct binder *b, size_t layer)
{
    const struct config *c = &b->ck->config;
    struct layer_weights *lw = &b->w->layers[layer];
    if (!walk_layer(c, b->w, layer, bind_site, b))
        return false;
    if (c->num_experts == 0)
        return true;
    lw->experts = mem_array(c->num_experts, sizeof *lw->experts, "experts", b->err);
    return lw->experts && walk_experts(c, b->w, layer, bind_site, b);
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
        if (w->tensors[i].stored == DTYPE_MXFP4)
            w->quantized_bytes += t->n_bytes;
    }
}

bool weights_bind(struct weights *w, const struct checkpoint *ck, struct error *err)
{
    *w = (struct weights){ 0 };
    size_t n_layers = ck->config.num_hidden_layers;
    struct binder b = { .ck = ck, .w = w, .err = err };
    fill_dims(b.dims, &ck->config);
    bool ok = find_prefix(&b) && walk_layer(&ck->config, w, n_layers, bind_site, &b)
           && (w->layers = mem_array(n_layers, sizeof *w->layers, "layers", err));
    w->n_layers = ok ? n_layers : 0;
    for (size_t i = 0; ok && i < n_layers; i++)
        ok = bind_layer(&b, i);
    ok = ok && refuse_companions(&b);
    if (ok)
        sum_up(w);
    else
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

/* ---- visiting ------------------------------------------------------------- */

bool weights_visit_tensors(const struct checkpoint *ck, const struct weights *w,
                           bool (*visit)(void *user, const struct tensor *t), void *user)
{
    (void)ck;
    for (size_t i = 0; i < w->n_tensors; i++)
        if (!visit(user, w->tensors[i].tensor))
            return false;
    return true;
}

struct visitor {
    const struct checkpoint *ck;
    const struct weights *w;
    bool (*visit)(void *user, const struct weight_place *place);
    void *user;
};

static bool visit_site(void *user, const struct site *site)
{
    const struct visitor *v = user;
    const struct row *row = site->row;
    if (row->kind == WEIGHT_LM_HEAD && site->matrix->data == v->w->embed_tokens.data)
        return true;
    const struct weight_place place = {
        .module = site->module,
        .matrix = site->matrix,
        .kind = row->kind,
        .is_linear = row->storage == LINEAR,
        .is_fused = row->fused && !site->matrix->scale && checkpoint_find(v->ck, site->fused),
    };
    return v->visit(v->user, &place);
}

bool weights_visit_layer(const struct checkpoint *ck, const struct weights *w, size_t layer,
                         bool (*visit)(void *user, const struct weight_place *place), void *user)
{
    struct visitor v = { ck, w, visit, user };
    return walk_layer(&ck->config, w, layer, visit_site, &v)
        && (layer == ck->config.num_hidden_layers
            || walk_experts(&ck->config, w, layer, visit_site, &v));
}

struct expecting {
    const struct config *config;
    size_t dims[DIMS];
    bool (*visit)(void *user, const struct weight_expected *expected);
    void *user;
};

static bool visit_expected(void *user, const struct site *site)
{
    const struct expecting *x = user;
    const struct row *row = site->row;
    enum storage storage = row->storage;
    size_t rows = x->dims[row->rows], cols = x->dims[row->cols];
    struct weight_expected expected = {
        .module = site->module,
        .suffix = storage == BARE_VECTOR ? "" : ".weight",
        .kind = row->kind,
        .is_linear = storage == LINEAR,
        .may_be_absent = row->kind == WEIGHT_LM_HEAD && x->config->tie_word_embeddings,
        .ndim = storage == CONVOLUTION ? 3 : storage == VECTOR || storage == BARE_VECTOR ? 1 : 2,
    };
    const size_t convolution[] = { rows, 1, cols }, matrix[] = { rows, cols };
    memcpy(expected.shape, expected.ndim == 3 ? convolution : expected.ndim == 2 ? matrix : &cols,
           expected.ndim * sizeof cols);
    return x->visit(x->user, &expected);
}

bool weights_expect(const struct config *c, const char *prefix,
                    bool (*visit)(void *user, const struct weight_expected *expected), void *user)
{
    struct expecting x = { .config = c, .visit = visit, .user = user };
    const struct weights names = { .prefix = prefix };
    fill_dims(x.dims, c);
    bool ok = walk_layer(c, &names, c->num_hidden_layers, visit_expected, &x);
    for (size_t i = 0; ok && i < c->num_hidden_layers; i++)
        ok = walk_layer(c, &names, i, visit_expected, &x)
          && walk_experts(c, &names, i, visit_expected, &x);
    return ok;
}

struct scale_check {
    const struct checkpoint *ck;
    struct error *err;
};

/* The first one, or NULL. */
static const uint8_t *nan_scale(const struct matrix *m)
{
    return m->scale ? memchr(m->scale, 255, m->rows * (m->cols / MXFP4_BLOCK)) : NULL;
}

static bool check_place(void *user, const struct weight_place *place)
{
    const struct scale_check *check = user;
    const struct matrix *m = place->matrix;
    size_t blocks = m->cols / MXFP4_BLOCK;
    const uint8_t *nan = nan_scale(m);
    if (!nan)
        return true;
    char name[NAME_BYTES + 32];
    snprintf(name, sizeof name, "%s.weight_scale", place->module);
    const struct tensor *t = checkpoint_find(check->ck, name);
    size_t at = (size_t)(nan - m->scale);
    return error_set(check->err, "%s: '%s' has scale byte 255, which is NaN, at [%zu, %zu]",
                     t ? t->file : check->ck->path, name, at / blocks, at % blocks);
}

bool weights_check_scales(const struct checkpoint *ck, const struct weights *w, size_t layer,
                          struct error *err)
{
    struct scale_check check = { ck, err };
    const struct visitor v = { ck, w, check_place, &check };
    return walk_layer(&ck->config, w, layer, visit_site, (void *)(uintptr_t)&v);
}

bool weights_check_expert(const struct checkpoint *ck, const struct weights *w, size_t layer,
                          size_t expert, struct error *err)
{
    const struct mlp_weights *x = &w->layers[layer].experts[expert];
    if (!nan_scale(&x->gate) && !nan_scale(&x->up) && !nan_scale(&x->down))
        return true;
    /* Names are made by walking; the first one found may be another expert's. */
    struct scale_check check = { ck, err };
    const struct visitor v = { ck, w, check_place, &check };
    return walk_experts(&ck->config, w, layer, visit_site, (void *)(uintptr_t)&v);
}
