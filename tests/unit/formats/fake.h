/* fake.h - a small checkpoint by description: its tensors can be renamed, retyped, reshaped,
 * removed and added before it is written.
 *
 * Sizes: D 64, V 10, two layers (linear, full), H 2, KV 1, d 32, HK 1, HV 2, dk 8, dv 16, K 4,
 * and E 3 (top 2), I 32, shared 64, or a dense MLP of 96. */
#ifndef SURPRISAL_TESTS_FORMATS_FAKE_H
#define SURPRISAL_TESTS_FORMATS_FAKE_H

#include "folder.h"
#include "formats/safetensors.h"
#include "formats/weights.h"

#define FAKE_TENSORS 128
#define FAKE_NAME 96

struct fake {
    struct safetensors_entry entries[FAKE_TENSORS];
    char names[FAKE_TENSORS][FAKE_NAME];
    size_t n;
    const char *config;
};

#define FAKE_SETTINGS \
    "\"hidden_size\":64,\"num_hidden_layers\":2,\"vocab_size\":10,\"rms_norm_eps\":1e-6," \
    "\"layer_types\":[\"linear_attention\",\"full_attention\"],\"num_attention_heads\":2," \
    "\"num_key_value_heads\":1,\"head_dim\":32,\"linear_num_key_heads\":1," \
    "\"linear_num_value_heads\":2,\"linear_key_head_dim\":8,\"linear_value_head_dim\":16," \
    "\"linear_conv_kernel_dim\":4"
#define FAKE_EXPERTS \
    ",\"num_experts\":3,\"num_experts_per_tok\":2,\"moe_intermediate_size\":32," \
    "\"shared_expert_intermediate_size\":64"
#define FAKE_QUANTIZATION(targets, ignore) \
    ",\"quantization_config\":{\"quant_method\":\"compressed-tensors\"," \
    "\"format\":\"mxfp4-pack-quantized\"," \
    "\"config_groups\":{\"group_0\":{\"targets\":" targets ",\"weights\":{" \
    "\"num_bits\":4,\"type\":\"float\",\"strategy\":\"group\",\"group_size\":32," \
    "\"symmetric\":true}}},\"ignore\":" ignore "}"
#define FAKE_MOE "{\"model_type\":\"qwen3_5_moe\",\"text_config\":{" FAKE_SETTINGS FAKE_EXPERTS "}"
#define FAKE_DENSE \
    "{\"model_type\":\"qwen3_5_text\"," FAKE_SETTINGS ",\"intermediate_size\":96," \
    "\"tie_word_embeddings\":true"

__attribute__((unused))
static size_t fake_find(const struct fake *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++)
        if (strcmp(f->names[i], name) == 0)
            return i;
    fprintf(stderr, "fake checkpoint: no tensor %s\n", name);
    exit(1);
}

__attribute__((unused))
static void fake_add(struct fake *f, const char *name, enum dtype dtype, size_t ndim, size_t a,
                     size_t b, size_t c)
{
    if (f->n == FAKE_TENSORS || strlen(name) >= FAKE_NAME) {
        fprintf(stderr, "fake checkpoint: no room for %s\n", name);
        exit(1);
    }
    snprintf(f->names[f->n], FAKE_NAME, "%s", name);
    f->entries[f->n++] = (struct safetensors_entry){ NULL, dtype, ndim, { a, b, c } };
}

__attribute__((unused))
static void fake_remove(struct fake *f, const char *name)
{
    size_t i = fake_find(f, name);
    f->n--;
    f->entries[i] = f->entries[f->n];
    memmove(f->names[i], f->names[f->n], FAKE_NAME);
}

/* X.weight to X.weight_packed and X.weight_scale. */
__attribute__((unused))
static void fake_pack(struct fake *f, const char *module)
{
    char name[FAKE_NAME + 16];
    snprintf(name, sizeof name, "%s.weight", module);
    const struct safetensors_entry e = f->entries[fake_find(f, name)];
    fake_remove(f, name);
    snprintf(name, sizeof name, "%s.weight_packed", module);
    fake_add(f, name, DTYPE_U8, 2, e.shape[0], e.shape[1] / 2, 0);
    snprintf(name, sizeof name, "%s.weight_scale", module);
    fake_add(f, name, DTYPE_U8, 2, e.shape[0], e.shape[1] / 32, 0);
}

