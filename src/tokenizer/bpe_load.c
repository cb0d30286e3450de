/* bpe_load.c - reading the "model" of a tokenizer.json. */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "tokenizer/bpe.h"
#include "tokenizer/bpe_table.h"
#include "tokenizer/byte_level.h"

/* ---- options ---------------------------------------------------------- */

/* An absent or null boolean is false. */
static bool read_flag(bool *out, const cJSON *json, const char *key, const char *path,
                      struct error *err)
{
    const cJSON *item = json_get_value(json, key);
    if (item && !cJSON_IsBool(item))
        return error_set(err, "%s: model.%s is neither true nor false", path, key);
    *out = cJSON_IsTrue(item);
    return true;
}

/* Parts of BPE that byte-level vocabularies do not use. */
static bool refuse_unsupported(const cJSON *json, const char *path, struct error *err)
{
    const cJSON *type = json_get_value(json, "type");
    if (type && (!cJSON_IsString(type) || strcmp(type->valuestring, "BPE") != 0))
        return error_set(err, "%s: model '%s' is not supported, only BPE", path,
                         cJSON_IsString(type) ? type->valuestring : "(no name)");
    const cJSON *dropout = json_get_value(json, "dropout");
    if (dropout && !(cJSON_IsNumber(dropout) && dropout->valuedouble == 0))
        return error_set(err, "%s: model.dropout is not supported", path);
    static const char *const affixes[] = { "continuing_subword_prefix", "end_of_word_suffix" };
    for (size_t i = 0; i < 2; i++) {
        const cJSON *affix = json_get_value(json, affixes[i]);
        if (affix && !(cJSON_IsString(affix) && affix->valuestring[0] == '\0'))
            return error_set(err, "%s: model.%s is not supported", path, affixes[i]);
    }
    bool byte_fallback = false;
    if (!read_flag(&byte_fallback, json, "byte_fallback", path, err))
        return false;
    return !byte_fallback || error_set(err, "%s: model.byte_fallback is not supported", path);
}

static bool read_unk_token(struct bpe *b, const cJSON *json, const char *path,
                           struct error *err)
{
    b->unk_id = -1;
    const cJSON *unk = json_get_value(json, "unk_token");
    if (!unk)
        return true;
    if (!cJSON_IsString(unk))
        return error_set(err, "%s: model.unk_token is not a string", path);
    b->unk_token = mem_string(unk->valuestring, err);
    b->unk_id = vocabulary_find(&b->vocabulary, unk->valuestring, strlen(unk->valuestring));
    return b->unk_token != NULL;
}

/* ---- merges ----------------------------------------------------------- */

/* The two tokens of a merge, in the form "a b" or ["a", "b"]. */
struct pair {
    const char *left, *right;
    size_t left_length, right_length;
};

static bool read_pair(struct pair *p, const cJSON *item)
{
    if (cJSON_IsString(item)) {
        const char *space = strchr(item->valuestring, ' ');
        if (!space || strchr(space + 1, ' '))
            return false;
        *p = (struct pair){ item->valuestring, space + 1, (size_t)(space - item->valuestring),
                            strlen(space + 1) };
        return true;
    }
    const cJSON *left = cJSON_IsArray(item) ? item->child : NULL;
    const cJSON *right = left ? left->next : NULL;
    if (!cJSON_IsString(left) || !cJSON_IsString(right) || right->next)
        return false;
    *p = (struct pair){ left->valuestring, right->valuestring, strlen(left->valuestring),
                        strlen(right->valuestring) };
    return true;
}

/* The id of one part of merge `rank`; an error if it is not a token. */
static bool find_part(int32_t *id, const struct bpe *b, const char *content, size_t n,
                      uint32_t rank, const char *path, struct error *err)
{
    *id = vocabulary_find(&b->vocabulary, content, n);
    return *id >= 0 || error_set(err, "%s: merges[%u]: '%.*s' is not in the vocabulary", path,
                                 rank, (int)(n < 200 ? n : 200), content);
}

