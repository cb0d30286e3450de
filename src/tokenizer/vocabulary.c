#include "tokenizer/vocabulary.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* The finaliser of MurmurHash3: every bit of x reaches every bit of the result. */
uint64_t vocabulary_hash_mix(uint64_t x)
{
    x = (x ^ x >> 33) * 0xFF51AFD7ED558CCDu;
    x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53u;
    return x ^ x >> 33;
}

uint64_t vocabulary_hash(const char *bytes, size_t n)
{
    uint64_t h = n * 0x9E3779B97F4A7C15u, word;
    for (; n >= 8; n -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        h = vocabulary_hash_mix(h ^ word);
    }
    word = 0;
    memcpy(&word, bytes, n);
    return vocabulary_hash_mix(h ^ word);
}

/* The slot of a content, or the free one where it belongs. */
static struct vocabulary_slot *find_slot(const struct vocabulary *v, const char *content,
                                         size_t n, uint64_t hash)
{
    for (size_t i = (size_t)hash & v->mask; ; i = (i + 1) & v->mask) {
        struct vocabulary_slot *slot = &v->slots[i];
        if (!slot->token)
            return slot;
        const struct vocabulary_token *t = &v->tokens[slot->token - 1];
        if (slot->tag == (uint32_t)(hash >> 32) && t->length == n
            && memcmp(v->text.data + t->offset, content, n) == 0)
            return slot;
    }
}

static int compare_ids(const void *a, const void *b)
{
    const struct vocabulary_token *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

/* Reads all members into v->tokens, in order of id. */
static bool read_tokens(struct vocabulary *v, const cJSON *json, const char *path,
                        struct error *err)
{
    const cJSON *item;
    bool in_order = true;
    cJSON_ArrayForEach(item, json) {
        const char *content = item->string ? item->string : "";
        size_t id, length = strlen(content);
        if (!json_to_size(item, &id) || id > INT32_MAX)
            return error_set(err, "%s: vocab: '%s' has no id from 0 to 2147483647", path,
                             content);
        if (length > UINT32_MAX)
            return error_set(err, "%s: vocab: id %zu has a token of %zu bytes", path, id,
                             length);
        struct vocabulary_token *t = &v->tokens[v->n];
        *t = (struct vocabulary_token){ v->text.size, (uint32_t)length, (int32_t)id };
        in_order = in_order && (v->n == 0 || t[-1].id < t->id);
        v->n++;
        if (!buffer_append(&v->text, content, length, err))
            return false;
    }
    if (!in_order)
        qsort(v->tokens, v->n, sizeof *v->tokens, compare_ids);
    for (size_t i = 1; i < v->n; i++)
        if (v->tokens[i - 1].id == v->tokens[i].id)
            return error_set(err, "%s: vocab: id %d belongs to '%.*s' and '%.*s'", path,
                             v->tokens[i].id, (int)v->tokens[i - 1].length,
                             v->text.data + v->tokens[i - 1].offset, (int)v->tokens[i].length,
                             v->text.data + v->tokens[i].offset);
    return true;
}

bool vocabulary_load(struct vocabulary *v, const cJSON *json, const char *path,
                     struct error *err)
{
    *v = (struct vocabulary){ 0 };
    if (!cJSON_IsObject(json))
        return error_set(err, "%s: model.vocab is not an object", path);
    size_t n = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, json)
        n++;
    if (n == 0 || n > INT32_MAX)
        return error_set(err, "%s: model.vocab has %zu tokens", path, n);
    size_t n_slots = 16;
    while (n_slots < 2 * n)
        n_slots *= 2;
    v->mask = n_slots - 1;
    v->tokens = mem_array(n, sizeof *v->tokens, "vocabulary", err);
    v->slots = mem_array(n_slots, sizeof *v->slots, "vocabulary", err);
    if (!v->tokens || !v->slots || !read_tokens(v, json, path, err))
        return false;
    for (size_t i = 0; i < v->n; i++) {
        const struct vocabulary_token *t = &v->tokens[i];
        const char *content = v->text.data + t->offset;
        uint64_t hash = vocabulary_hash(content, t->length);
        struct vocabulary_slot *slot = find_slot(v, content, t->length, hash);
        if (slot->token)
            return error_set(err, "%s: vocab: '%.*s' occurs twice", path, (int)t->length,
                             content);
        *slot = (struct vocabulary_slot){ (uint32_t)(hash >> 32), (uint32_t)i + 1 };
    }
    return true;
}

void vocabulary_free(struct vocabulary *v)
{
    buffer_free(&v->text);
    free(v->tokens);
    free(v->slots);
    *v = (struct vocabulary){ 0 };
}

int32_t vocabulary_find(const struct vocabulary *v, const char *content, size_t n)
{
    const struct vocabulary_slot *slot = find_slot(v, content, n, vocabulary_hash(content, n));
    return slot->token ? v->tokens[slot->token - 1].id : -1;
}

const char *vocabulary_content(const struct vocabulary *v, int32_t id, size_t *n)
{
    /* Ids are distinct and in order, so token number i has an id of at least i: with no holes
     * the first probe hits. */
    size_t low = 0, high = v->n, probe = id < 0 ? 0 : (size_t)id;
    while (low < high) {
        if (probe < low || probe >= high)
            probe = low + (high - low) / 2;
        const struct vocabulary_token *t = &v->tokens[probe];
        if (t->id == id) {
            *n = t->length;
            return v->text.data + t->offset;
        }
        if (t->id < id)
            low = probe + 1;
        else
            high = probe;
        probe = SIZE_MAX;
    }
    return NULL;
}