__attribute__((unused))
static void fake_mixer(struct fake *f, const char *prefix)
{
    static const struct {
        const char *name;
        enum dtype dtype;
        size_t ndim, a, b, c;
    } list[] = {
        { "embed_tokens.weight", DTYPE_BF16, 2, 10, 64, 0 },
        { "norm.weight", DTYPE_BF16, 1, 64, 0, 0 },
        { "layers.0.input_layernorm.weight", DTYPE_BF16, 1, 64, 0, 0 },
        { "layers.1.input_layernorm.weight", DTYPE_BF16, 1, 64, 0, 0 },
        { "layers.0.post_attention_layernorm.weight", DTYPE_BF16, 1, 64, 0, 0 },
        { "layers.1.post_attention_layernorm.weight", DTYPE_BF16, 1, 64, 0, 0 },
        { "layers.0.linear_attn.in_proj_qkv.weight", DTYPE_BF16, 2, 48, 64, 0 },
        { "layers.0.linear_attn.in_proj_z.weight", DTYPE_BF16, 2, 32, 64, 0 },
        { "layers.0.linear_attn.in_proj_a.weight", DTYPE_BF16, 2, 2, 64, 0 },
        { "layers.0.linear_attn.in_proj_b.weight", DTYPE_BF16, 2, 2, 64, 0 },
        { "layers.0.linear_attn.conv1d.weight", DTYPE_BF16, 3, 48, 1, 4 },
        { "layers.0.linear_attn.A_log", DTYPE_F32, 1, 2, 0, 0 },
        { "layers.0.linear_attn.dt_bias", DTYPE_BF16, 1, 2, 0, 0 },
        { "layers.0.linear_attn.norm.weight", DTYPE_F32, 1, 16, 0, 0 },
        { "layers.0.linear_attn.out_proj.weight", DTYPE_F16, 2, 64, 32, 0 },
        { "layers.1.self_attn.q_proj.weight", DTYPE_BF16, 2, 128, 64, 0 },
        { "layers.1.self_attn.k_proj.weight", DTYPE_BF16, 2, 32, 64, 0 },
        { "layers.1.self_attn.v_proj.weight", DTYPE_BF16, 2, 32, 64, 0 },
        { "layers.1.self_attn.o_proj.weight", DTYPE_F32, 2, 64, 64, 0 },
        { "layers.1.self_attn.q_norm.weight", DTYPE_BF16, 1, 32, 0, 0 },
        { "layers.1.self_attn.k_norm.weight", DTYPE_BF16, 1, 32, 0, 0 },
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        char name[FAKE_NAME];
        snprintf(name, sizeof name, "%s%s", prefix, list[i].name);
        fake_add(f, name, list[i].dtype, list[i].ndim, list[i].a, list[i].b, list[i].c);
    }
}

#define FAKE_PREFIX "model.language_model."

__attribute__((unused))
static void fake_linear(struct fake *f, size_t layer, const char *name, size_t rows, size_t cols)
{
    char full[FAKE_NAME];
    snprintf(full, sizeof full, FAKE_PREFIX "layers.%zu.mlp.%s.weight", layer, name);
    fake_add(f, full, DTYPE_BF16, 2, rows, cols, 0);
}

