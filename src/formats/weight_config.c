#include "formats/weight_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define FP8_BLOCK ((size_t)128)     /* rows, and columns, of a block if the config does not say */

static bool fits(size_t block, size_t n, size_t count)
{
    return block > 0 && n / block + (n % block != 0) == count;
}

/* A list of two numbers, or compressed-tensors' older "128x128". */
static size_t of_axis(const cJSON *item, int axis)
{
    size_t block = 0;
    if (cJSON_IsString(item) && strcmp(item->valuestring, "128x128") == 0)
        return FP8_BLOCK;
    return json_to_size(cJSON_GetArrayItem(item, axis), &block) ? block : 0;
}

static size_t of_group(const cJSON *weights, int axis, size_t n, size_t count)
{
    size_t size = 0;
    if (axis == 1 && json_to_size(json_get_value(weights, "group_size"), &size)
        && fits(size, n, count))
        return size;
    size = of_axis(json_get_value(weights, "block_structure"), axis);
    return fits(size, n, count) ? size : 0;
}

size_t weight_config_block(const struct checkpoint *ck, int axis, size_t n, size_t count)
{
    const cJSON *config = checkpoint_quantization(ck), *group;
    if (count == 0 || count > n)
        return 0;
    if (count == 1)
        return n;
    size_t size = of_axis(json_get_value(config, "weight_block_size"), axis);
    if (!fits(size, n, count))
        size = of_group(config, axis, n, count);
    cJSON_ArrayForEach(group, json_get_value(config, "config_groups"))
        if (!size)
            size = of_group(json_get_value(group, "weights"), axis, n, count);
    for (size_t power = 1; !size && power < n; power *= 2)
        if (fits(power, n, count))
            size = power;
    return size || n % count ? size : n / count;
}

void weight_config_blocks(struct matrix *m, const struct checkpoint *ck)
{
    const cJSON *size = json_get_value(checkpoint_quantization(ck), "weight_block_size");
    size_t rows = of_axis(size, 0), cols = of_axis(size, 1);
    m->block_rows = rows ? rows : FP8_BLOCK;
    m->block_cols = cols ? cols : FP8_BLOCK;
}

static bool has_text(const cJSON *object, const char *key, const char *text)
{
    const cJSON *item = json_get_value(object, key);
    return cJSON_IsString(item) && strcmp(item->valuestring, text) == 0;
}

/* A symmetric file is read the same whatever its label says: labels are wrong at times, and then
 * its zero points are one off (vLLM pull request 38966).  An asymmetric one depends on it. */
enum zeros weight_config_zeros(const struct checkpoint *ck)
{
    const cJSON *config = checkpoint_quantization(ck);
    if (!cJSON_IsFalse(json_get_value(config, "sym")))
        return ZEROS_HALF;
    bool as_stored = has_text(config, "checkpoint_format", "gptq_v2")
                  || has_text(config, "packing_format", "auto_round")
                  || has_text(config, "packing_format", "auto_round:exllamav2");
    return as_stored ? ZEROS_STORED : ZEROS_LESS_ONE;
}

bool weight_config_has_bits(const struct checkpoint *ck, unsigned bits)
{
    size_t said;
    return json_to_size(json_get_value(checkpoint_quantization(ck), "bits"), &said) && said == bits;
}

bool weight_config_is_e3m2(const struct checkpoint *ck)
{
    const cJSON *all = json_get_value(checkpoint_quantization(ck), "global_quant_config");
    return has_text(json_get_value(all, "weight"), "dtype", "fp6_e3m2");
}

/* ---- MLX ------------------------------------------------------------------------------- */

#define MLX_GROUP_SIZE ((size_t)64)     /* what mlx takes if nothing is said */

/* The part of a name that MLX and the model have in common; experts are stacked there. */
static const char *common_part(const char *name, size_t n)
{
    const char *layers = strstr(name, "layers."), *last = name;
    if (layers && layers < name + n)
        return layers;
    for (size_t i = 0; i < n; i++)
        if (name[i] == '.')
            last = name + i + 1;
    return last;
}

static bool is_module(const char *key, const char *name, size_t n)
{
    const char *end = name + n, *at = common_part(name, n);
    const char *experts = strstr(at, ".experts."), *stacked;
    key = common_part(key, strlen(key));
    if (experts && experts < end && (stacked = strstr(key, ".switch_mlp."))) {
        size_t n_before = (size_t)(experts - at);
        if ((size_t)(stacked - key) != n_before || memcmp(key, at, n_before) != 0)
            return false;
        key = stacked + strlen(".switch_mlp");
        at = experts + strlen(".experts.");
        at += strspn(at, "0123456789");
    }
    return strlen(key) == (size_t)(end - at) && memcmp(key, at, (size_t)(end - at)) == 0;
}

size_t weight_config_mlx_group(const struct checkpoint *ck, const char *name, size_t n)
{
    const cJSON *config = checkpoint_quantization(ck), *item;
    size_t size;
    cJSON_ArrayForEach(item, config)
        if (cJSON_IsObject(item) && item->string && is_module(item->string, name, n)
            && json_to_size(json_get_value(item, "group_size"), &size))
            return size;
    bool is_affine = !json_get_value(config, "mode") || has_text(config, "mode", "affine");
    return is_affine && json_to_size(json_get_value(config, "group_size"), &size) ? size
                                                                               : MLX_GROUP_SIZE;
}
