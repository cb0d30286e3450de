#include "formats/gguf_names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define PREFIX "model.language_model."
#define WEIGHT ".weight"

/* How a tensor is read, beside its name. */
enum { ADDED = 1, RATE = 2, CONVOLUTION = 4, ROW = 8, EXPERTS = 16, BARE = 32 };

struct row {
    const char *theirs, *ours;          /* without ".weight", unless BARE */
    enum gguf_heads heads;
    unsigned flags;
};

static const struct row of_model[] = {
    { "token_embd", PREFIX "embed_tokens", GGUF_NONE, 0 },
    { "output_norm", PREFIX "norm", GGUF_NONE, ADDED },
    { "output", "lm_head", GGUF_NONE, 0 },
};

/* After "blk.N.", and after "layers.N."; EXPERTS: after "mlp.experts.E.". */
static const struct row of_layer[] = {
    { "attn_norm", "input_layernorm", GGUF_NONE, ADDED },
    { "post_attention_norm", "post_attention_layernorm", GGUF_NONE, ADDED },
    { "attn_q_norm", "self_attn.q_norm", GGUF_NONE, ADDED },
    { "attn_k_norm", "self_attn.k_norm", GGUF_NONE, ADDED },
    { "attn_q", "self_attn.q_proj", GGUF_NONE, 0 },
    { "attn_k", "self_attn.k_proj", GGUF_NONE, 0 },
    { "attn_v", "self_attn.v_proj", GGUF_NONE, 0 },
    { "attn_output", "self_attn.o_proj", GGUF_NONE, 0 },
    { "attn_qkv", "linear_attn.in_proj_qkv", GGUF_CHANNELS, 0 },
    { "attn_gate", "linear_attn.in_proj_z", GGUF_ROWS, 0 },
    { "ssm_alpha", "linear_attn.in_proj_a", GGUF_ONE_ROW, 0 },
    { "ssm_beta", "linear_attn.in_proj_b", GGUF_ONE_ROW, 0 },
    { "ssm_conv1d", "linear_attn.conv1d", GGUF_CHANNELS, CONVOLUTION },
    { "ssm_a", "linear_attn.A_log", GGUF_ONE_COL, RATE | BARE },
    { "ssm_dt.bias", "linear_attn.dt_bias", GGUF_ONE_COL, BARE },
    { "ssm_norm", "linear_attn.norm", GGUF_NONE, 0 },
    { "ssm_out", "linear_attn.out_proj", GGUF_COLS, 0 },
    { "ffn_gate", "mlp.gate_proj", GGUF_NONE, 0 },
    { "ffn_up", "mlp.up_proj", GGUF_NONE, 0 },
    { "ffn_down", "mlp.down_proj", GGUF_NONE, 0 },
    { "ffn_gate_inp", "mlp.gate", GGUF_NONE, 0 },
    { "ffn_gate_shexp", "mlp.shared_expert.gate_proj", GGUF_NONE, 0 },
    { "ffn_up_shexp", "mlp.shared_expert.up_proj", GGUF_NONE, 0 },
    { "ffn_down_shexp", "mlp.shared_expert.down_proj", GGUF_NONE, 0 },
    { "ffn_gate_inp_shexp", "mlp.shared_expert_gate", GGUF_NONE, ROW },
    { "ffn_gate_exps", "gate_proj", GGUF_NONE, EXPERTS },
    { "ffn_up_exps", "up_proj", GGUF_NONE, EXPERTS },
    { "ffn_down_exps", "down_proj", GGUF_NONE, EXPERTS },
    { "ffn_gate_up_exps", NULL, GGUF_NONE, EXPERTS },       /* gate, then up, of each expert */
};

/* After "blk.N." of a layer that drafts, and after "mtp.". */
static const struct row of_draft[] = {
    { "nextn.eh_proj", "fc", GGUF_NONE, 0 },
    { "nextn.enorm", "pre_fc_norm_embedding", GGUF_NONE, ADDED },
    { "nextn.hnorm", "pre_fc_norm_hidden", GGUF_NONE, ADDED },
    { "nextn.shared_head_norm", "norm", GGUF_NONE, ADDED },
    { "nextn.embed_tokens", "embed_tokens", GGUF_NONE, 0 },
    { "nextn.shared_head_head", "lm_head", GGUF_NONE, 0 },
};

#define FIND(name, table) find_row(name, table, sizeof table / sizeof *table)

static const struct row *find_row(const char *name, const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(rows[i].theirs);
        if (strncmp(name, rows[i].theirs, length) == 0
            && strcmp(name + length, rows[i].flags & BARE ? "" : WEIGHT) == 0)
            return &rows[i];
    }
    return NULL;
}

/* ---- one tensor ------------------------------------------------------------------- */

struct taker {
    bool (*take)(void *user, const struct gguf_name *name, struct error *err);
    void *user;
    struct error *err;
};

static size_t rows_of(const struct gguf_tensor *t)
{
    size_t rows = 1;                    /* its bytes have been counted: no overflow */
    for (size_t i = 1; i < t->ndim; i++)
        rows *= t->ne[i];
    return rows;
}

static bool take_row(const struct taker *to, const struct row *row, struct gguf_name name)
{
    name.heads = row->heads;
    name.one_added = row->flags & ADDED;
    name.is_rate = row->flags & RATE;
    name.is_convolution = row->flags & CONVOLUTION;
    name.is_row = row->flags & ROW;
    return to->take(to->user, &name, to->err);
}

