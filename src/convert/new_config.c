#include "convert/new_config.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "kernels/mxfp4.h"

#define KEY "quantization_config"
#define MLX_KEY "quantization"

static const char *const places[] = { NULL, "text_config" };    /* where it may be */

static const cJSON *place(const cJSON *root, size_t i)
{
    return places[i] ? json_get(root, places[i]) : root;
}

bool new_config_is_quantized(const struct checkpoint *ck)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (json_get_value(place(ck->config_json, i), KEY))
            return true;
    return json_get_value(ck->config_json, MLX_KEY);
}

/* A config that was made of metadata is one of text: puts it where published ones have it, and its
 * positions too.  Takes text. */
static cJSON *published(cJSON *text)
{
    static const char *const numbers[] = { "rope_theta", "partial_rotary_factor" };
    bool is_moe = json_get_value(text, "num_experts");
    cJSON *root = text ? cJSON_CreateObject() : NULL;
    cJSON *list = root ? cJSON_AddArrayToObject(root, "architectures") : NULL;
    cJSON *name = list ? cJSON_CreateString(is_moe ? "Qwen3_5MoeForConditionalGeneration"
                                                   : "Qwen3_5ForConditionalGeneration") : NULL;
    bool ok = name && cJSON_AddItemToArray(list, name)
           && cJSON_AddStringToObject(root, "model_type", is_moe ? "qwen3_5_moe" : "qwen3_5")
           && cJSON_AddBoolToObject(root, "tie_word_embeddings",
                                    cJSON_IsTrue(json_get(text, "tie_word_embeddings")));
    cJSON *rope = ok ? cJSON_AddObjectToObject(text, "rope_parameters") : NULL;
    ok = rope && cJSON_AddStringToObject(rope, "rope_type", "default");
    for (size_t i = 0; ok && i < sizeof numbers / sizeof *numbers; i++) {
        cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(text, numbers[i]);
        ok = !item || cJSON_AddItemToObject(rope, numbers[i], item);
    }
    if (ok && cJSON_AddItemToObject(root, "text_config", text))
        return root;
    cJSON_Delete(text);
    cJSON_Delete(root);
    return NULL;
}

/* Gives a copy of the config without quantization_config, under both of its names. */
static cJSON *without(const struct checkpoint *ck)
{
    cJSON *root = cJSON_Duplicate(ck->config_json, true);
    for (size_t i = 0; root && i < sizeof places / sizeof *places; i++) {
        cJSON *at = places[i] ? cJSON_GetObjectItemCaseSensitive(root, places[i]) : root;
        if (at)
            cJSON_DeleteItemFromObjectCaseSensitive(at, KEY);
    }
    cJSON_DeleteItemFromObjectCaseSensitive(root, MLX_KEY);
    return root;
}

/* Takes root; gives its text. */
static char *print(cJSON *root, bool ok, struct error *err)
{
    char *text = ok ? json_print(root) : NULL;
    cJSON_Delete(root);
    if (!text)
        error_set(err, "out of memory: config.json");
    return text;
}

char *new_config_plain(const struct checkpoint *ck, struct error *err)
{
    cJSON *root = without(ck);
    if (ck->reader->is_self_described)
        root = published(root);
    return print(root, root != NULL, err);
}

/* Scheme MXFP4A16 of compressed-tensors (quantization/quant_scheme.py). */
static bool add_group(cJSON *to)
{
    cJSON *groups = cJSON_AddObjectToObject(to, "config_groups");
    cJSON *group = groups ? cJSON_AddObjectToObject(groups, "group_0") : NULL;
    cJSON *targets = group ? cJSON_AddArrayToObject(group, "targets") : NULL;
    cJSON *weights = targets ? cJSON_AddObjectToObject(group, "weights") : NULL;
    return weights && cJSON_AddItemToArray(targets, cJSON_CreateString("Linear"))
        && cJSON_AddNullToObject(group, "input_activations")
        && cJSON_AddNullToObject(group, "output_activations")
        && cJSON_AddStringToObject(group, "format", "mxfp4-pack-quantized")
        && cJSON_AddNumberToObject(weights, "num_bits", 4)
        && cJSON_AddStringToObject(weights, "type", "float")
        && cJSON_AddStringToObject(weights, "strategy", "group")
        && cJSON_AddNumberToObject(weights, "group_size", (double)mxfp4_block_size())
        && cJSON_AddBoolToObject(weights, "symmetric", true)
        && cJSON_AddBoolToObject(weights, "dynamic", false)
        && cJSON_AddStringToObject(weights, "scale_dtype", "torch.uint8")
        && cJSON_AddStringToObject(weights, "zp_dtype", "torch.uint8");
}

static bool add_ignored(cJSON *list, const struct listed_weight *m)
{
    char *name = strndup(m->name, weight_module_length(m->name));
    cJSON *item = name ? cJSON_CreateString(name) : NULL;
    free(name);
    return item && cJSON_AddItemToArray(list, item);
}

/* In order of the tensors' names, parts of one in order of its rows. */
static int compare_tensors(const void *a, const void *b)
{
    const struct listed_weight *x = *(const struct listed_weight *const *)a;
    const struct listed_weight *y = *(const struct listed_weight *const *)b;
    int by_name = strcmp(x->stored.parts[0]->name, y->stored.parts[0]->name);
    return by_name ? by_name : (x->stored.view.data > y->stored.view.data)
                               - (x->stored.view.data < y->stored.view.data);
}

static bool add_ignore(cJSON *to, const struct weight_list *m, const struct selection *s)
{
    cJSON *list = cJSON_AddArrayToObject(to, "ignore");
    const struct listed_weight **order = mem_array(m->n, sizeof *order, "weights", NULL);
    bool ok = list && order;
    for (size_t i = 0; ok && i < m->n; i++)
        order[i] = &m->list[i];
    if (ok)
        qsort(order, m->n, sizeof *order, compare_tensors);
    for (size_t i = 0; ok && i < m->n; i++)
        if (!s->packed[order[i] - m->list]
            && weight_module_length(order[i]->name) < strlen(order[i]->name))
            ok = add_ignored(list, order[i]);
    free(order);
    return ok;
}

char *new_config_quantized(const struct checkpoint *ck, const struct weight_list *m,
                           const struct selection *s, struct error *err)
{
    cJSON *root = without(ck);
    cJSON *to = root ? cJSON_AddObjectToObject(root, KEY) : NULL;
    bool ok = to && cJSON_AddStringToObject(to, "quant_method", "compressed-tensors")
           && cJSON_AddStringToObject(to, "format", "mxfp4-pack-quantized")
           && cJSON_AddStringToObject(to, "quantization_status", "compressed")
           && add_group(to) && add_ignore(to, m, s);
    return print(root, ok, err);
}
