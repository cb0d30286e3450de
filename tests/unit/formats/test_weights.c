#include "formats/weights.h"

#include <stdint.h>

#include "fake.h"
#include "tests/check.h"

#define L0 FAKE_PREFIX "layers.0."
#define L1 FAKE_PREFIX "layers.1."
#define UP1 L1 "mlp.experts.1.up_proj"

/* ---- refusals ----------------------------------------------------------------- */

enum action { RETYPE, RESHAPE, REMOVE, ADD, PACK, RENAME };

static const struct {
    const char *name;
    enum action action;
    const char *tensor;         /* PACK: the module */
    enum dtype dtype;           /* RETYPE, ADD (all of them one number) */
    size_t ndim, shape[3];      /* RESHAPE, ADD */
    const char *fragment;       /* NULL: binds */
} cases[] = {                   /* one change to fake_moe */
    { "unchanged", ADD, "x", DTYPE_F32, 1, { 1 }, NULL },
    { "embedding absent", REMOVE, FAKE_PREFIX "embed_tokens.weight", 0, 0, { 0 },
      "missing tensor '" FAKE_PREFIX "embed_tokens.weight' (or 'model.embed_tokens.weight')" },
    { "both prefixes", ADD, "model.embed_tokens.weight", DTYPE_BF16, 2, { 10, 64 },
      "'model.language_model.embed_tokens.weight' and 'model.embed_tokens.weight' are both there" },
    { "embedding packed", PACK, FAKE_PREFIX "embed_tokens", 0, 0, { 0 }, "embed_tokens.weight'" },
    { "embedding transposed", RESHAPE, FAKE_PREFIX "embed_tokens.weight", 0, 2, { 64, 10 },
      "/model.safetensors: '" FAKE_PREFIX "embed_tokens.weight' has shape [64, 10], expected"
      " [10, 64]" },
    { "head absent and not tied", REMOVE, "lm_head.weight", 0, 0, { 0 },
      "missing tensor 'lm_head.weight'" },
    { "head packed", PACK, "lm_head", 0, 0, { 0 }, NULL },
    { "norm absent", REMOVE, FAKE_PREFIX "norm.weight", 0, 0, { 0 },
      "'model.language_model.norm.weight'" },
    { "norm of two dimensions", RESHAPE, FAKE_PREFIX "norm.weight", 0, 2, { 1, 64 },
      "[1, 64], expected [64]" },
    { "in_proj_z packed", PACK, L0 "linear_attn.in_proj_z", 0, 0, { 0 }, NULL },
    { "norm in F16", RETYPE, FAKE_PREFIX "norm.weight", DTYPE_F16, 0, { 0 }, NULL },
    { "norm in I16", RETYPE, FAKE_PREFIX "norm.weight", DTYPE_I16, 0, { 0 },
      "has dtype I16, expected BF16, F16 or F32" },
    { "weight in F64", RETYPE, L0 "mlp.gate.weight", DTYPE_F64, 0, { 0 },
      "has dtype F64, expected BF16" },
    { "weight in FP8", RETYPE, L1 "self_attn.q_proj.weight", DTYPE_F8_E4M3, 0, { 0 },
      L1 "self_attn.q_proj.weight' has no '" L1 "self_attn.q_proj.weight_scale_inv' beside it" },
    { "embedding in FP8", RETYPE, FAKE_PREFIX "embed_tokens.weight", DTYPE_F8_E4M3, 0, { 0 },
      "has dtype F8_E4M3, expected BF16, F16 or F32" },
    { "A_log absent", REMOVE, L0 "linear_attn.A_log", 0, 0, { 0 },
      "missing tensor '" L0 "linear_attn.A_log'" },
    { "A_log of one head too many", RESHAPE, L0 "linear_attn.A_log", 0, 1, { 3 },
      "[3], expected [2]" },
    { "A_log with .weight", RENAME, L0 "linear_attn.A_log", 0, 0, { 0 }, "missing tensor" },
    { "conv1d of two dimensions", RESHAPE, L0 "linear_attn.conv1d.weight", 0, 2, { 48, 4 },
      "[48, 4], expected [48, 1, 4]" },
    { "conv1d of another width", RESHAPE, L0 "linear_attn.conv1d.weight", 0, 3, { 48, 1, 3 },
      "[48, 1, 3], expected [48, 1, 4]" },
    { "mixer of the wrong kind", RENAME, L1 "self_attn.o_proj.weight", 0, 0, { 0 },
      L1 "self_attn.o_proj.weight'" },
    { "query without its gate", RESHAPE, L1 "self_attn.q_proj.weight", 0, 2, { 64, 64 },
      "[64, 64], expected [128, 64]" },
    { "too few router rows", RESHAPE, L1 "mlp.gate.weight", 0, 2, { 2, 64 },
      "[2, 64], expected [3, 64]" },
    { "router packed", PACK, L1 "mlp.gate", 0, 0, { 0 }, NULL },
    { "delta net packed", PACK, L0 "linear_attn.in_proj_a", 0, 0, { 0 }, NULL },
    { "an expert's projection packed", PACK, L1 "mlp.experts.1.up_proj", 0, 0, { 0 }, NULL },
    { "an expert absent", REMOVE, L1 "mlp.experts.2.down_proj.weight", 0, 0, { 0 },
      "missing tensor '" L1 "mlp.experts.2.down_proj.weight' (or '.weight_packed', or '.qweight',"
      " or '" L1 "mlp.experts.down_proj')" },
    { "an expert of another size", RESHAPE, L1 "mlp.experts.2.down_proj.weight", 0, 2, { 64, 64 },
      "[64, 64], expected [64, 32]" },
    { "fused experts absent", REMOVE, L0 "mlp.experts.gate_up_proj", 0, 0, { 0 },
      L0 "mlp.experts.0.gate_proj.weight'" },
    { "fused experts without up", RESHAPE, L0 "mlp.experts.gate_up_proj", 0, 3, { 3, 32, 64 },
      "[3, 32, 64], expected [3, 64, 64]" },
    { "fused experts, one too many", RESHAPE, L0 "mlp.experts.down_proj", 0, 3, { 4, 64, 32 },
      "[4, 64, 32], expected [3, 64, 32]" },
    { "fused experts in U8", RETYPE, L0 "mlp.experts.down_proj", DTYPE_U8, 0, { 0 },
      "has dtype U8" },
    { "fused and split", ADD, L0 "mlp.experts.1.down_proj.weight", DTYPE_BF16, 2, { 64, 32 },
      "'" L0 "mlp.experts.1.down_proj.weight' and '" L0 "mlp.experts.down_proj' are both there" },
    { "fused and packed", ADD, L0 "mlp.experts.1.up_proj.weight_packed", DTYPE_U8, 2, { 32, 32 },
      "mlp.experts.gate_up_proj' are both there" },
    { "plain and packed", ADD, L0 "mlp.gate.weight_packed", DTYPE_U8, 2, { 3, 32 },
      "'" L0 "mlp.gate.weight' and '" L0 "mlp.gate.weight_packed' are both there" },
    { "plain and a scale", ADD, L0 "mlp.gate.weight_scale", DTYPE_U8, 2, { 3, 2 },
      "'" L0 "mlp.gate.weight_scale' is beside" },
    { "a bias", ADD, L1 "self_attn.q_proj.bias", DTYPE_BF16, 1, { 128 },
      "'" L1 "self_attn.q_proj.bias' is not part" },
    { "a bias of the head", ADD, "lm_head.bias", DTYPE_BF16, 1, { 10 },
      "'lm_head.bias' is not part" },
    { "a bias of the image encoder", ADD, "model.visual.proj.bias", DTYPE_BF16, 1, { 10 }, NULL },
    { "a global scale", ADD, L0 "mlp.gate.weight_global_scale", DTYPE_F32, 1, { 1 },
      "weight_global_scale' is beside" },
    { "a description of the shape", ADD, L0 "mlp.gate.weight_shape", DTYPE_I64, 1, { 2 }, NULL },
};

