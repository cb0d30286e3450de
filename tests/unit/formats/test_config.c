#include "formats/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/check.h"

#define PATH "somewhere/config.json"
#define MAX_LAYERS 100

static const char moe_json[] =
    "{\"model_type\":\"qwen3_5_moe\",\"text_config\":{\"model_type\":\"qwen3_5_moe_text\","
    "\"hidden_size\":128,\"num_hidden_layers\":8,\"vocab_size\":4160,\"rms_norm_eps\":1e-6,"
    "\"hidden_act\":\"silu\",\"num_attention_heads\":4,\"num_key_value_heads\":2,\"head_dim\":64,"
    "\"linear_num_key_heads\":4,\"linear_num_value_heads\":8,\"linear_key_head_dim\":32,"
    "\"linear_value_head_dim\":16,\"linear_conv_kernel_dim\":4,\"num_experts\":16,"
    "\"num_experts_per_tok\":4,\"moe_intermediate_size\":48,\"shared_expert_intermediate_size\":40,"
    "\"bos_token_id\":null,\"eos_token_id\":[4063,4064],"
    "\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":10000000,"
    "\"partial_rotary_factor\":0.25}}}";

static const char dense_json[] =
    "{\"model_type\":\"qwen3_5_text\","
    "\"hidden_size\":128,\"num_hidden_layers\":2,\"vocab_size\":4160,\"rms_norm_eps\":1e-6,"
    "\"layer_types\":[\"full_attention\",\"full_attention\"],\"intermediate_size\":300,"
    "\"num_attention_heads\":4,\"num_key_value_heads\":4,\"head_dim\":64,"
    "\"tie_word_embeddings\":true,\"rope_theta\":5000,\"partial_rotary_factor\":0.5,"
    "\"max_position_embeddings\":262144}";

/* Sets (value as JSON) or removes (NULL) the setting; `where` is "" for the top, or a member. */
static void edit(cJSON *root, const char *where, const char *key, const char *value)
{
    char path[64], *rest = path;
    snprintf(path, sizeof path, "%s", where);
    cJSON *at = root;
    for (char *part; (part = strtok_r(NULL, ".", &rest));)
        at = cJSON_GetObjectItemCaseSensitive(at, part);
    cJSON_DeleteItemFromObjectCaseSensitive(at, key);
    if (value)
        cJSON_AddItemToObject(at, key, cJSON_Parse(value));
}

static void expect(const char *name, const cJSON *root, const char *fragment)
{
    struct config c;
    struct error err = { 0 };
    bool ok = config_read(&c, root, MAX_LAYERS, PATH, &err);
    config_free(&c);
    if (!fragment)
        check(ok, name, "%s", err.message);
    else
        check(!ok && strstr(err.message, fragment)
              && strncmp(err.message, PATH ": ", strlen(PATH) + 2) == 0, name,
              "%s, expected '%s'", ok ? "no error" : err.message, fragment);
}

#define TEXT "text_config"
#define ROPE "text_config.rope_parameters"
#define ONE "\"linear_attention\""
#define SEVEN ONE "," ONE "," ONE "," ONE "," ONE "," ONE "," ONE