/* prefix: "model.language_model.layers.7." */
static bool take_experts(const struct taker *to, const struct row *row, const char *prefix,
                         const struct gguf *g, const struct gguf_tensor *t)
{
    static const char *const both[] = { "gate_proj", "up_proj" };
    size_t n = row->ours ? 1 : 2, rows = t->ndim == 3 ? t->ne[1] / n : 0;
    if (t->ndim != 3 || t->ne[1] % n)
        return error_set(to->err, "%s: '%.*s' is no stack of experts, expected %s", g->map.path,
                         (int)t->name.n, t->name.bytes,
                         n == 1 ? "3 dimensions" : "gate and up of one size in 3 dimensions");
    bool ok = true;
    for (size_t i = 0; ok && i < t->ne[2] * n; i++) {
        struct gguf_name name = { .first = i * rows, .rows = rows };
        snprintf(name.name, sizeof name.name, "%smlp.experts.%zu.%s" WEIGHT, prefix, i / n,
                 row->ours ? row->ours : both[i % n]);
        ok = take_row(to, row, name);
    }
    return ok;
}

/* q with its gate, k and v of full attention, one after the other. */
static bool take_qkv(const struct taker *to, const char *prefix, const struct gguf *g,
                     const struct gguf_tensor *t, const struct config *c)
{
    static const struct row plain = { .theirs = "attn_qkv" };
    static const char *const parts[] = { "q_proj", "k_proj", "v_proj" };
    const size_t kv = c->num_key_value_heads * c->head_dim;
    const size_t rows[] = { 2 * c->num_attention_heads * c->head_dim, kv, kv };
    size_t first = 0;
    if (rows_of(t) != rows[0] + 2 * kv)
        return error_set(to->err, "%s: '%.*s' has %zu rows, expected %zu", g->map.path,
                         (int)t->name.n, t->name.bytes, rows_of(t), rows[0] + 2 * kv);
    bool ok = true;
    for (size_t i = 0; ok && i < 3; first += rows[i++]) {
        struct gguf_name name = { .first = first, .rows = rows[i] };
        snprintf(name.name, sizeof name.name, "%sself_attn.%s" WEIGHT, prefix, parts[i]);
        ok = take_row(to, &plain, name);
    }
    return ok;
}

/* "blk.7.REST": the layer, and REST; NULL: it is in no layer. */
static const char *layer_of(size_t *layer, const char *name)
{
    static const char blk[] = "blk.";
    const char *digits = name + strlen(blk);
    if (strncmp(name, blk, strlen(blk)) != 0)
        return NULL;
    size_t n = strspn(digits, "0123456789");
    *layer = strtoul(digits, NULL, 10);
    return n > 0 && n < 6 && digits[n] == '.' ? digits + n + 1 : NULL;
}

static bool take_named(const struct taker *to, const char *prefix, const struct row *row,
                       const struct gguf_tensor *t)
{
    struct gguf_name name = { .rows = rows_of(t) };
    snprintf(name.name, sizeof name.name, "%s%s%s", prefix, row->ours,
             row->flags & BARE ? "" : WEIGHT);
    return take_row(to, row, name);
}

static bool refuse(const struct taker *to, const struct gguf *g, const struct gguf_tensor *t)
{
    return error_set(to->err, "%s: '%.*s' is not part of this model: what it would do is not known",
                     g->map.path, (int)t->name.n, t->name.bytes);
}

static bool take_in_layer(const struct taker *to, const struct gguf *g, const struct gguf_tensor *t,
                          const struct config *c, size_t layer, const char *rest)
{
    bool drafts = layer >= c->num_hidden_layers;
    const struct row *row = drafts ? FIND(rest, of_draft) : NULL;
    char prefix[64];
    if (row)
        return take_named(to, "mtp.", row, t);
    if (!(row = FIND(rest, of_layer)))
        return refuse(to, g, t);
    snprintf(prefix, sizeof prefix, "%slayers.%zu.", drafts ? "mtp." : PREFIX,
             drafts ? layer - c->num_hidden_layers : layer);
    if (row->flags & EXPERTS)
        return take_experts(to, row, prefix, g, t);
    bool is_full = drafts || c->layer_types[layer] == FULL_ATTENTION;
    return is_full && strcmp(row->theirs, "attn_qkv") == 0 ? take_qkv(to, prefix, g, t, c)
                                                           : take_named(to, prefix, row, t);
}

/* Beside the text model: an image encoder, which Ollama puts into the same file. */
static bool take_visual(const struct taker *to, const char *theirs, const struct gguf_tensor *t)
{
    static const struct row plain = { .theirs = "v" };
    struct gguf_name name = { .rows = rows_of(t) };
    snprintf(name.name, sizeof name.name, "model.visual.%s", theirs);
    return take_row(to, &plain, name);
}

bool gguf_names_each(const struct gguf *g, const struct gguf_tensor *t, const struct config *c,
                     bool (*take)(void *user, const struct gguf_name *name, struct error *err),
                     void *user, struct error *err)
{
    const struct taker to = { take, user, err };
    char name[GGUF_NAME_MOST + 1];
    size_t layer = 0;
    snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.bytes);
    const char *rest = layer_of(&layer, name);
    if (rest)
        return take_in_layer(&to, g, t, c, layer, rest);
    if (strncmp(name, "v.", 2) == 0 || strncmp(name, "mm.", 3) == 0)
        return take_visual(&to, name, t);
    const struct row *row = FIND(name, of_model);
    return row ? take_named(&to, "", row, t) : refuse(&to, g, t);
}