static void change(struct fake *f, size_t i)
{
    const char *tensor = cases[i].tensor;
    if (cases[i].action == ADD)
        fake_add(f, tensor, cases[i].dtype, cases[i].ndim, cases[i].shape[0], cases[i].shape[1],
                 cases[i].shape[2]);
    else if (cases[i].action == REMOVE)
        fake_remove(f, tensor);
    else if (cases[i].action == PACK)
        fake_pack(f, tensor);
    else if (cases[i].action == RENAME)
        strcat(f->names[fake_find(f, tensor)], ".weight");
    else if (cases[i].action == RETYPE)
        f->entries[fake_find(f, tensor)].dtype = cases[i].dtype;
    else {
        struct safetensors_entry *e = &f->entries[fake_find(f, tensor)];
        e->ndim = cases[i].ndim;
        memcpy(e->shape, cases[i].shape, sizeof cases[i].shape);
    }
}

static void expect(const char *name, const struct fake *f, const char *fragment)
{
    struct opened *o = open_fake(f);
    if (!fragment)
        check(o->ok, name, "%s", o->err.message);
    else
        check(!o->ok && strstr(o->err.message, fragment) && strstr(o->err.message, o->folder.path),
              name, "%s, expected '%s'", o->ok ? "no error" : o->err.message, fragment);
    close_fake(o);
}

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fake f = fake_moe();
        change(&f, i);
        expect(cases[i].name, &f, cases[i].fragment);
    }
}