/* Fused experts in layer 0, split ones in layer 1. */
__attribute__((unused))
static struct fake fake_moe(void)
{
    struct fake f = { .config = FAKE_MOE "}" };
    fake_mixer(&f, FAKE_PREFIX);
    fake_add(&f, "lm_head.weight", DTYPE_BF16, 2, 10, 64, 0);
    for (size_t i = 0; i < 2; i++) {
        fake_linear(&f, i, "gate", 3, 64);
        fake_linear(&f, i, "shared_expert_gate", 1, 64);
        fake_linear(&f, i, "shared_expert.gate_proj", 64, 64);
        fake_linear(&f, i, "shared_expert.up_proj", 64, 64);
        fake_linear(&f, i, "shared_expert.down_proj", 64, 64);
    }
    fake_add(&f, FAKE_PREFIX "layers.0.mlp.experts.gate_up_proj", DTYPE_BF16, 3, 3, 64, 64);
    fake_add(&f, FAKE_PREFIX "layers.0.mlp.experts.down_proj", DTYPE_F32, 3, 3, 64, 32);
    for (size_t e = 0; e < 3; e++) {
        static const char *const names[] = { "gate_proj", "up_proj", "down_proj" };
        for (size_t i = 0; i < 3; i++) {
            char name[48];
            snprintf(name, sizeof name, "experts.%zu.%s", e, names[i]);
            fake_linear(&f, 1, name, i == 2 ? 64 : 32, i == 2 ? 32 : 64);
        }
    }
    fake_add(&f, "model.visual.pos_embed.weight", DTYPE_BF16, 2, 4, 4, 0);
    fake_add(&f, "mtp.norm.weight", DTYPE_BF16, 1, 64, 0, 0);
    return f;
}

/* Text-only, dense, tied, no head in the files. */
__attribute__((unused))
static struct fake fake_dense(void)
{
    struct fake f = { .config = FAKE_DENSE "}" };
    fake_mixer(&f, "model.");
    for (size_t i = 0; i < 6; i++) {
        static const char *const names[] = { "gate_proj", "up_proj", "down_proj" };
        char name[FAKE_NAME];
        snprintf(name, sizeof name, "model.layers.%zu.mlp.%s.weight", i / 3, names[i % 3]);
        fake_add(&f, name, DTYPE_BF16, 2, i % 3 == 2 ? 64 : 96, i % 3 == 2 ? 96 : 64, 0);
    }
    return f;
}

static void fake_fail(const struct error *err)
{
    fprintf(stderr, "fake checkpoint: %s\n", err->message);
    exit(1);
}

/* Tensors first .. first + n - 1 into a file; each byte is a function of the tensor's name and the
 * place in it, and 255 is not among them. */
__attribute__((unused))
static void fake_write_part(const struct fake *f, const struct folder *to, const char *file,
                            size_t first, size_t n)
{
    struct safetensors_entry entries[FAKE_TENSORS];
    struct safetensors_writer w;
    struct error err;
    for (size_t i = 0; i < n; i++) {
        entries[i] = f->entries[first + i];
        entries[i].name = f->names[first + i];
    }
    if (!safetensors_create(&w, folder_path(to, file), entries, n, &err))
        fake_fail(&err);
    for (size_t i = 0; i < n; i++) {
        uint8_t *bytes = malloc(w.n_bytes[i] + 1);
        unsigned hash = 1;
        for (const char *c = entries[i].name; *c; c++)
            hash = hash * 31 + (unsigned char)*c;
        for (size_t b = 0; b < w.n_bytes[i]; b++)
            bytes[b] = (uint8_t)((hash + b * 7) % 251);
        if (!safetensors_write(&w, i, 0, bytes, w.n_bytes[i], &err))
            fake_fail(&err);
        free(bytes);
    }
    if (!safetensors_commit(&w, &err))
        fake_fail(&err);
}

__attribute__((unused))
static struct folder fake_write(const struct fake *f)
{
    struct folder to = folder_make();
    folder_write_text(&to, "config.json", f->config);
    fake_write_part(f, &to, "model.safetensors", 0, f->n);
    return to;
}

/* A written checkpoint, opened and bound; ok and err say how that went. */
struct opened {
    struct folder folder;
    struct checkpoint ck;
    struct weights w;
    struct error err;
    bool ok;
};

/* Gives. */
__attribute__((unused))
static struct opened *open_folder(const struct folder *folder)
{
    struct opened *o = calloc(1, sizeof *o);
    o->folder = *folder;
    o->ok = checkpoint_open(&o->ck, o->folder.path, &o->err)
         && weights_bind(&o->w, &o->ck, &o->err);
    return o;
}

__attribute__((unused))
static struct opened *open_fake(const struct fake *f)
{
    struct folder folder = fake_write(f);
    return open_folder(&folder);
}

/* The folder is removed too. */
__attribute__((unused))
static void close_fake(struct opened *o)
{
    weights_free(&o->w);
    checkpoint_close(&o->ck);
    folder_remove(&o->folder);
    free(o);
}

#endif
