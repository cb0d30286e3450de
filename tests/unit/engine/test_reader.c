/* A reader that exists only here: one file beside its settings, other names, norms stored as 1 + w
 * in F32, and the value heads of the delta net in another order, as a GGUF has them.  The engine's
 * results must be those of the safetensors folder it was made from, bit by bit. */
#include "engine/engine.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

#include <math.h>

#include "tests/differ.h"
#include "tests/random.h"
#include "tests/unit/formats/folder.h"

#define PREFIX "model.language_model."
#define SETTINGS ".settings"            /* after the path of the file */

enum { MAX_HEADS = 16, N_IDS = 100, MAX_SCORED = 200, NAME_BYTES = 256 };

/* ---- names ------------------------------------------------------------------------- */

/* Where value heads are: rows behind others, rows, one row a head, one column a head, columns. */
enum heads { NONE, CHANNELS, ROWS, ONE_ROW, ONE_COL, COLS, N_HEADS };

/* What stands after either begins with '.', or nothing does. */
static const struct name {
    const char *theirs, *ours;
    enum heads heads;
    bool one_added;
} names[] = {
    { "blk.N.attn_norm", "layers.N.input_layernorm", NONE, true },
    { "blk.N.post_attention_norm", "layers.N.post_attention_layernorm", NONE, true },
    { "blk.N.attn_q_norm", "layers.N.self_attn.q_norm", NONE, true },
    { "blk.N.attn_k_norm", "layers.N.self_attn.k_norm", NONE, true },
    { "blk.N.attn_q", "layers.N.self_attn.q_proj", NONE, false },
    { "blk.N.attn_k", "layers.N.self_attn.k_proj", NONE, false },
    { "blk.N.attn_v", "layers.N.self_attn.v_proj", NONE, false },
    { "blk.N.attn_output", "layers.N.self_attn.o_proj", NONE, false },
    { "blk.N.attn_qkv", "layers.N.linear_attn.in_proj_qkv", CHANNELS, false },
    { "blk.N.attn_gate", "layers.N.linear_attn.in_proj_z", ROWS, false },
    { "blk.N.ssm_alpha", "layers.N.linear_attn.in_proj_a", ONE_ROW, false },
    { "blk.N.ssm_beta", "layers.N.linear_attn.in_proj_b", ONE_ROW, false },
    { "blk.N.ssm_conv1d", "layers.N.linear_attn.conv1d", CHANNELS, false },
    { "blk.N.ssm_a", "layers.N.linear_attn.A_log", ONE_COL, false },
    { "blk.N.ssm_dt.bias", "layers.N.linear_attn.dt_bias", ONE_COL, false },
    { "blk.N.ssm_norm", "layers.N.linear_attn.norm", NONE, false },
    { "blk.N.ssm_out", "layers.N.linear_attn.out_proj", COLS, false },
    { "blk.N.ffn_gate", "layers.N.mlp.gate_proj", NONE, false },
    { "blk.N.ffn_up", "layers.N.mlp.up_proj", NONE, false },
    { "blk.N.ffn_down", "layers.N.mlp.down_proj", NONE, false },
    { "blk.N.ffn_gate_inp", "layers.N.mlp.gate", NONE, false },
    { "blk.N.ffn_exps", "layers.N.mlp.experts", NONE, false },
    { "blk.N.ffn_shexp", "layers.N.mlp.shared_expert", NONE, false },
    { "blk.N.ffn_gate_inp_shexp", "layers.N.mlp.shared_expert_gate", NONE, false },
    { "token_embd", "embed_tokens", NONE, false },
    { "output_norm", "norm", NONE, true },
};
#define N_NAMES (sizeof names / sizeof *names)

/* Does a name begin with a pattern, N being a number?  What stands after it. */
static bool matches(const char *name, const char *pattern, size_t *layer, const char **rest)
{
    for (*layer = 0; *pattern; pattern++) {
        if (*pattern == 'N') {
            size_t n = strspn(name, "0123456789");
            *layer = strtoul(name, NULL, 10);
            name += n;
            if (n == 0)
                return false;
        } else if (*name++ != *pattern)
            return false;
    }
    *rest = name;
    return !*name || *name == '.';
}