/* Codes and scales of one module in every wrong way. */
static void test_packed(void)
{
    static const struct {
        const char *name, *suffix;
        enum dtype dtype;
        size_t ndim, a, b;              /* ndim 0: removed */
        const char *fragment;
    } packed[] = {
        { "no scale", "scale", 0, 0, 0, 0,
          "mlp.gate.weight_packed' has no '" L0 "mlp.gate.weight_scale' beside it" },
        { "no codes", "packed", 0, 0, 0, 0, "missing tensor '" L0 "mlp.gate.weight'" },
        { "codes in I8", "packed", DTYPE_I8, 2, 3, 32, "weight_packed' has dtype I8, expected U8" },
        { "codes in I32", "packed", DTYPE_I32, 2, 3, 8,
          "weight_packed' has dtype I32, expected U8" },
        { "scales in F16", "scale", DTYPE_F16, 2, 3, 1,
          "weight_scale' has dtype F16, expected U8" },
        { "scales in F8_E8M0", "scale", DTYPE_F8_E8M0, 2, 3, 2, "has dtype F8_E8M0, expected U8" },
        { "scales for blocks of 16", "scale", DTYPE_U8, 2, 3, 4, "[3, 4], expected [3, 2]" },
        { "one scale too few", "scale", DTYPE_U8, 2, 3, 1, "[3, 1], expected [3, 2]" },
        { "codes as one row", "packed", DTYPE_U8, 1, 96, 0, "[96], expected [3, 32]" },
        { "codes a byte each", "packed", DTYPE_U8, 2, 3, 64, "[3, 64], expected [3, 32]" },
        { "right", "packed", DTYPE_U8, 2, 3, 32, NULL },
    };
    for (size_t i = 0; i < sizeof packed / sizeof packed[0]; i++) {
        struct fake f = fake_moe();
        char name[FAKE_NAME];
        fake_pack(&f, L0 "mlp.gate");
        snprintf(name, sizeof name, L0 "mlp.gate.weight_%s", packed[i].suffix);
        fake_remove(&f, name);
        if (packed[i].ndim)
            fake_add(&f, name, packed[i].dtype, packed[i].ndim, packed[i].a, packed[i].b, 0);
        expect(packed[i].name, &f, packed[i].fragment);
    }
    struct fake f = fake_dense();
    f.config = "{\"model_type\":\"qwen3_5_text\"," FAKE_SETTINGS ",\"intermediate_size\":40}";
    fake_remove(&f, "model.layers.0.mlp.down_proj.weight");
    f.entries[fake_find(&f, "model.layers.0.mlp.gate_proj.weight")].shape[0] = 40;
    f.entries[fake_find(&f, "model.layers.0.mlp.up_proj.weight")].shape[0] = 40;
    fake_add(&f, "model.layers.0.mlp.down_proj.weight_packed", DTYPE_U8, 2, 64, 20, 0);
    fake_add(&f, "model.layers.0.mlp.down_proj.weight_scale", DTYPE_U8, 2, 64, 2, 0);
    fake_add(&f, "lm_head.weight", DTYPE_BF16, 2, 10, 64, 0);
    expect("columns that are not whole blocks", &f, "has 40 columns, MXFP4 needs a multiple of 32");
}

/* ---- views ----------------------------------------------------------------------- */