static const struct {
    const char *name, *where, *key, *value, *fragment;  /* fragment NULL: accepted */
} cases[] = {                           /* one change to moe_json */
    { "model_type absent", "", "model_type", NULL, "model_type is missing" },
    { "model_type null", "", "model_type", "null", "model_type is missing" },
    { "model_type of another family", "", "model_type", "\"llama\"", "model_type is \"llama\"" },
    { "model_type a number", "", "model_type", "3", "model_type is 3" },
    { "model_type text-only with text_config", "", "model_type", "\"qwen3_5_moe_text\"", NULL },
    { "inner model_type absent", TEXT, "model_type", NULL, NULL },
    { "inner model_type unknown", TEXT, "model_type", "\"qwen2\"",
      "text_config.model_type is \"qwen2\"" },
    { "inner model_type contradicts", TEXT, "model_type", "\"qwen3_5_text\"",
      "model_type is qwen3_5_moe, but text_config.model_type is qwen3_5_text" },
    { "dense by name, experts by number", "", "model_type", "\"qwen3_5\"",
      "but text_config.model_type is qwen3_5_moe_text" },
    { "text_config a list", "", "text_config", "[]", "text_config is [], expected an object" },
    { "text_config absent", "", "text_config", NULL, "num_hidden_layers is missing" },
    { "text_config empty", "", "text_config", "{}", "num_hidden_layers is missing" },

    { "hidden_act absent", TEXT, "hidden_act", NULL, NULL },
    { "hidden_act gelu", TEXT, "hidden_act", "\"gelu\"",
      "hidden_act is \"gelu\", expected \"silu\"" },
    { "hidden_act swish", TEXT, "hidden_act", "\"swish\"", "hidden_act is \"swish\"" },
    { "hidden_act of another case", TEXT, "hidden_act", "\"SiLU\"", "hidden_act" },
    { "attention_bias", TEXT, "attention_bias", "true", "attention_bias is true, expected false" },
    { "attention_bias a number", TEXT, "attention_bias", "1", "attention_bias is 1" },
    { "attention_bias off", TEXT, "attention_bias", "false", NULL },
    { "no output gate", TEXT, "attn_output_gate", "false", "attn_output_gate is false" },
    { "norm_topk_prob off", TEXT, "norm_topk_prob", "false", "norm_topk_prob" },
    { "dense layers between", TEXT, "mlp_only_layers", "[1]",
      "mlp_only_layers is [1], expected []" },
    { "no dense layers between", TEXT, "mlp_only_layers", "[]", NULL },
    { "decoder_sparse_step 2", TEXT, "decoder_sparse_step", "2", "decoder_sparse_step is 2" },
    { "decoder_sparse_step 1", TEXT, "decoder_sparse_step", "1", NULL },
    { "sliding window", TEXT, "use_sliding_window", "true", "use_sliding_window" },
    { "sliding window's size", TEXT, "sliding_window", "4096", "sliding_window is 4096" },
    { "no sliding window", TEXT, "sliding_window", "null", NULL },

    { "rope_type yarn", ROPE, "rope_type", "\"yarn\"",
      "rope_type is \"yarn\", expected \"default\"" },
    { "rope_type absent", ROPE, "rope_type", NULL, NULL },
    { "rope_type a number", ROPE, "rope_type", "1", "rope_type is 1" },
    { "type linear", ROPE, "type", "\"linear\"", "type is \"linear\"" },
    { "rope_parameters a list", TEXT, "rope_parameters", "[1]", "rope_parameters is [1]" },
    { "rope_parameters null", TEXT, "rope_parameters", "null", NULL },
    { "rope_scaling null", TEXT, "rope_scaling", "null", NULL },
    { "rope_scaling default", TEXT, "rope_scaling", "{\"type\":\"default\"}", NULL },
    { "rope_scaling dynamic", TEXT, "rope_scaling", "{\"rope_type\":\"dynamic\"}",
      "rope_type is \"dynamic\"" },
    { "rope_scaling without a type", TEXT, "rope_scaling", "{\"factor\":4}", "rope_scaling is" },
    { "rope_theta zero", ROPE, "rope_theta", "0", "rope_theta is 0" },
    { "rope_theta infinite", ROPE, "rope_theta", "1e999", "rope_theta" },
    { "rope_theta a string", ROPE, "rope_theta", "\"1e7\"", "rope_theta is \"1e7\"" },
    { "rope_theta twice, alike", TEXT, "rope_theta", "10000000", NULL },
    { "rope_theta twice, different", TEXT, "rope_theta", "10000", "rope_theta has one value in" },
    { "rotary part twice, different", TEXT, "partial_rotary_factor", "0.5",
      "partial_rotary_factor has one value in" },
    { "rotary part more than 1", ROPE, "partial_rotary_factor", "1.5",
      "partial_rotary_factor is 1.5" },
    { "rotary part 1", ROPE, "partial_rotary_factor", "1", NULL },
    { "rotary part negative", ROPE, "partial_rotary_factor", "-0.25",
      "partial_rotary_factor is -0.25" },
    { "rotary part odd", ROPE, "partial_rotary_factor", "0.265625", "17 rotary channels" },
    { "rotary part nothing", ROPE, "partial_rotary_factor", "0.001", "0 rotary channels" },
    { "rotary part absent", ROPE, "partial_rotary_factor", NULL, NULL },

    { "layer_types by hand", TEXT, "layer_types", "[" SEVEN ",\"full_attention\"]", NULL },
    { "layer_types too short", TEXT, "layer_types", "[" SEVEN "]",
      "layer_types is not a list of 8" },
    { "layer_types too long", TEXT, "layer_types", "[" SEVEN "," SEVEN "]",
      "layer_types is not a list of 8" },
    { "layer_types of another kind", TEXT, "layer_types", "[" SEVEN ",\"sliding_attention\"]",
      "layer_types is \"sliding_attention\"" },
    { "layer_types of numbers", TEXT, "layer_types", "[1,2,3,4,5,6,7,8]", "layer_types is 1" },
    { "layer_types a string", TEXT, "layer_types", "\"full_attention\"",
      "layer_types is not a list" },
    { "layer_types null", TEXT, "layer_types", "null", NULL },
    { "interval zero", TEXT, "full_attention_interval", "0", "full_attention_interval is 0" },
    { "interval negative", TEXT, "full_attention_interval", "-4", "full_attention_interval is -4" },
    { "as many layers as tensors", TEXT, "num_hidden_layers", "100", NULL },
    { "more layers than tensors", TEXT, "num_hidden_layers", "101", "only 100 tensors" },
    { "2^31 - 1 layers", TEXT, "num_hidden_layers", "2147483647", "only 100 tensors" },

    { "KV heads do not divide", TEXT, "num_key_value_heads", "3",
      "num_attention_heads is 4, not a multiple of num_key_value_heads" },
    { "linear heads do not divide", TEXT, "linear_num_key_heads", "3",
      "linear_num_value_heads is 8, not a multiple" },
    { "top-k above E", TEXT, "num_experts_per_tok", "17",
      "num_experts_per_tok is 17, more than num_experts" },
    { "top-k is E", TEXT, "num_experts_per_tok", "16", NULL },
    { "intermediate_size of an MoE", TEXT, "intermediate_size", "0", NULL },

    { "rms_norm_eps absent", TEXT, "rms_norm_eps", NULL, "rms_norm_eps is missing" },
    { "rms_norm_eps zero", TEXT, "rms_norm_eps", "0", "rms_norm_eps is 0" },
    { "rms_norm_eps a string", TEXT, "rms_norm_eps", "\"1e-6\"", "rms_norm_eps" },
    { "rms_norm_eps infinite", TEXT, "rms_norm_eps", "1e999", "rms_norm_eps" },
    { "tie_word_embeddings a number", TEXT, "tie_word_embeddings", "1",
      "tie_word_embeddings is 1" },
    { "eos negative", TEXT, "eos_token_id", "-1", "eos_token_id is -1" },
    { "eos a string", TEXT, "eos_token_id", "\"a\"", "eos_token_id" },
    { "eos list of strings", TEXT, "eos_token_id", "[\"a\"]", "eos_token_id" },
    { "positions zero", TEXT, "max_position_embeddings", "0", "max_position_embeddings is 0" },
    { "positions absent", TEXT, "max_position_embeddings", NULL, NULL },
    { "unknown settings are no matter", TEXT, "initializer_range", "0.02", NULL },
};

