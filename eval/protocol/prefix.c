#include "eval/protocol/prefix.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

char *prefix_config_path(const char *tokenizer, struct error *err)
{
    static const char name[] = "tokenizer_config.json";
    if (file_is_directory(tokenizer))
        return file_join(tokenizer, name, err);
    const char *slash = strrchr(tokenizer, '/');
    struct buffer folder = { 0 };
    if (!slash)
        return mem_string(name, err);
    bool ok = buffer_append(&folder, tokenizer, (size_t)(slash + 1 - tokenizer), err);
    char *path = ok ? file_join(folder.data, name, err) : NULL;
    buffer_free(&folder);
    return path;
}

/* The text of bos_token or eos_token: a string, or an object with its content; NULL: none. */
static bool read_token(const char **token, const cJSON *config, const char *key, const char *path,
                       struct error *err)
{
    const cJSON *item = json_get_value(config, key);
    *token = cJSON_GetStringValue(cJSON_IsObject(item) ? json_get(item, "content") : item);
    return !item || *token
        || error_set(err, "%s: %s is neither a text nor an object with a content", path, key);
}

/* The id by tokenizer_config.json's own list, -1 if it has none. */
static int64_t listed_id(const cJSON *config, const char *token)
{
    const cJSON *item, *list = json_get(config, "added_tokens_decoder");
    if (!cJSON_IsObject(list))
        return -1;
    cJSON_ArrayForEach(item, list) {
        const char *content = cJSON_GetStringValue(json_get(item, "content"));
        size_t digits = strlen(item->string);
        if (!content || strcmp(content, token) != 0 || digits == 0 || digits > 9
            || strspn(item->string, "0123456789") != digits)
            continue;
        int64_t id = 0;
        for (const char *c = item->string; *c; c++)
            id = 10 * id + (*c - '0');
        return id;
    }
    return -1;
}

static int64_t find_id(const char *token, const cJSON *config, const char *tokenizer,
                       const struct tokenizer *t, struct error *why)
{
    struct tokenizer *own = t ? NULL : tokenizer_open(tokenizer, why);
    const struct tokenizer *use = t ? t : own;
    int64_t id = use ? tokenizer_token_id(use, token) : -1;
    if (use && id < 0)
        error_set(why, "%s has no such token", tokenizer_path(use));
    tokenizer_close(own);
    return id >= 0 ? id : listed_id(config, token);
}

/* *token stays NULL if the file is missing or names neither. */
static bool by_config(struct prefix *p, const char *path, const char *tokenizer,
                      const struct tokenizer *t, struct error *err)
{
    static const char *const keys[] = { "bos_token", "eos_token" };
    if (!file_exists(path))
        return true;
    cJSON *config = json_read(path, err);
    const char *token = NULL, *key = NULL;
    bool ok = config != NULL;
    for (size_t i = 0; ok && !token && i < 2; i++)
        ok = read_token(&token, config, key = keys[i], path, err);
    if (ok && token) {
        struct error why = { 0 };
        struct buffer source = { 0 };
        int64_t id = find_id(token, config, tokenizer, t, &why);
        ok = (id >= 0 || error_set(err, "%s: its %s '%s', the prefix token of rolling, has no id: "
                                   "%s (a prefix id can be given)", path, key, token, why.message))
          && buffer_printf(&source, err, "%s of %s", key, path)
          && (p->token = mem_string(token, err));
        p->id = (int32_t)id;
        p->source = source.data;
    }
    cJSON_Delete(config);
    return ok;
}

static bool by_eos(struct prefix *p, const struct checkpoint *ck, const char *path,
                   struct error *err)
{
    int64_t id = ck->config.eos_token_id;
    struct buffer source = { 0 };
    if (id < 0 || id > INT32_MAX)
        return error_set(err, "%s: no prefix token for rolling: neither bos_token nor eos_token in "
                         "%s, nor eos_token_id in the config (a prefix id can be given)", ck->path,
                         path);
    p->id = (int32_t)id;
    bool ok = buffer_printf(&source, err, "eos_token_id of %s", ck->config_path);
    p->source = source.data;
    return ok;
}

/* Its text, if the tokenizer has it. */
static bool take_text(struct prefix *p, const struct tokenizer *t, struct error *err)
{
    struct buffer text = { 0 };
    bool ok = true;
    if (t && tokenizer_decode(t, &p->id, 1, &text, NULL) && text.size)
        ok = (p->token = mem_string(text.data, err)) != NULL;
    buffer_free(&text);
    return ok;
}

bool prefix_default(struct prefix *p, const char *tokenizer, const struct tokenizer *t,
                    const struct checkpoint *ck, struct error *err)
{
    *p = (struct prefix){ 0 };
    char *path = prefix_config_path(tokenizer, err);
    bool ok = path && by_config(p, path, tokenizer, t, err);
    if (ok && !p->token)
        ok = by_eos(p, ck, path, err) && take_text(p, t, err);
    free(path);
    if (!ok)
        prefix_free(p);
    return ok;
}

bool prefix_given(struct prefix *p, int32_t id, const struct tokenizer *t, struct error *err)
{
    *p = (struct prefix){ .id = id };
    bool ok = (p->source = mem_string("as given", err)) && take_text(p, t, err);
    if (!ok)
        prefix_free(p);
    return ok;
}

void prefix_free(struct prefix *p)
{
    free(p->token);
    free(p->source);
    *p = (struct prefix){ 0 };
}