static bool views(const struct opened *o, const struct matrix *m, const char *tensor,
                  size_t offset, size_t rows, size_t cols)
{
    const struct tensor *t = checkpoint_find(&o->ck, tensor);
    return t && m->data == t->data + offset && m->dtype == t->dtype && !m->scale && m->rows == rows
        && m->cols == cols;
}

static void test_moe_views(void)
{
    struct fake f = fake_moe();
    fake_pack(&f, L1 "mlp.experts.1.up_proj");
    struct opened *o = open_fake(&f);
    if (!check(o->ok, "a mixture binds", "%s", o->err.message)) {
        close_fake(o);
        return;
    }
    const struct layer_weights *l = o->w.layers;
    check(views(o, &o->w.embed_tokens, FAKE_PREFIX "embed_tokens.weight", 0, 10, 64)
          && views(o, &o->w.lm_head, "lm_head.weight", 0, 10, 64)
          && views(o, &o->w.norm, FAKE_PREFIX "norm.weight", 0, 1, 64),
          "embedding, norm, head", "differ");
    check(views(o, &l[0].delta_net.conv1d, L0 "linear_attn.conv1d.weight", 0, 48, 4)
          && views(o, &l[0].delta_net.A_log, L0 "linear_attn.A_log", 0, 1, 2)
          && views(o, &l[0].delta_net.norm, L0 "linear_attn.norm.weight", 0, 1, 16)
          && views(o, &l[0].delta_net.out_proj, L0 "linear_attn.out_proj.weight", 0, 64, 32),
          "delta net", "differs");
    check(views(o, &l[1].attention.q_proj, L1 "self_attn.q_proj.weight", 0, 128, 64)
          && views(o, &l[1].attention.k_norm, L1 "self_attn.k_norm.weight", 0, 1, 32),
          "attention", "differs");
    check(!l[0].attention.q_proj.data && !l[1].delta_net.A_log.data, "no mixer twice", "set");
    bool fused = true;
    for (size_t e = 0; e < 3; e++) {
        const char *gate_up = L0 "mlp.experts.gate_up_proj", *down = L0 "mlp.experts.down_proj";
        size_t slab = e * 64 * 64 * 2;
        fused &= views(o, &l[0].experts[e].gate, gate_up, slab, 32, 64)
              && views(o, &l[0].experts[e].up, gate_up, slab + 32 * 64 * 2, 32, 64)
              && views(o, &l[0].experts[e].down, down, e * 64 * 32 * 4, 64, 32);
    }
    check(fused, "fused experts: slab by slab, gate rows first", "differ");
    const struct matrix *packed = &l[1].experts[1].up;
    check(packed->dtype == DTYPE_MXFP4 && packed->rows == 32 && packed->cols == 64
          && packed->data == checkpoint_find(&o->ck, UP1 ".weight_packed")->data
          && packed->scale == checkpoint_find(&o->ck, UP1 ".weight_scale")->data,
          "one packed among split experts", "differs");
    check(views(o, &l[1].experts[2].up, L1 "mlp.experts.2.up_proj.weight", 0, 32, 64)
          && views(o, &l[1].shared_expert_gate, L1 "mlp.shared_expert_gate.weight", 0, 1, 64)
          && views(o, &l[1].router, L1 "mlp.gate.weight", 0, 3, 64),
          "split experts, router, gate", "differ");
    check(o->w.quantized_bytes == 32 * 32 + 32 * 2, "quantized bytes", "%zu", o->w.quantized_bytes);
    check(o->w.n_tensors == o->ck.n_tensors - 2, "all tensors but visual and mtp", "%zu of %zu",
          o->w.n_tensors, o->ck.n_tensors);
    close_fake(o);
}

static void test_dense_views(void)
{
    struct fake f = fake_dense();
    struct opened *o = open_fake(&f);
    check(o->ok && o->w.lm_head.data == o->w.embed_tokens.data && o->w.lm_head.rows == 10
          && !o->w.layers[0].experts
          && views(o, &o->w.layers[1].mlp.down, "model.layers.1.mlp.down_proj.weight", 0, 64, 96),
          "dense, text-only, tied", "%s", o->err.message);
    size_t untied = o->w.parameters;
    close_fake(o);
    fake_add(&f, "lm_head.weight", DTYPE_F32, 2, 10, 64, 0);
    o = open_fake(&f);
    check(o->ok && views(o, &o->w.lm_head, "lm_head.weight", 0, 10, 64)
          && o->w.parameters == untied + 640,
          "a head that is there is used, tied or not", "%s", o->err.message);
    close_fake(o);
}