/* *id: in: joined token of the previous merge; out: of this one. */
static bool add_merge(struct bpe *b, const struct pair *p, uint32_t rank, int32_t *id,
                      struct buffer *joined, const char *path, struct error *err)
{
    int32_t left, right;
    joined->size = 0;
    if (!buffer_append(joined, p->left, p->left_length, err)
        || !buffer_append(joined, p->right, p->right_length, err)
        || !find_part(&left, b, p->left, p->left_length, rank, path, err)
        || !find_part(&right, b, p->right, p->right_length, rank, path, err))
        return false;
    /* Most files number their tokens in the order of the merges that make them. */
    size_t n;
    const char *next = *id < INT32_MAX ? vocabulary_content(&b->vocabulary, *id + 1, &n) : NULL;
    if (next && n == joined->size && memcmp(next, joined->data, n) == 0)
        ++*id;
    else if (!find_part(id, b, joined->data, joined->size, rank, path, err))
        return false;
    uint64_t pair = bpe_pair(left, right);
    /* A pair that occurs twice gets the rank of its last line, as in `tokenizers`. */
    *bpe_merge_slot(b, pair) = (struct bpe_merge){ pair, rank, *id };
    return true;
}

static bool read_merges(struct bpe *b, const cJSON *json, const char *path, struct error *err)
{
    if (!cJSON_IsArray(json))
        return error_set(err, "%s: model.merges is not an array", path);
    size_t n = 0, n_slots = 16;
    const cJSON *item;
    cJSON_ArrayForEach(item, json)
        n++;
    if (n > UINT32_MAX / 4)
        return error_set(err, "%s: %zu merges are too many", path, n);
    while (n_slots < 2 * n)
        n_slots *= 2;
    b->mask = n_slots - 1;
    b->merges = mem_array(n_slots, sizeof *b->merges, "merges", err);
    if (!b->merges)
        return false;
    for (size_t i = 0; i < n_slots; i++)
        b->merges[i].pair = BPE_NO_PAIR;
    struct buffer joined = { 0 };
    uint32_t rank = 0;
    int32_t id = -1;
    bool ok = true, strings = json->child && cJSON_IsString(json->child);
    cJSON_ArrayForEach(item, json) {
        struct pair p;
        /* The first line of a merges.txt, which old converters copied. */
        bool version = strings && cJSON_IsString(item)
                    && strncmp(item->valuestring, "#version", 8) == 0;
        if (cJSON_IsString(item) != strings || (!version && !read_pair(&p, item)))
            ok = error_set(err, "%s: merges[%u] is not a pair of tokens", path, rank);
        else if (!version)
            ok = add_merge(b, &p, rank, &id, &joined, path, err);
        if (!ok)
            break;
        rank++;
    }
    buffer_free(&joined);
    return ok;
}

/* ---- the whole -------------------------------------------------------- */

bool bpe_load(struct bpe *b, const cJSON *json, const char *path, struct error *err)
{
    *b = (struct bpe){ 0 };
    if (!cJSON_IsObject(json))
        return error_set(err, "%s: model is not an object", path);
    if (!json_unique_keys(json, path, err) || !refuse_unsupported(json, path, err)
        || !read_flag(&b->fuse_unk, json, "fuse_unk", path, err)
        || !read_flag(&b->ignore_merges, json, "ignore_merges", path, err)
        || !vocabulary_load(&b->vocabulary, json_get(json, "vocab"), path, err)
        || !read_unk_token(b, json, path, err)
        || !read_merges(b, json_get(json, "merges"), path, err))
        return false;
    for (unsigned byte = 0; byte < 256; byte++) {
        char character[4];
        size_t n = utf8_put(character, byte_level_character((unsigned char)byte));
        b->byte_ids[byte] = vocabulary_find(&b->vocabulary, character, n);
    }
    return true;
}

void bpe_free(struct bpe *b)
{
    vocabulary_free(&b->vocabulary);
    free(b->merges);
    free(b->unk_token);
    *b = (struct bpe){ 0 };
}