static void test_cases(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *root = cJSON_Parse(moe_json);
        edit(root, cases[i].where, cases[i].key, cases[i].value);
        expect(cases[i].name, root, cases[i].fragment);
        cJSON_Delete(root);
    }
}

/* Every size against every kind of nonsense; the message has the setting's name. */
static void test_sizes(void)
{
    static const char *const keys[] = {
        "hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads",
        "num_key_value_heads", "head_dim", "linear_num_key_heads", "linear_num_value_heads",
        "linear_key_head_dim", "linear_value_head_dim", "linear_conv_kernel_dim", "num_experts",
        "num_experts_per_tok", "moe_intermediate_size", "shared_expert_intermediate_size",
    };
    static const char *const values[] = { NULL, "null", "0", "-2", "1.5", "\"16\"", "true",
                                          "[16]", "{}", "1e300", "2147483648", "1099511627776",
                                          "9223372036854775808", "18446744073709551617" };
    for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++)
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            cJSON *root = cJSON_Parse(moe_json);
            edit(root, TEXT, keys[k], values[v]);
            char name[96], fragment[64];
            snprintf(name, sizeof name, "%s %s", keys[k], values[v] ? values[v] : "absent");
            snprintf(fragment, sizeof fragment, ": %s is ", keys[k]);
            expect(name, root, fragment);
            cJSON_Delete(root);
        }
}