/* ---- counting, visiting, digest ------------------------------------------------------ */

struct visits {
    size_t n, stop_at;
};

static bool visit_place(void *user, const struct model_weight *p)
{
    struct visits *v = user;
    return p->module && p->matrix->data && ++v->n != v->stop_at;
}

static void test_visits(void)
{
    struct fake f = fake_moe();
    struct opened *o = open_fake(&f);
    struct visits v;
    bool all = o->ok;
    v = (struct visits){ 0 };
    for (size_t i = 0; i <= 2; i++)
        all &= weights_visit_layer(&o->ck, &o->w, i, visit_place, &v);
    check(all && v.n == 3 + 2 * 2 + 9 + 6 + 2 * 5 + 2 * 9, "each place once", "%zu", v.n);
    v = (struct visits){ .stop_at = 20 };
    check(!weights_visit_layer(&o->ck, &o->w, 0, visit_place, &v) && v.n == 20,
          "until told to stop", "%zu", v.n);
    close_fake(o);
    f = fake_dense();
    o = open_fake(&f);
    v = (struct visits){ 0 };
    check(weights_visit_layer(&o->ck, &o->w, 2, visit_place, &v) && v.n == 2,
          "a tied head is the embedding", "%zu", v.n);
    close_fake(o);
}

/* ---- the MTP layer --------------------------------------------------------------------- */

#define M0 "mtp.layers.0."

/* A layer of fake_moe: a mixture of three experts, split, of which one projection is packed. */
static void add_mtp(struct fake *f)
{
    static const struct {
        const char *name;
        size_t ndim, a, b;
    } list[] = {
        { "mtp.fc.weight", 2, 64, 128 }, { "mtp.pre_fc_norm_embedding.weight", 1, 64, 0 },
        { "mtp.pre_fc_norm_hidden.weight", 1, 64, 0 }, { M0 "input_layernorm.weight", 1, 64, 0 },
        { M0 "post_attention_layernorm.weight", 1, 64, 0 },
        { M0 "self_attn.q_proj.weight", 2, 128, 64 }, { M0 "self_attn.k_proj.weight", 2, 32, 64 },
        { M0 "self_attn.v_proj.weight", 2, 32, 64 }, { M0 "self_attn.o_proj.weight", 2, 64, 64 },
        { M0 "self_attn.q_norm.weight", 1, 32, 0 }, { M0 "self_attn.k_norm.weight", 1, 32, 0 },
        { M0 "mlp.gate.weight", 2, 3, 64 }, { M0 "mlp.shared_expert_gate.weight", 2, 1, 64 },
        { M0 "mlp.shared_expert.gate_proj.weight", 2, 64, 64 },
        { M0 "mlp.shared_expert.up_proj.weight", 2, 64, 64 },
        { M0 "mlp.shared_expert.down_proj.weight", 2, 64, 64 },
    };
    static const char *const names[] = { "gate_proj", "up_proj", "down_proj" };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        fake_add(f, list[i].name, DTYPE_BF16, list[i].ndim, list[i].a, list[i].b, 0);
    for (size_t i = 0; i < 9; i++) {
        char name[FAKE_NAME];
        snprintf(name, sizeof name, M0 "mlp.experts.%zu.%s.weight", i / 3, names[i % 3]);
        fake_add(f, name, DTYPE_BF16, 2, i % 3 == 2 ? 64 : 32, i % 3 == 2 ? 32 : 64, 0);
    }
    fake_pack(f, M0 "mlp.experts.1.up_proj");
}

