/* A checkpoint's tensors as modules: experts one by one, codes and scales together, each with its
 * bytes. */
#include "formats/weight_list.h"

#include "tests/check.h"
#include "tests/unit/formats/fake.h"

#define P FAKE_PREFIX

static const struct listed_weight *find(const struct weight_list *m, const char *name)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->list[i].name, name) == 0)
            return &m->list[i];
    return NULL;
}

/* Its bytes begin `at` bytes into the tensor that it is stored in. */
static const struct {
    const char *name, *tensor;
    enum weight_kind kind;
    bool is_linear, is_part;
    size_t ndim, rows, cols, at, n_bytes;
    enum dtype dtype;
} cases[] = {
    { "lm_head.weight", "lm_head.weight", WEIGHT_LM_HEAD, true, false, 2, 10, 64, 0, 1280,
      DTYPE_BF16 },
    { P "embed_tokens.weight", P "embed_tokens.weight", WEIGHT_EMBED_TOKENS, false, false, 2, 10,
      64, 0, 1280, DTYPE_BF16 },
    { P "norm.weight", P "norm.weight", WEIGHT_NORM, false, false, 1, 1, 64, 0, 128, DTYPE_BF16 },
    { P "layers.0.linear_attn.conv1d.weight", P "layers.0.linear_attn.conv1d.weight",
      WEIGHT_DELTA_NET_STATE, false, false, 3, 48, 4, 0, 384, DTYPE_BF16 },
    { P "layers.0.linear_attn.out_proj.weight", P "layers.0.linear_attn.out_proj.weight",
      WEIGHT_DELTA_NET, true, false, 2, 64, 32, 0, 4096, DTYPE_F16 },
    { P "layers.0.mlp.experts.0.gate_proj.weight", P "layers.0.mlp.experts.gate_up_proj",
      WEIGHT_EXPERTS, true, true, 2, 32, 64, 0, 4096, DTYPE_BF16 },
    { P "layers.0.mlp.experts.0.up_proj.weight", P "layers.0.mlp.experts.gate_up_proj",
      WEIGHT_EXPERTS, true, true, 2, 32, 64, 4096, 4096, DTYPE_BF16 },
    { P "layers.0.mlp.experts.2.up_proj.weight", P "layers.0.mlp.experts.gate_up_proj",
      WEIGHT_EXPERTS, true, true, 2, 32, 64, 5 * 4096, 4096, DTYPE_BF16 },
    { P "layers.0.mlp.experts.2.down_proj.weight", P "layers.0.mlp.experts.down_proj",
      WEIGHT_EXPERTS, true, true, 2, 64, 32, 2 * 8192, 8192, DTYPE_F32 },
    { P "layers.1.mlp.experts.2.down_proj.weight", P "layers.1.mlp.experts.2.down_proj.weight",
      WEIGHT_EXPERTS, true, false, 2, 64, 32, 0, 4096, DTYPE_BF16 },
    { P "layers.1.self_attn.q_proj.weight", P "layers.1.self_attn.q_proj.weight_packed",
      WEIGHT_ATTENTION, true, false, 2, 128, 64, 0, 4096, DTYPE_MXFP4 },
    { "model.visual.pos_embed.weight", "model.visual.pos_embed.weight", WEIGHT_VISUAL, false, false,
      2, 4, 4, 0, 32, DTYPE_BF16 },
    { "model.visual.proj.weight", "model.visual.proj.weight", WEIGHT_VISUAL, true, false, 2, 4, 32,
      0, 256, DTYPE_BF16 },
    { "mtp.norm.weight", "mtp.norm.weight", WEIGHT_MTP, false, false, 1, 1, 64, 0, 128,
      DTYPE_BF16 },
    { "counts", "counts", WEIGHT_OTHER, false, false, 0, 1, 1, 0, 8, DTYPE_I64 },
};

