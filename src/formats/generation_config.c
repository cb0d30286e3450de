#include "formats/generation_config.h"

#include <math.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"

#define FILE_NAME "generation_config.json"

static bool read_number(double *out, const cJSON *root, const char *key, const char *path,
                        struct error *err)
{
    const cJSON *item = json_get_value(root, key);
    *out = NAN;
    if (!item)
        return true;
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return error_set(err, "%s: %s is not a number", path, key);
    *out = item->valuedouble;
    return true;
}

static bool read_numbers(struct generation_config *g, const cJSON *root, const char *path,
                         struct error *err)
{
    const struct {
        const char *key;
        double *to;
    } numbers[] = {
        { "temperature", &g->temperature },
        { "top_p", &g->top_p },
        { "min_p", &g->min_p },
        { "presence_penalty", &g->presence_penalty },
        { "frequency_penalty", &g->frequency_penalty },
        { "repetition_penalty", &g->repetition_penalty },
        { "top_k", &g->top_k },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!read_number(numbers[i].to, root, numbers[i].key, path, err))
            return false;
    if (!isnan(g->top_k)
        && !(g->top_k >= -1 && g->top_k <= INT32_MAX && floor(g->top_k) == g->top_k))
        return error_set(err, "%s: top_k is not a whole number from -1", path);
    const cJSON *most = json_get_value(root, "max_new_tokens");
    return !most || (json_to_size(most, &g->max_new_tokens) && g->max_new_tokens > 0)
        || error_set(err, "%s: max_new_tokens is not a whole number from 1", path);
}

static bool add_end_id(struct generation_config *g, const cJSON *item, size_t vocab_size,
                       const char *path, struct error *err)
{
    size_t id;
    if (!json_to_size(item, &id) || id >= vocab_size)
        return error_set(err, "%s: eos_token_id is not an id of the vocabulary, which has %zu",
                         path, vocab_size);
    g->end_ids[g->n_end_ids++] = (int32_t)id;
    return true;
}

/* One id or a list of them. */
static bool read_end_ids(struct generation_config *g, const cJSON *item, size_t vocab_size,
                         const char *path, struct error *err)
{
    size_t n = cJSON_IsArray(item) ? (size_t)cJSON_GetArraySize(item) : 1;
    free(g->end_ids);
    g->n_end_ids = 0;
    g->end_ids = mem_array(n, sizeof *g->end_ids, "the ids that end an answer", err);
    if (!g->end_ids)
        return false;
    if (!cJSON_IsArray(item))
        return add_end_id(g, item, vocab_size, path, err);
    bool ok = true;
    const cJSON *one;
    cJSON_ArrayForEach(one, item)
        ok = ok && add_end_id(g, one, vocab_size, path, err);
    return ok;
}

static bool read_file(struct generation_config *g, const struct checkpoint *ck, const char *path,
                      struct error *err)
{
    cJSON *root = json_read(path, err);
    if (!root)
        return false;
    const cJSON *ends = json_get_value(root, "eos_token_id");
    bool ok = cJSON_IsObject(root) || error_set(err, "%s: is not an object", path);
    ok = ok && read_numbers(g, root, path, err)
      && (!ends || read_end_ids(g, ends, ck->config.vocab_size, path, err));
    cJSON_Delete(root);
    return ok;
}

/* Until the file says otherwise. */
static bool begin(struct generation_config *g, const struct checkpoint *ck, struct error *err)
{
    const struct config *c = &ck->config;
    *g = (struct generation_config){ .temperature = NAN, .top_p = NAN, .min_p = NAN,
                                     .presence_penalty = NAN, .frequency_penalty = NAN,
                                     .repetition_penalty = NAN, .top_k = NAN };
    g->end_ids = mem_array(1, sizeof *g->end_ids, "the ids that end an answer", err);
    if (g->end_ids && c->eos_token_id >= 0 && (uint64_t)c->eos_token_id < c->vocab_size)
        g->end_ids[g->n_end_ids++] = (int32_t)c->eos_token_id;
    return g->end_ids != NULL;
}

bool generation_config_read(struct generation_config *g, const struct checkpoint *ck,
                            struct error *err)
{
    if (!begin(g, ck, err))
        return false;
    char *path = file_join(ck->folder, FILE_NAME, err);
    bool ok = path && (!file_exists(path) || read_file(g, ck, path, err));
    free(path);
    return ok;
}

void generation_config_free(struct generation_config *g)
{
    free(g->end_ids);
    *g = (struct generation_config){ 0 };
}