static const struct {
    const char *name;
    enum action action;         /* of REMOVE, ADD, RESHAPE, PACK */
    const char *tensor;
    size_t ndim, shape[3];
    const char *fragment;       /* NULL: binds */
} mtp_cases[] = {               /* one change to fake_moe with its layer */
    { "MTP unchanged", ADD, "x", 1, { 1 }, NULL },
    { "MTP projection packed", PACK, "mtp.fc", 0, { 0 }, NULL },
    { "an MTP projection absent", REMOVE, "mtp.fc.weight", 0, { 0 },
      "missing tensor 'mtp.fc.weight' (or '.weight_packed', or '.qweight')" },
    { "an MTP norm absent", REMOVE, "mtp.pre_fc_norm_hidden.weight", 0, { 0 },
      "missing tensor 'mtp.pre_fc_norm_hidden.weight'" },
    { "an MTP expert absent", REMOVE, M0 "mlp.experts.2.down_proj.weight", 0, { 0 },
      "missing tensor '" M0 "mlp.experts.2.down_proj.weight'" },
    { "an MTP projection of one hidden size", RESHAPE, "mtp.fc.weight", 2, { 64, 64 },
      "'mtp.fc.weight' has shape [64, 64], expected [64, 128]" },
    { "a bias", ADD, "mtp.fc.bias", 1, { 64 }, "'mtp.fc.bias' is not part of this model" },
    { "a bias in the layer", ADD, M0 "self_attn.o_proj.bias", 1, { 64 }, "o_proj.bias' is not" },
    { "a scale without codes", ADD, M0 "mlp.gate.weight_scale", 2, { 3, 2 }, "is beside" },
};

static void test_mtp(void)
{
    for (size_t i = 0; i < sizeof mtp_cases / sizeof *mtp_cases; i++) {
        struct fake f = fake_moe();
        const size_t *shape = mtp_cases[i].shape;
        add_mtp(&f);
        if (mtp_cases[i].action == PACK)
            fake_pack(&f, mtp_cases[i].tensor);
        else if (mtp_cases[i].action != ADD)
            fake_remove(&f, mtp_cases[i].tensor);
        if (mtp_cases[i].action == ADD || mtp_cases[i].action == RESHAPE)
            fake_add(&f, mtp_cases[i].tensor, DTYPE_BF16, mtp_cases[i].ndim, shape[0], shape[1],
                     shape[2]);
        struct opened *o = open_fake(&f);
        struct mtp_weights m = { 0 };
        bool binds = o->ok && weights_bind_mtp(&m, &o->ck, &o->err);
        const char *fragment = mtp_cases[i].fragment;
        check(o->ok && (fragment ? !binds && strstr(o->err.message, fragment) != NULL : binds),
              mtp_cases[i].name, "%s", o->err.message);
        weights_free_mtp(&m);
        close_fake(o);
    }
}

static void test_mtp_views(void)
{
    struct fake f = fake_moe();
    add_mtp(&f);
    struct opened *o = open_fake(&f);
    struct mtp_weights m = { 0 };
    struct visits v = { 0 };
    size_t tensors = o->w.n_tensors;
    bool ok = o->ok && weights_bind_mtp(&m, &o->ck, &o->err);
    check(ok && views(o, &m.fc, "mtp.fc.weight", 0, 64, 128)
          && views(o, &m.norm, "mtp.norm.weight", 0, 1, 64)
          && views(o, &m.layer.attention.k_norm, M0 "self_attn.k_norm.weight", 0, 1, 32)
          && views(o, &m.layer.experts[2].down, M0 "mlp.experts.2.down_proj.weight", 0, 64, 32)
          && m.layer.experts[1].up.dtype == DTYPE_MXFP4,
          "the MTP layer is bound to its views", "%s", o->err.message);
    check(ok && weights_visit_mtp(&o->ck, &m, visit_place, &v) && v.n == 4 + 2 + 6 + 5 + 9,
          "each place of it once", "%zu", v.n);
    check(ok && o->w.n_tensors == tensors && weights_check_mtp(&o->ck, &m, &o->err),
          "the text model stays as it was", "%s", o->err.message);
    if (ok) {
        const uint8_t *scale = m.layer.experts[1].up.scale;
        uint8_t mine[64];
        memcpy(mine, scale, sizeof mine);
        mine[63] = 255;
        m.layer.experts[1].up.scale = mine;
        check(!weights_check_mtp(&o->ck, &m, &o->err)
              && strstr(o->err.message, M0 "mlp.experts.1.up_proj.weight_scale"),
              "a scale of it that is NaN is refused", "%s", o->err.message);
    }
    weights_free_mtp(&m);
    close_fake(o);
    f = fake_dense();
    o = open_fake(&f);
    check(!weights_bind_mtp(&m, &o->ck, &o->err)
          && strstr(o->err.message, "has no MTP layer (no tensor 'mtp.fc.weight')"),
          "a checkpoint without the layer", "%s", o->err.message);
    weights_free_mtp(&m);
    close_fake(o);
}

