/* config.json of what was quantized, or no longer is: the quantization_config and nothing else
 * changes. */
#include "convert/new_config.h"

#include "tests/check.h"
#include "tests/unit/formats/fake.h"

#define P FAKE_PREFIX
#define RULES FAKE_QUANTIZATION("[\"Linear\"]", "[\"old\"]")

static const struct {
    const char *name, *config;
    bool is_quantized;
} cases[] = {
    { "a config without quantization", FAKE_MOE "}", false },
    { "one at the top", FAKE_MOE RULES "}", true },
    { "one in text_config",
      "{\"model_type\":\"qwen3_5_moe\",\"text_config\":{" FAKE_SETTINGS FAKE_EXPERTS RULES "}}",
      true },
    { "a null is none", FAKE_MOE ",\"quantization_config\":null}", false },
    { "other members stay",
      FAKE_MOE ",\"transformers_version\":\"5.0\",\"x\":[1,2.5,{\"y\":null}]}", false },
};

/* The config with what stood of quantization taken out, by hand. */
static cJSON *expected(const char *config)
{
    cJSON *root = cJSON_Parse(config);
    cJSON_DeleteItemFromObjectCaseSensitive(root, "quantization_config");
    cJSON_DeleteItemFromObjectCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "text_config"),
                                            "quantization_config");
    return root;
}

static const char *in_one_line(const char *text)
{
    static struct error line;
    return error_clean(&line, text ? text : "(nothing)");
}

static bool has_item(const cJSON *list, const char *name, size_t n)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
        if (cJSON_IsString(item) && strlen(item->valuestring) == n
            && strncmp(item->valuestring, name, n) == 0)
            return true;
    return false;
}

/* Every module but the packed ones is in `ignore`, once. */
static bool ignores(const cJSON *rules, const struct weight_list *m, const char *const *packed,
                    size_t n_packed)
{
    const cJSON *list = json_get(rules, "ignore");
    int n_ignored = 0;
    for (size_t i = 0; i < m->n; i++) {
        const char *name = m->list[i].name;
        size_t n = strlen(name);
        bool is_packed = false;
        for (size_t j = 0; j < n_packed; j++)
            is_packed = is_packed || strcmp(name, packed[j]) == 0;
        if (is_packed || n < 7 || strcmp(name + n - 7, ".weight") != 0)
            continue;
        if (!has_item(list, name, n - 7))
            return false;
        n_ignored++;
    }
    return n_ignored == cJSON_GetArraySize(list);
}

static void check_group(const cJSON *rules)
{
    static const char expected_group[] =
        "{\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":4,\"type\":\"float\",\"strategy\":"
        "\"group\","
        "\"group_size\":32,\"symmetric\":true,\"dynamic\":false,\"scale_dtype\":\"torch.uint8\","
        "\"zp_dtype\":\"torch.uint8\"},\"input_activations\":null,\"output_activations\":null,"
        "\"format\":\"mxfp4-pack-quantized\"}";
    cJSON *expected_json = cJSON_Parse(expected_group);
    const cJSON *group = json_get(json_get(rules, "config_groups"), "group_0");
    check(cJSON_Compare(group, expected_json, true), "the group is compressed-tensors' MXFP4A16",
          "another one");
    check(strcmp(cJSON_GetStringValue(json_get(rules, "quant_method")), "compressed-tensors") == 0
              && strcmp(cJSON_GetStringValue(json_get(rules, "format")), "mxfp4-pack-quantized")
                     == 0
              && strcmp(cJSON_GetStringValue(json_get(rules, "quantization_status")), "compressed")
                     == 0,
          "and so are method, format and status", "other ones");
    cJSON_Delete(expected_json);
}

static void test_case(size_t i)
{
    static const char *const names[] = { P "layers.1.self_attn.k_proj.weight",
                                         P "layers.0.mlp.experts.1.up_proj.weight" };
    struct fake f = fake_moe();
    f.config = cases[i].config;
    struct opened *o = open_fake(&f);
    struct weight_list m;
    struct selection s;
    struct error err = { 0 };
    const char *include[] = { "k_proj", "layers.0.mlp.experts.1.up_proj" };
    const struct surprisal_quantize_options options = { .include = include, .n_include = 2 };
    bool ok = o->ok && weight_list_of_model(&m, &o->ck, &o->w, &err)
           && selection_make(&s, &m, &options, &err);
    if (!check(ok, cases[i].name, "%s %s", o->err.message, err.message))
        exit(1);
    cJSON *plain = expected(cases[i].config);
    char *plain_text = new_config_plain(&o->ck, &err),
         *text = new_config_quantized(&o->ck, &m, &s, &err);
    cJSON *found_plain = cJSON_Parse(plain_text), *found = cJSON_Parse(text);
    check(new_config_is_quantized(&o->ck) == cases[i].is_quantized, "whether it is quantized",
          "otherwise");
    check(found_plain && cJSON_Compare(found_plain, plain, true),
          "without quantization all else stays", "'%s'", in_one_line(plain_text));
    cJSON *rules = cJSON_DetachItemFromObjectCaseSensitive(found, "quantization_config");
    check(rules && cJSON_Compare(found, plain, true), "with it, too", "'%s'",
          in_one_line(text));
    check(ignores(rules, &m, names, 2),
          "every module that is not packed is ignored, by its own name", "'%s'", in_one_line(text));
    check_group(rules);
    cJSON_Delete(rules), cJSON_Delete(found), cJSON_Delete(found_plain), cJSON_Delete(plain);
    cJSON_free(plain_text);
    cJSON_free(text);
    selection_free(&s);
    weight_list_free(&m);
    close_fake(o);
}

int main(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_case(i);
    return check_done();
}