static void test_values(void)
{
    struct config c;
    struct error err = { 0 };
    cJSON *root = cJSON_Parse(moe_json);
    bool ok = config_read(&c, root, MAX_LAYERS, PATH, &err);
    check(ok && strcmp(c.model_type, "qwen3_5_moe") == 0 && c.hidden_size == 128
          && c.num_hidden_layers == 8 && c.vocab_size == 4160 && c.num_experts == 16
          && c.num_experts_per_tok == 4 && c.moe_intermediate_size == 48 && c.intermediate_size == 0
          && c.shared_expert_intermediate_size == 40 && c.rotary_dim == 16 && c.rope_theta == 1e7
          && c.rms_norm_eps == 1e-6 && !c.tie_word_embeddings && c.max_position_embeddings == 0
          && c.linear_value_head_dim == 16 && c.linear_conv_kernel_dim == 4,
          "values of a mixture", "%s", err.message);
    check(c.bos_token_id == -1 && c.eos_token_id == 4063, "the first of a list", "%lld",
          (long long)c.eos_token_id);
    bool every_fourth = true;
    for (size_t i = 0; ok && i < 8; i++)
        every_fourth &= (c.layer_types[i] == FULL_ATTENTION) == (i % 4 == 3);
    check(every_fourth, "each fourth layer is full attention", "no");
    config_free(&c);
    edit(root, "", "tie_word_embeddings", "true");
    ok = config_read(&c, root, MAX_LAYERS, PATH, &err);
    check(ok && c.tie_word_embeddings, "tied at the top", "%s", err.message);
    config_free(&c);
    edit(root, TEXT, "tie_word_embeddings", "false");
    ok = config_read(&c, root, MAX_LAYERS, PATH, &err);
    check(ok && !c.tie_word_embeddings, "the text config's comes first", "%s", err.message);
    config_free(&c);
    cJSON_Delete(root);
}

static void test_dense(void)
{
    struct config c;
    struct error err = { 0 };
    cJSON *root = cJSON_Parse(dense_json);
    bool ok = config_read(&c, root, MAX_LAYERS, PATH, &err);
    check(ok && c.intermediate_size == 300 && c.num_experts == 0 && c.tie_word_embeddings
          && c.rope_theta == 5000 && c.rotary_dim == 32 && c.max_position_embeddings == 262144
          && c.linear_num_key_heads == 0 && c.eos_token_id == -1,
          "a dense text-only config without linear layers", "%s", err.message);
    config_free(&c);
    edit(root, "", "num_experts", "0");
    expect("no experts, said so", root, NULL);
    edit(root, "", "num_experts", "4");
    expect("experts in a dense model", root, "num_experts is 4");
    edit(root, "", "num_experts", NULL);
    edit(root, "", "linear_conv_kernel_dim", "0");
    expect("a setting that no layer uses is still checked", root, "linear_conv_kernel_dim is 0");
    edit(root, "", "linear_conv_kernel_dim", NULL);
    edit(root, "", "layer_types", "[\"full_attention\",\"linear_attention\"]");
    expect("and needed when one does", root, "linear_num_key_heads is missing");
    edit(root, "", "layer_types", NULL);
    edit(root, "", "intermediate_size", NULL);
    edit(root, "", "full_attention_interval", "1");
    expect("no intermediate_size", root, "intermediate_size is missing");
    edit(root, "", "rope_theta", NULL);
    edit(root, "", "intermediate_size", "7");
    ok = config_read(&c, root, MAX_LAYERS, PATH, &err);
    check(ok && c.rope_theta == 10000, "rope_theta by default", "%s", err.message);
    config_free(&c);
    cJSON_Delete(root);
}

static void test_documents(void)
{
    static const struct {
        const char *name, *json, *fragment;
    } documents[] = {
        { "a list", "[]", "is not a JSON object" },
        { "a number", "7", "is not a JSON object" },
        { "a setting twice at the top", "{\"model_type\":\"qwen3_5\",\"model_type\":\"qwen3_5\"}",
          "duplicate name 'model_type'" },
        { "a setting twice in text_config", "{\"text_config\":{\"a\":1,\"a\":2}}",
          "duplicate name 'a'" },
    };
    for (size_t i = 0; i < sizeof documents / sizeof documents[0]; i++) {
        cJSON *root = cJSON_Parse(documents[i].json);
        expect(documents[i].name, root, documents[i].fragment);
        cJSON_Delete(root);
    }
}

int main(void)
{
    test_cases();
    test_sizes();
    test_values();
    test_dense();
    test_documents();
    return check_done();
}