static struct digest digest(const struct opened *o, int n_threads)
{
    struct digest d = { { 0 } };
    struct error err = { 0 };
    bool ok = o->ok && weights_digest(&d, &o->ck, &o->w, n_threads, NULL, &err);
    check(ok, "digest", "%s %s", o->err.message, err.message);
    return d;
}

static bool same(struct digest a, struct digest b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

struct reports {
    size_t n, stop_at;
    double done, total;
};

static bool report(void *user, const char *stage, double done, double total, const char *unit)
{
    struct reports *r = user;
    if (strcmp(stage, "digest") != 0 || strcmp(unit, "bytes") != 0)
        return false;
    r->done = done;
    r->total = total;
    return ++r->n != r->stop_at;
}

static void poke(const struct folder *f, const char *name, size_t offset, uint8_t byte)
{
    FILE *file = fopen(folder_path(f, name), "r+b");
    if (!file || fseek(file, (long)offset, SEEK_SET) != 0 || fputc(byte, file) == EOF
        || fclose(file) != 0)
        perror(name);
}

static void test_digest(void)
{
    struct fake f = fake_moe();
    struct opened *o = open_fake(&f);
    struct digest d = digest(o, 1);
    check(same(d, digest(o, 3)), "threads do not change the digest", "they do");
    struct reports r = { 0 };
    struct progress p = { .report = report, .user = &r };
    struct digest again;
    bool ok = weights_digest(&again, &o->ck, &o->w, 2, &p, &o->err);
    check(ok && same(d, again) && r.done == (double)o->w.bytes && r.total == r.done
          && r.n == o->w.n_tensors,
          "progress ends with all bytes", "%g of %g", r.done, r.total);
    r = (struct reports){ .stop_at = 5 };
    check(!weights_digest(&again, &o->ck, &o->w, 2, &p, &o->err) && o->err.interrupted,
          "interrupted", "%s",
          o->err.message);

    /* The same tensors in two files, in another order. */
    struct folder folder = folder_make();
    folder_write_text(&folder, "config.json", f.config);
    fake_write_part(&f, &folder, "p.safetensors", 20, f.n - 20);
    fake_write_part(&f, &folder, "q.safetensors", 0, 20);
    struct opened *split = open_folder(&folder);
    check(same(d, digest(split, 2)), "nor does the spread over files", "it does");
    close_fake(split);

    const struct tensor *t = checkpoint_find(&o->ck, L1 "mlp.experts.2.up_proj.weight");
    size_t at = (size_t)(t->data - o->ck.files[0].map.data);
    poke(&o->folder, "model.safetensors", at + 5, (uint8_t)~t->data[5]);
    check(!same(d, digest(o, 1)), "one byte changes it", "it does not");
    close_fake(o);

    f.config = FAKE_MOE ",\"x\":1}";
    o = open_fake(&f);
    check(!same(d, digest(o, 1)), "so does the config", "it does not");
    close_fake(o);
}

static struct digest of_tensor(const struct opened *o, const char *name)
{
    const struct tensor *t = checkpoint_find(&o->ck, name);
    struct digest d = { { 0 } };
    if (t)
        digest_of(&d, t->data, t->n_bytes, NULL);
    return d;
}

static void test_head_digest(void)
{
    struct digest head, whole;
    struct fake f = fake_moe();
    struct opened *o = open_fake(&f);
    struct reports r = { 0 };
    struct progress p = { .report = report, .user = &r };
    bool ok = weights_head_digest(&head, &o->ck, &o->w, &p, &o->err);
    check(ok && same(head, of_tensor(o, "lm_head.weight")) && r.n == 1 && r.done == 10 * 64 * 2
              && r.total == r.done,
          "the head's digest is that of its bytes, and no more is read", "%g of %g", r.done,
          r.total);
    struct weights_hash *h = weights_hash_open(&o->ck, &o->w, &o->err);
    check(h && !weights_hash_head(&head, h, &o->err) && strstr(o->err.message, "lm_head.weight"),
          "it needs all of the head", "%s", o->err.message);
    ok = h && weights_hash_rest(h, 2, NULL, &o->err) && weights_hash_head(&whole, h, &o->err);
    check(ok && same(whole, of_tensor(o, "lm_head.weight")), "it comes with the checkpoint's", "%s",
          o->err.message);
    weights_hash_close(h);
    close_fake(o);

    f = fake_dense();
    o = open_fake(&f);
    ok = weights_head_digest(&head, &o->ck, &o->w, NULL, &o->err);
    check(ok && same(head, of_tensor(o, "model.embed_tokens.weight")),
          "a tied head's is the embedding's", "%s", o->err.message);
    close_fake(o);

    f = fake_moe();
    fake_pack(&f, "lm_head");
    o = open_fake(&f);
    const struct digest both[] = { of_tensor(o, "lm_head.weight_packed"),
                                   of_tensor(o, "lm_head.weight_scale") };
    ok = digest_of(&whole, both, sizeof both, NULL)
      && weights_head_digest(&head, &o->ck, &o->w, NULL, &o->err);
    check(ok && same(head, whole), "a packed head's is of codes and scales", "%s", o->err.message);
    close_fake(o);
}

static void test_scales(void)
{
    struct fake f = fake_moe();
    fake_pack(&f, L1 "mlp.experts.1.up_proj");
    fake_pack(&f, "lm_head");
    struct opened *o = open_fake(&f);
    bool clean = o->ok;
    for (size_t i = 0; i <= 2; i++)
        clean = clean && weights_check_scales(&o->ck, &o->w, i, &o->err);
    check(clean, "good scales", "%s", o->err.message);
    const uint8_t *start = o->ck.files[0].map.data;
    poke(&o->folder, "model.safetensors", (size_t)(o->w.layers[1].experts[1].up.scale - start) + 7,
         255);
    check(weights_check_scales(&o->ck, &o->w, 0, &o->err)
          && weights_check_scales(&o->ck, &o->w, 2, &o->err),
          "other layers do not mind", "%s", o->err.message);
    check(weights_check_scales(&o->ck, &o->w, 1, &o->err)
          && weights_check_expert(&o->ck, &o->w, 1, 0, &o->err)
          && !weights_check_expert(&o->ck, &o->w, 1, 1, &o->err)
          && strstr(o->err.message, "/model.safetensors: '" UP1 ".weight_scale' has scale byte"
                    " 255, which is NaN, at [3, 1]"), "scale byte 255", "%s", o->err.message);
    poke(&o->folder, "model.safetensors", (size_t)(o->w.lm_head.scale - start), 255);
    check(!weights_check_scales(&o->ck, &o->w, 2, &o->err)
          && strstr(o->err.message, "'lm_head.weight_scale'"),
          "in the head", "%s", o->err.message);
    close_fake(o);
}

/* ---- the demo checkpoints -------------------------------------------------------------- */

static void test_real(const char *demo, const char *shared, const char *name, size_t bytes,
                      size_t quantized)
{
    const char *path = file_exists(demo) ? demo : shared;
    struct checkpoint ck;
    struct weights w = { 0 };
    struct error err = { 0 };
    if (!file_exists(path)) {
        check_skip(name, "no demo checkpoint");
        return;
    }
    bool ok = checkpoint_open(&ck, path, &err) && weights_bind(&w, &ck, &err);
    check(ok && w.parameters == 5500576 && w.bytes == bytes && w.quantized_bytes == quantized, name,
          "%s: %zu parameters, %zu bytes, %zu quantized", err.message, w.parameters,
          w.bytes, w.quantized_bytes);
    weights_free(&w);
    checkpoint_close(&ck);
}

int main(void)
{
    test_cases();
    test_packed();
    test_moe_views();
    test_dense_views();
    test_visits();
    test_mtp();
    test_mtp_views();
    test_digest();
    test_head_digest();
    test_scales();
    test_real("data/demo/bf16", "../shared/checkpoints/tiny-bf16", "the demo in BF16", 11001248, 0);
    test_real("data/demo/mxfp4", "../shared/checkpoints/tiny-mxfp4", "the demo in MXFP4", 6380960,
              1671168);
    return check_done();
}
