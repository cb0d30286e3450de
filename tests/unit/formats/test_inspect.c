#include "eval/score/inspect.h"

#include "fake.h"
#include "tests/check.h"

/* dtypes of a module in the inspection: "DTYPE tensors/parameters/bytes; ..." */
static const char *module_text(const cJSON *inspection, const char *name)
{
    static char text[256];
    const cJSON *module, *row;
    text[0] = '\0';
    cJSON_ArrayForEach(module, json_get(inspection, "modules")) {
        if (strcmp(json_get(module, "module")->valuestring, name) != 0)
            continue;
        cJSON_ArrayForEach(row, json_get(module, "dtypes")) {
            size_t n = strlen(text);
            snprintf(text + n, sizeof text - n, "%s%s %s/%s/%s", n ? "; " : "",
                     json_get(row, "dtype")->valuestring, json_get(row, "tensors")->valuestring,
                     json_get(row, "parameters")->valuestring, json_get(row, "bytes")->valuestring);
        }
    }
    return text;
}

static void test_modules(const cJSON *inspection)
{
    static const struct {
        const char *module, *expected;
    } modules[] = {
        { "embed_tokens", "BF16 1/640/1280" },
        { "lm_head", "BF16 1/640/1280" },
        { "self_attn projections", "F32 1/4096/16384; BF16 3/12288/24576" },
        { "linear_attn projections", "F16 1/2048/4096; BF16 4/5376/10752" },
        { "conv1d, A_log, dt_bias", "F32 1/2/8; BF16 2/194/388" },
        { "norms", "F32 1/16/64; BF16 7/384/768" },
        { "router (mlp.gate)", "BF16 1/192/384; MXFP4 2/192/102" },
        { "shared expert", "BF16 6/24576/49152" },
        { "shared_expert_gate", "BF16 2/128/256" },
        { "routed experts", "F32 1/6144/24576; BF16 9/28672/57344; MXFP4 2/2048/1088" },
        { "mlp projections", "" },
        { "visual", "BF16 1/16/32" },
        { "mtp", "BF16 1/64/128" },
        { "other", "F32 1/5/20" },
        { "stale", "" },
    };
    for (size_t i = 0; i < sizeof modules / sizeof modules[0]; i++) {
        const char *found = module_text(inspection, modules[i].module);
        check(strcmp(found, modules[i].expected) == 0, modules[i].module, "%s, expected %s", found,
              modules[i].expected);
    }
}

/* 2 x multiply-adds: layer 0: delta net 7424, layer 1: attention 16384; in both router 192, shared
 * expert 12288, its gate 64, and two experts of 6144. */
#define LAYERS_FLOP (2 * (7424 + 16384 + 2 * (192 + 12288 + 64 + 2 * 6144)))

static void test_figures(const cJSON *inspection)
{
    const cJSON *cost = json_get(inspection, "cost");
    const cJSON *lines = json_get(inspection, "contradictions");
    const cJSON *architecture = json_get(inspection, "architecture");
    check(atoi(json_get(cost, "flop_per_token")->valuestring) == LAYERS_FLOP, "work of a token",
          "%s, expected %d", json_get(cost, "flop_per_token")->valuestring, LAYERS_FLOP);
    check(atoi(json_get(cost, "head_flop_per_scored_token")->valuestring) == 2 * 640
          && atoi(json_get(cost, "residual_bytes_per_token")->valuestring) == 256
          && strcmp(json_get(cost, "bytes_per_pass")->valuestring,
                    json_get(inspection, "bytes")->valuestring) == 0, "other costs", "differ");
    check(strcmp(json_get(inspection, "quantized_bytes")->valuestring, "1190") == 0,
          "quantized bytes", "%s", json_get(inspection, "quantized_bytes")->valuestring);
    check(strcmp(json_get(architecture, "full_attention_layers")->valuestring, "1") == 0
          && strcmp(json_get(architecture, "num_experts")->valuestring, "3") == 0
          && !json_get(architecture, "intermediate_size"), "architecture", "differs");
    check(cJSON_GetArraySize(lines) == 3
          && strstr(lines->child->valuestring, "layers.1.mlp.gate: packed in the files, but")
          && strstr(lines->child->next->next->valuestring, "layers.7.self_attn.sinks (1 such)"),
          "packed without a config, and a tensor that no setting explains", "%d lines",
          cJSON_GetArraySize(lines));
}

int main(void)
{
    struct fake f = fake_moe();
    fake_pack(&f, FAKE_PREFIX "layers.1.mlp.gate");
    fake_pack(&f, FAKE_PREFIX "layers.1.mlp.experts.2.down_proj");
    fake_add(&f, FAKE_PREFIX "layers.7.self_attn.sinks", DTYPE_F32, 1, 5, 0, 0);
    struct folder folder = fake_write(&f);
    struct error err = { 0 };
    cJSON *inspection;
    if (check(inspect_checkpoint(&inspection, folder.path, &err), "inspect", "%s", err.message)) {
        test_modules(inspection);
        test_figures(inspection);
        struct buffer text = { 0 };
        bool ok = inspect_text(&text, inspection, &err);
        check(ok && strstr(text.data, "router (mlp.gate)          MXFP4          2 ")
              && strstr(text.data, "visual (not used) ")
              && strstr(text.data, "mtp (for drafts alone) "), "as text", "%s", text.data);
        buffer_free(&text);
    }
    cJSON_Delete(inspection);
    folder_write_text(&folder, "config.json", "{}");
    check(!inspect_checkpoint(&inspection, folder.path, &err) && !inspection
          && strstr(err.message, "config.json: model_type is missing"), "refusals", "%s",
          err.message);
    folder_remove(&folder);
    return check_done();
}