static void fill(char out[NAME_BYTES], const char *prefix, const char *pattern, size_t layer,
                 const char *rest)
{
    const char *n = strchr(pattern, 'N');
    if (n)
        snprintf(out, NAME_BYTES, "%s%.*s%zu%s%s", prefix, (int)(n - pattern), pattern, layer,
                 n + 1, rest);
    else
        snprintf(out, NAME_BYTES, "%s%s%s", prefix, pattern, rest);
}

/* The row of a name, and what the other side calls it; NULL: the same. */
static const struct name *translate(char out[NAME_BYTES], const char *name, bool to_ours)
{
    static const struct name head = { "output", "lm_head", NONE, false };
    size_t layer;
    const char *rest, *base = name;
    snprintf(out, NAME_BYTES, "%s", name);
    if (matches(name, to_ours ? head.theirs : head.ours, &layer, &rest)) {
        fill(out, "", to_ours ? head.ours : head.theirs, 0, rest);
        return &head;
    }
    if (!to_ours) {
        if (strncmp(name, "model.visual.", 13) == 0)
            return NULL;
        base += strncmp(name, PREFIX, strlen(PREFIX)) == 0 ? strlen(PREFIX)
              : strncmp(name, "model.", 6) == 0 ? 6 : 0;
        if (base == name)
            return NULL;
    }
    for (size_t i = 0; i < N_NAMES; i++)
        if (matches(base, to_ours ? names[i].theirs : names[i].ours, &layer, &rest)) {
            fill(out, to_ours ? PREFIX : "", to_ours ? names[i].ours : names[i].theirs, layer,
                 rest);
            return &names[i];
        }
    return NULL;
}

/* ---- heads --------------------------------------------------------------------------- */

/* How each kind of tensor has the heads. */
struct orders {
    uint32_t place[MAX_HEADS];
    struct head_order of[N_HEADS];
};

static void fill_orders(struct orders *o, const struct config *c)
{
    size_t heads = c->linear_num_value_heads, size = c->linear_value_head_dim;
    size_t keys = 2 * c->linear_num_key_heads * c->linear_key_head_dim;
    o->of[CHANNELS] = (struct head_order){ keys, heads, size, o->place };
    o->of[ROWS] = o->of[COLS] = (struct head_order){ 0, heads, size, o->place };
    o->of[ONE_ROW] = o->of[ONE_COL] = (struct head_order){ 0, heads, 1, o->place };
}

static size_t place_of(const struct head_order *o, size_t i)
{
    if (i < o->first || i >= o->first + o->heads * o->head_size)
        return i;
    size_t head = (i - o->first) / o->head_size;
    return o->first + o->place[head] * o->head_size + (i - o->first) % o->head_size;
}

/* GGUF's order: head k * rep + r is the (r * nk + k)-th.  Heads that share the scale of a block
 * cannot be told apart without another scale: then blocks are in reverse, and the heads in each. */
static void choose_places(struct orders *o, const struct config *c, bool is_packed)
{
    size_t heads = c->linear_num_value_heads, nk = c->linear_num_key_heads, rep = heads / nk;
    size_t together =
        is_packed && c->linear_value_head_dim < 32 ? 32 / c->linear_value_head_dim : 1;
    for (size_t h = 0; h < heads; h++)
        o->place[h] = (uint32_t)(together > 1 ? heads - 1 - h : h % rep * nk + h / rep);
    fill_orders(o, c);
}

/* ---- writing ----------------------------------------------------------------------------- */

