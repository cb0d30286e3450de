#include "formats/quantization_rules.h"

#include <string.h>

#define AT "quantization_config."

/* Where a writer's lists are. */
struct lists {
    const char *method;
    const char *ignored[2];             /* names of lists */
    enum module_language language;
    bool (*more)(struct quantization_rules *r, const cJSON *config, const char *path,
                 struct error *err);    /* NULL: nothing else */
};

/* "-:regex" excludes; other keys override settings. */
static bool add_dynamic(struct quantization_rules *r, const cJSON *config, const char *path,
                        struct error *err)
{
    const cJSON *item;
    bool ok = true;
    cJSON_ArrayForEach(item, json_get_value(config, "dynamic"))
        if (ok && item->string && strncmp(item->string, "-:", 2) == 0)
            ok = module_list_add_one(&r->ignore, item->string + 2, MODULES_BY_REGEX, AT "dynamic",
                                     path, err);
    return ok;
}

static bool add_extra(struct quantization_rules *r, const cJSON *config, const char *path,
                      struct error *err)
{
    const cJSON *item;
    bool ok = true;
    size_t bits;
    cJSON_ArrayForEach(item, json_get_value(config, "extra_config"))
        if (ok && item->string && json_to_size(json_get_value(item, "bits"), &bits) && bits >= 16)
            ok = module_list_add_one(&r->ignore, item->string, MODULES_BY_NAME, AT "extra_config",
                                     path, err)
              && module_list_add_one(&r->ignore, item->string, MODULES_BY_REGEX, AT "extra_config",
                                     path, err);
    return ok;
}

/* With quantized_layers, these and what is below them; else every linear. */
static bool add_layers(struct quantization_rules *r, const cJSON *config, const char *path,
                       struct error *err)
{
    const cJSON *layers = json_get_value(config, "quantized_layers"), *item;
    bool ok = true;
    r->targets.names_parents = true;
    r->targets.has_linear = !layers;
    cJSON_ArrayForEach(item, layers)
        if (ok && item->string)
            ok = module_list_add_one(&r->targets, item->string, MODULES_BY_NAME,
                                     AT "quantized_layers", path, err);
    return ok;
}

static const struct lists all[] = {
    { "fp8", { "modules_to_not_convert", "ignored_layers" }, MODULES_BY_NAME, NULL },
    { "gptq", { NULL }, MODULES_BY_NAME, add_dynamic },
    { "awq", { "modules_to_not_convert" }, MODULES_BY_PART, NULL },
    { "auto-round", { NULL }, MODULES_BY_NAME, add_extra },
    { "intel/auto-round", { NULL }, MODULES_BY_NAME, add_extra },
    { "modelopt", { "ignore", "exclude_modules" }, MODULES_BY_GLOB, add_layers },
    { "quark", { "exclude" }, MODULES_BY_GLOB, NULL },
};

/* MLX names itself nowhere. */
bool quantization_rules_is_mlx(const cJSON *config)
{
    size_t n;
    return !json_get_value(config, "quant_method")
        && json_to_size(json_get_value(config, "group_size"), &n)
        && json_to_size(json_get_value(config, "bits"), &n);
}

/* Every linear but "module": false; MLX's names end as the model's. */
static bool add_mlx(struct quantization_rules *r, const cJSON *config, const char *path,
                    struct error *err)
{
    const cJSON *item;
    bool ok = true;
    r->targets.has_linear = true;
    cJSON_ArrayForEach(item, config) {
        const char *common = item->string ? strstr(item->string, "layers.") : NULL;
        if (ok && item->string && cJSON_IsFalse(item))
            ok = module_list_add_one(&r->ignore, common ? common : item->string, MODULES_BY_PART,
                                     "quantization", path, err);
    }
    return ok;
}

#define IS(dtype) (UINT64_C(1) << DTYPE_##dtype)
#define INTEGERS (IS(INT2) | IS(INT4) | IS(INT8))

/* What the words of quant_method, and of compressed-tensors' format, mean. */
static uint64_t formats_of(const char *word)
{
    static const struct {
        const char *word;
        uint64_t formats;
    } words[] = {
        { "fp8", IS(FP8) }, { "gptq", IS(GPTQ2) | IS(GPTQ4) | IS(GPTQ8) }, { "awq", IS(AWQ4) },
        { "mxfp4-pack-quantized", IS(MXFP4) }, { "nvfp4-pack-quantized", IS(NVFP4) },
        { "mxfp8-quantized", IS(MXFP8) },
        { "mxfp6-pack-quantized", IS(MXFP6_E2M3) | IS(MXFP6_E3M2) },
        { "float-quantized", IS(FP8) | IS(MXFP8) }, { "int-quantized", IS(INT8) },
        { "naive-quantized", IS(FP8) | IS(MXFP8) | INTEGERS }, { "pack-quantized", INTEGERS },
    };
    for (size_t i = 0; word && i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i].word, word) == 0)
            return words[i].formats;
    return 0;
}

/* Of compressed-tensors: a group without a format has that of all.  One that says nothing known
 * leaves it open. */
static uint64_t formats_of_groups(const cJSON *config)
{
    const cJSON *group, *groups = json_get_value(config, "config_groups");
    const char *common = cJSON_GetStringValue(json_get_value(config, "format"));
    uint64_t formats = 0;
    cJSON_ArrayForEach(group, groups) {
        const char *own = cJSON_GetStringValue(json_get_value(group, "format"));
        uint64_t known = formats_of(own ? own : common);
        if (!known)
            return 0;
        formats |= known;
    }
    return formats;
}

static bool add_list(struct module_list *list, const cJSON *config, const char *key,
                     enum module_language language, const char *path, struct error *err)
{
    char where[64] = AT;
    strcat(where, key);
    return module_list_add(list, json_get_value(config, key), language, where, path, err);
}

/* compressed-tensors names classes and modules of each group. */
static bool add_groups(struct quantization_rules *r, const cJSON *config, const char *path,
                       struct error *err)
{
    const cJSON *group;
    bool ok = add_list(&r->ignore, config, "ignore", MODULES_BY_NAME, path, err);
    cJSON_ArrayForEach(group, json_get_value(config, "config_groups"))
        ok = ok && module_list_add(&r->targets, json_get_value(group, "targets"), MODULES_BY_NAME,
                                   AT "config_groups.targets", path, err);
    return ok;
}

static bool fill(struct quantization_rules *r, const cJSON *config, const char *path,
                 struct error *err)
{
    const char *method = cJSON_GetStringValue(json_get_value(config, "quant_method"));
    bool ok = true;
    if (quantization_rules_is_mlx(config))
        return add_mlx(r, config, path, err);
    r->formats = formats_of(method);
    for (size_t i = 0; method && i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].method, method) != 0)
            continue;
        r->targets.has_linear = true;       /* every linear but these, and what is below them */
        r->ignore.names_parents = true;
        for (size_t j = 0; ok && j < 2 && all[i].ignored[j]; j++)
            ok = add_list(&r->ignore, config, all[i].ignored[j], all[i].language, path, err);
        return ok && (!all[i].more || all[i].more(r, config, path, err));
    }
    r->formats = formats_of_groups(config);
    return add_groups(r, config, path, err);
}

bool quantization_rules_fill(struct quantization_rules *r, const cJSON *config, const char *path,
                             struct error *err)
{
    r->is_there = config != NULL;
    return fill(r, config, path, err) && module_list_finish(&r->targets, err)
        && module_list_finish(&r->ignore, err);
}
