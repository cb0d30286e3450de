#include "formats/quantization_file.h"

#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"

const char *const quantization_file_names[] = { "quantize_config.json", "hf_quant_config.json",
                                                NULL };

/* What each of them means: the member that holds it (NULL: the file itself does), and its
 * quant_method, which may be left out. */
static const struct {
    const char *member, *method;
} kinds[] = { { NULL, "gptq" }, { "quantization", "modelopt" } };

/* The file's own object, or a copy of its member. */
static cJSON *config_of(const char *path, size_t kind, struct error *err)
{
    const char *member = kinds[kind].member;
    cJSON *root = json_read(path, err), *config = root;
    if (root && member) {
        config = cJSON_Duplicate(json_get_value(root, member), true);
        cJSON_Delete(root);
    }
    if (root && !cJSON_IsObject(config)) {
        error_set(err, "%s: %s is not an object", path, member ? member : "the file");
        cJSON_Delete(config);
        return NULL;
    }
    return config;
}

static bool add(struct checkpoint *ck, const char *path, size_t kind, struct error *err)
{
    cJSON *config = config_of(path, kind, err);
    if (!config)
        return false;
    bool is_named = json_get_value(config, "quant_method");
    if (!is_named)
        cJSON_DeleteItemFromObjectCaseSensitive(config, "quant_method");    /* null */
    if ((!is_named && !cJSON_AddStringToObject(config, "quant_method", kinds[kind].method))
        || !cJSON_AddItemToObject(ck->config_json, "quantization_config", config)) {
        cJSON_Delete(config);
        return error_lack(err, "out of memory: %s", path);
    }
    return true;
}

bool quantization_file_add(struct checkpoint *ck, struct error *err)
{
    for (size_t i = 0; quantization_file_names[i]; i++) {
        char *path = file_join(ck->folder, quantization_file_names[i], err);
        if (path && file_exists(path)) {
            ck->quantization_path = path;
            return add(ck, path, i, err);
        }
        free(path);
        if (!path)
            return false;
    }
    return true;
}