static void die(const struct error *err)
{
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void move_rows(uint8_t *out, const struct tensor *t, const struct head_order *o)
{
    size_t rows = t->shape[0], n = t->n_bytes / rows;
    for (size_t i = 0; i < rows; i++)
        memcpy(out + place_of(o, i) * n, t->data + i * n, n);
}

static void move_cols(uint8_t *out, const struct tensor *t, const struct head_order *o)
{
    size_t rows = t->shape[0], n = t->n_bytes / rows, size = dtype_bytes(t->dtype);
    bool is_codes = weight_name_ends_with(t->name, "_packed"),
         is_scale = weight_name_ends_with(t->name, "_scale");
    memset(out, 0, t->n_bytes);
    for (size_t i = 0; i < rows; i++) {
        const uint8_t *from = t->data + i * n;
        uint8_t *to = out + i * n;
        for (size_t c = 0; c < (is_codes ? 2 * n : n / size); c++) {
            size_t p = is_scale ? place_of(o, 32 * c) / 32 : place_of(o, c);
            if (is_codes)
                to[p / 2] |= (uint8_t)((from[c / 2] >> (c % 2 * 4) & 15) << (p % 2 * 4));
            else
                memcpy(to + p * size, from + c * size, size);
        }
    }
}

static void add_one(uint8_t *out, const struct tensor *t)
{
    const struct matrix w = { .dtype = t->dtype, .data = t->data, .rows = 1, .cols = t->shape[0] };
    float *x = (float *)(void *)out;
    kernels_find("scalar", NULL)->rows->expand(x, &w, 0, 0, w.cols);
    for (size_t i = 0; i < w.cols; i++)
        x[i] += 1;
}

static void write_tensor(struct safetensors_writer *w, size_t i, const struct tensor *t,
                         const struct name *name, const struct orders *orders)
{
    struct error err = { 0 };
    enum heads heads = name ? name->heads : NONE;
    uint8_t *bytes = malloc(w->n_bytes[i] + 1);
    if (name && name->one_added)
        add_one(bytes, t);
    else if (heads == COLS)
        move_cols(bytes, t, &orders->of[heads]);
    else if (heads != NONE)
        move_rows(bytes, t, &orders->of[heads]);
    else
        memcpy(bytes, t->data, t->n_bytes);
    if (!safetensors_write(w, i, 0, bytes, w->n_bytes[i], &err))
        die(&err);
    free(bytes);
}

/* A reader cannot know which order was written but from its file. */
static void write_settings(const char *path, const struct checkpoint *ck, const struct orders *o)
{
    struct buffer b = { 0 };
    struct error err = { 0 };
    char *config = json_print(ck->config_json);
    bool ok = buffer_printf(&b, &err, "{\"place\":[");
    for (size_t h = 0; h < ck->config.linear_num_value_heads; h++)
        ok = ok && buffer_printf(&b, &err, "%s%u", h ? "," : "", (unsigned)o->place[h]);
    ok = ok && buffer_printf(&b, &err, "],\"config\":%s}", config)
      && output_file_write(path, b.data, b.size, &err);
    if (!ok)
        die(&err);
    cJSON_free(config);
    buffer_free(&b);
}

static void write_other(const char *path, const struct checkpoint *ck, const struct orders *orders)
{
    struct safetensors_entry *entries = calloc(ck->n_tensors, sizeof *entries);
    const struct name **rows = calloc(ck->n_tensors, sizeof *rows);
    char (*theirs)[NAME_BYTES] = calloc(ck->n_tensors, sizeof *theirs);
    char settings[NAME_BYTES + sizeof SETTINGS];
    struct safetensors_writer w;
    struct error err = { 0 };
    for (size_t i = 0; i < ck->n_tensors; i++) {
        const struct tensor *t = ck->tensors[i];
        rows[i] = translate(theirs[i], t->name, false);
        bool one_added = rows[i] && rows[i]->one_added;
        entries[i] = (struct safetensors_entry){
            theirs[i], one_added ? DTYPE_F32 : t->dtype, t->ndim, { 0 }
        };
        memcpy(entries[i].shape, t->shape, sizeof entries[i].shape);
    }
    if (!safetensors_create(&w, path, entries, ck->n_tensors, &err))
        die(&err);
    for (size_t i = 0; i < ck->n_tensors; i++)
        write_tensor(&w, i, ck->tensors[i], rows[i], orders);
    if (!safetensors_commit(&w, &err))
        die(&err);
    snprintf(settings, sizeof settings, "%s" SETTINGS, path);
    write_settings(settings, ck, orders);
    free(entries);
    free(rows);
    free(theirs);
}

/* ---- the reader ----------------------------------------------------------------------------- */

struct own {
    struct orders orders;
    char (*names)[NAME_BYTES];
};

static bool read_settings(struct checkpoint *ck, struct orders *o, struct error *err)
{
    char path[NAME_BYTES + sizeof SETTINGS];
    struct buffer text;
    struct config c = { 0 };
    snprintf(path, sizeof path, "%s" SETTINGS, ck->path);
    if (!(ck->config_path = mem_string(path, err)) || !file_read(&text, path, err))
        return false;
    cJSON *root = json_parse(text.data, text.size, path, err);
    bool ok = root && digest_of(&ck->config_digest, text.data, text.size, err);
    buffer_free(&text);
    ck->config_json = cJSON_DetachItemFromObjectCaseSensitive(root, "config");
    ok = ok && config_read(&c, ck->config_json, 1000, path, err);
    const cJSON *place = json_get(root, "place");
    for (size_t h = 0; ok && h < c.linear_num_value_heads; h++) {
        size_t at = 0;
        ok = json_to_size(cJSON_GetArrayItem(place, (int)h), &at);
        o->place[h] = (uint32_t)at;
    }
    fill_orders(o, &c);
    config_free(&c);
    cJSON_Delete(root);
    return ok;
}

/* Codes and plain values say how they are stored; scales follow their codes. */
static void describe(struct tensor *t, const struct name *name, const struct own *own)
{
    if (!name || weight_name_ends_with(t->name, "_scale"))
        return;
    const struct head_order *o = name->heads == NONE ? NULL : &own->orders.of[name->heads];
    bool by_col = name->heads == ONE_COL || name->heads == COLS;
    t->row_order = by_col ? NULL : o;
    t->col_order = by_col ? o : NULL;
    t->one_added = name->one_added;
}

static bool open_other(struct checkpoint *ck, const struct checkpoint_faults *faults,
                       struct error *err)
{
    (void)faults;
    struct own *own = ck->own = mem_array(1, sizeof *own, "names", err);
    if (!own || !read_settings(ck, &own->orders, err)
        || !(ck->files = mem_array(1, sizeof *ck->files, "files", err))
        || !safetensors_open(ck->files, ck->path, err))
        return false;
    struct safetensors_file *f = ck->files;
    ck->n_files = 1;
    own->names = mem_array(f->n_tensors, sizeof *own->names, "names", err);
    ck->tensors = mem_array(f->n_tensors, sizeof *ck->tensors, "tensors", err);
    if (!own->names || !ck->tensors)
        return false;
    for (size_t i = 0; i < f->n_tensors; i++) {
        struct tensor *t = &f->tensors[i];
        const struct name *name = translate(own->names[i], t->name, true);
        t->name = own->names[i];
        describe(t, name, own);
        ck->tensors[ck->n_tensors++] = t;
    }
    return true;
}

static void close_other(struct checkpoint *ck)
{
    struct own *own = ck->own;
    free(own->names);
    free(own);
}

static const struct checkpoint_reader other = { .name = "other", .recognises = file_exists,
                                                .open = open_other, .close = close_other };

/* ---- scores -------------------------------------------------------------------------------- */

struct scores {
    struct engine_score rows[MAX_SCORED];
    size_t n;
};

static bool take(void *user, size_t row, size_t n, const struct engine_score *scores,
                 const float *hidden, struct error *err)
{
    struct scores *s = user;
    (void)hidden;
    if (row != s->n || row + n > MAX_SCORED)
        return error_set(err, "rows [%zu, %zu) after %zu", row, row + n, s->n);
    memcpy(s->rows + row, scores, n * sizeof *scores);
    s->n += n;
    return true;
}

static bool score(struct scores *s, const struct checkpoint *ck, const struct weights *w,
                  const struct engine_options *options, struct error *err)
{
    static const struct engine_window windows[] = { { 0, 70, 1 }, { 70, 71, 71 },
                                                    { 20, 100, 40 } };
    static int32_t ids[N_IDS];
    struct random r = { 5 };
    struct engine_statistics st;
    *s = (struct scores){ .n = 0 };
    for (size_t i = 0; i < N_IDS; i++)
        ids[i] = (int32_t)random_below(&r, ck->config.vocab_size);
    struct engine *e = engine_open(ck, w, options, err);
    const struct engine_job job = { .ids = ids, .n_ids = N_IDS, .windows = windows,
                                    .n_windows = sizeof windows / sizeof *windows,
                                    .sink = { take, s } };
    bool ok = e && engine_score_windows(e, &job, &st, err);
    if (e)
        engine_close(e);
    return ok;
}

static bool same(char *where, const struct scores *a, const struct scores *b)
{
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        const struct engine_score *x = &a->rows[i], *y = &b->rows[i];
        if (memcmp(&x->nll, &y->nll, sizeof x->nll) == 0 && x->logsumexp == y->logsumexp
            && x->top1 == y->top1)
            continue;
        differ_put(where, "row %zu has NLL %a, expected %a", i, y->nll, x->nll);
        return false;
    }
    return a->n == b->n && a->n;
}