static void test_list(void)
{
    struct fake f = fake_moe();
    fake_pack(&f, P "layers.1.self_attn.q_proj");
    fake_add(&f, "model.visual.proj.weight", DTYPE_BF16, 2, 4, 32, 0);
    fake_add(&f, "counts", DTYPE_I64, 0, 0, 0, 0);
    struct opened *o = open_fake(&f);
    struct weight_list m = { 0 };
    bool ok = o->ok && weight_list_of_model(&m, &o->ck, &o->w, &o->err);
    check(ok && m.n == 54, "52 modules of the fake checkpoint, and two more", "%zu, %s", m.n,
          o->err.message);
    for (size_t i = 0; ok && i < sizeof cases / sizeof *cases; i++) {
        const struct listed_weight *found = find(&m, cases[i].name);
        const struct tensor *t = checkpoint_find(&o->ck, cases[i].tensor);
        check(found && t && found->stored.parts[0] == t && found->kind == cases[i].kind
                  && found->is_linear == cases[i].is_linear
                  && found->stored.is_fused == cases[i].is_part
                  && found->stored.ndim == cases[i].ndim && found->stored.view.rows == cases[i].rows
                  && found->stored.view.cols == cases[i].cols
                  && found->stored.view.data == t->data + cases[i].at
                  && found->stored.n_bytes == cases[i].n_bytes
                  && found->stored.view.dtype == cases[i].dtype,
              cases[i].name, "found %d: kind %d linear %d part %d [%zu, %zu] %zu bytes",
              found != NULL, found ? (int)found->kind : -1, found && found->is_linear,
              found && found->stored.is_fused, found ? found->stored.view.rows : 0,
              found ? found->stored.view.cols : 0, found ? found->stored.n_bytes : 0);
    }
    const struct listed_weight *packed = ok ? find(&m, P "layers.1.self_attn.q_proj.weight") : NULL;
    const struct tensor *scale =
        ok ? checkpoint_find(&o->ck, P "layers.1.self_attn.q_proj.weight_scale") : NULL;
    check(packed && scale && packed->stored.view.scale == scale->data && !find(&m, scale->name),
          "scales belong to their codes, and are no module", "otherwise");
    weight_list_free(&m);
    close_fake(o);
}

/* Outside the text model, where weights_bind looks at nothing. */
static void test_refusals(void)
{
    static const struct {
        const char *name, *tensor;
        enum dtype dtype;
        size_t shape[3], ndim, scale[2];
        const char *message;
    } refusals[] = {
        { "codes without scales", "mtp.x.weight_packed", DTYPE_U8, { 4, 16 }, 2, { 0 },
          "'mtp.x.weight_packed' has no 'mtp.x.weight_scale' beside it" },
        { "scales for other rows", "mtp.x.weight_packed", DTYPE_U8, { 4, 16 }, 2, { 5, 1 },
          "'mtp.x.weight_scale' has shape [5, 1], expected [4, 1]" },
        { "scales for other columns", "mtp.x.weight_packed", DTYPE_U8, { 4, 32 }, 2, { 4, 1 },
          "'mtp.x.weight_scale' has shape [4, 1], expected [4, 2]" },
        { "columns that are no whole blocks", "mtp.x.weight_packed", DTYPE_U8, { 4, 8 }, 2, { 4,
          0 }, "'mtp.x.weight_packed' has 16 columns, MXFP4 needs a multiple of 32" },
        { "codes that are no bytes", "mtp.x.weight_packed", DTYPE_I8, { 4, 16 }, 2, { 4, 1 },
          "has dtype I8, expected U8" },
        { "codes of three dimensions", "mtp.x.weight_packed", DTYPE_U8, { 4, 16, 1 }, 3, { 4, 1 },
          "has shape [4, 16, 1], expected a matrix" },
        { "gate and up of unlike size", "mtp.x.experts.gate_up_proj", DTYPE_BF16, { 2, 5, 32 }, 3,
          { 0 },
          "'mtp.x.experts.gate_up_proj' has 5 rows an expert, expected gate and up of one size" },
    };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct fake f = fake_moe();
        const size_t *s = refusals[i].shape;
        fake_add(&f, refusals[i].tensor, refusals[i].dtype, refusals[i].ndim, s[0], s[1], s[2]);
        if (refusals[i].scale[0])
            fake_add(&f, "mtp.x.weight_scale", DTYPE_U8, 2, refusals[i].scale[0],
                     refusals[i].scale[1], 0);
        struct opened *o = open_fake(&f);
        struct weight_list m;
        bool ok = o->ok && weight_list_of_model(&m, &o->ck, &o->w, &o->err);
        check(o->ok && !ok && strstr(o->err.message, refusals[i].message), refusals[i].name, "'%s'",
              o->err.message);
        if (ok)
            weight_list_free(&m);
        close_fake(o);
    }
}

int main(void)
{
    test_list();
    test_refusals();
    return check_done();
}