/* ---- tests --------------------------------------------------------------------------------- */

static void compare(const char *folder, const struct checkpoint *a, const struct weights *wa,
                    const struct checkpoint *b, const struct weights *wb)
{
    static const struct {
        const char *name;
        struct engine_options options;
    } cases[] = {
        { "f32, scalar", { .n_threads = 2, .compute = COMPUTE_F32, .isa = "scalar" } },
        { "f32, the best set", { .n_threads = 2, .compute = COMPUTE_F32 } },
        { "bf16, scalar", { .n_threads = 2, .compute = COMPUTE_BF16, .isa = "scalar" } },
        { "bf16, the best set", { .n_threads = 2, .compute = COMPUTE_BF16 } },
    };
    static struct scores here, there;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        char name[NAME_BYTES], where[DIFFER_TEXT] = "";
        snprintf(name, sizeof name, "%s, another container: the same bits in %s", folder,
                 cases[i].name);
        bool ok = score(&here, a, wa, &cases[i].options, &err)
               && score(&there, b, wb, &cases[i].options, &err);
        check(ok && same(where, &here, &there), name, "%s %s", err.message, where);
    }
}

static bool packs_delta_net(const struct checkpoint *ck)
{
    bool packs = false;
    for (size_t i = 0; i < ck->n_tensors; i++)
        packs = packs || strstr(ck->tensors[i]->name, "linear_attn.out_proj.weight_packed");
    return packs;
}

static bool has_other_names(const char *path)
{
    struct safetensors_file f;
    bool ok = safetensors_open(&f, path, NULL) && safetensors_find(&f, "token_embd.weight")
           && safetensors_find(&f, "blk.0.post_attention_norm.weight");
    for (size_t i = 0; ok && i < f.n_tensors; i++)
        ok = !strstr(f.tensors[i].name, "language_model");
    safetensors_close(&f);
    return ok;
}

static void test_folder(const char *path)
{
    struct folder f = folder_make();
    struct checkpoint ck, re = { 0 };
    struct weights w, wr;
    struct orders orders;
    struct error err = { 0 };
    char file[NAME_BYTES];
    snprintf(file, sizeof file, "%s", folder_path(&f, "one.file"));
    if (!check(checkpoint_open(&ck, path, &err) && weights_bind(&w, &ck, &err), path, "%s",
               err.message))
        return;
    choose_places(&orders, &ck.config, packs_delta_net(&ck));
    write_other(file, &ck, &orders);
    check(has_other_names(file), "written under other names", "%s", path);
    bool ok = checkpoint_open_with(&re, file, &other, NULL, &err);
    if (check(ok && weights_bind(&wr, &re, &err), "opened by a reader of its own", "%s",
              err.message)) {
        check(wr.parameters == w.parameters, "it has the same weights", "%zu of %zu", wr.parameters,
              w.parameters);
        check(checkpoint_check_bytes(&ck, NULL) && !checkpoint_check_bytes(&re, &err)
                  && strstr(err.message, "one.file: '" PREFIX "layers.0.")
                  && strstr(err.message, "' is stored "),
              "what copies bytes is refused a tensor by name", "%s", err.message);
        compare(path, &ck, &w, &re, &wr);
        weights_free(&wr);
    }
    checkpoint_close(&re);
    ok = checkpoint_open(&re, file, &err);
    check(!ok && strstr(err.message, "one.file: is not a folder"),
          "no reader of the program's takes it", "%s", err.message);
    weights_free(&w);
    checkpoint_close(&ck);
    folder_remove(&f);
}

int main(void)
{
    static const char *const folders[] = { "data/demo/bf16", "data/demo/mxfp4",
                                           "tests/fixtures/packed", "tests/fixtures/packed-dense" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        test_folder(folders[i]);
    return check_done();
}
