#include "grammar/token_trie.h"

#include <stdlib.h>
#include <string.h>

#include "grammar/graph.h"

static const char *const tag_texts[TOKEN_TRIE_TAGS] = { "</think>", "<tool_call>", "</tool_call>" };

const char *token_trie_tag_text(enum token_trie_tag tag)
{
    return tag_texts[tag];
}

const uint8_t *token_trie_bytes(const struct token_trie *trie, int32_t id, size_t *n)
{
    *n = 0;
    if (id < 0 || (size_t)id >= trie->vocab_size)
        return NULL;
    *n = trie->offset[id + 1] - trie->offset[id];
    return trie->bytes + trie->offset[id];
}

/* Appends what stands for one token. */
static bool append(struct buffer *all, const struct tokenizer *t, int32_t id,
                   const int32_t *tag_ids, struct error *err)
{
    size_t begin = all->size;
    uint8_t other[2] = { GRAPH_TAG, GRAPH_OTHER_TAG };
    if (!tokenizer_has_token(t, id))
        return true;
    for (uint8_t tag = 0; tag < TOKEN_TRIE_TAGS; tag++)
        if (tag_ids[tag] == id)
            other[1] = tag;
    if (other[1] == GRAPH_OTHER_TAG && !tokenizer_is_added(t, id)) {
        if (!tokenizer_token_bytes(t, id, false, all, err))
            return false;
        if (all->size > begin && !memchr(all->data + begin, GRAPH_TAG, all->size - begin)
            && all->size - begin <= UINT16_MAX)
            return true;
        all->size = begin;
    }
    return buffer_append(all, other, sizeof other, err);
}

static bool read_bytes(struct token_trie *trie, const struct tokenizer *t, struct error *err)
{
    struct buffer all = { 0 };
    int32_t tag_ids[TOKEN_TRIE_TAGS];
    for (size_t tag = 0; tag < TOKEN_TRIE_TAGS; tag++) {
        tag_ids[tag] = tokenizer_token_id(t, tag_texts[tag]);
        trie->has_tag[tag] = tag_ids[tag] >= 0;
    }
    bool ok = buffer_append(&all, "", 0, err);
    for (size_t id = 0; ok && id < trie->vocab_size; id++) {
        ok = append(&all, t, (int32_t)id, tag_ids, err)
          && (all.size <= UINT32_MAX || error_set(err, "%s: tokens of more than 4 GiB",
                                                  tokenizer_path(t)));
        trie->offset[id + 1] = (uint32_t)all.size;
    }
    trie->bytes = (uint8_t *)all.data;
    return ok;
}

/* Two tokens by their bytes, then by id. */
static int order(const void *a, const void *b, void *trie)
{
    size_t na, nb;
    int32_t ia = *(const int32_t *)a, ib = *(const int32_t *)b;
    const uint8_t *x = token_trie_bytes(trie, ia, &na), *y = token_trie_bytes(trie, ib, &nb);
    int sign = memcmp(x, y, size_min(na, nb));
    if (sign == 0)
        sign = (na > nb) - (na < nb);
    return sign ? sign : (ia > ib) - (ia < ib);
}

/* What each token has and the one before it has not. */
static bool lay_out(struct token_trie *trie, struct token_trie_part *p, struct error *err)
{
    struct buffer rest = { 0 };
    size_t n_before = 0;
    const uint8_t *before = NULL;
    bool ok = buffer_append(&rest, "", 0, err);
    for (size_t i = 0; ok && i < p->n; i++) {
        size_t n, shared = 0;
        const uint8_t *bytes = token_trie_bytes(trie, p->ids[i], &n);
        while (shared < n && shared < n_before && bytes[shared] == before[shared])
            shared++;
        p->shared[i] = (uint16_t)shared;
        p->length[i] = (uint16_t)n;
        ok = buffer_append(&rest, bytes + shared, n - shared, err);
        before = bytes;
        n_before = n;
    }
    p->rest = (uint8_t *)rest.data;
    return ok;
}

static bool sort_part(struct token_trie *trie, size_t which, struct error *err)
{
    struct token_trie_part *p = &trie->parts[which];
    p->ids = mem_array(trie->vocab_size, sizeof *p->ids, "trie of tokens", err);
    p->shared = mem_array(trie->vocab_size, sizeof *p->shared, "trie of tokens", err);
    p->length = mem_array(trie->vocab_size, sizeof *p->length, "trie of tokens", err);
    if (!p->ids || !p->shared || !p->length)
        return false;
    for (size_t id = 0, n; id < trie->vocab_size; id++) {
        token_trie_bytes(trie, (int32_t)id, &n);
        if (n == 0 || (n > TOKEN_TRIE_SHORT) != which)
            continue;
        p->ids[p->n++] = (int32_t)id;
        p->longest = size_max(p->longest, n);
    }
    qsort_r(p->ids, p->n, sizeof *p->ids, order, trie);
    return lay_out(trie, p, err);
}

struct token_trie *token_trie_new(const struct tokenizer *t, size_t vocab_size, struct error *err)
{
    struct token_trie *trie = mem_array(1, sizeof *trie, "trie of tokens", err);
    if (!trie)
        return NULL;
    trie->vocab_size = vocab_size;
    trie->offset = mem_array(vocab_size + 1, sizeof *trie->offset, "trie of tokens", err);
    if (trie->offset && read_bytes(trie, t, err) && sort_part(trie, 0, err)
        && sort_part(trie, 1, err))
        return trie;
    token_trie_free(trie);
    return NULL;
}

void token_trie_free(struct token_trie *trie)
{
    if (!trie)
        return;
    free(trie->bytes);
    free(trie->offset);
    for (size_t i = 0; i < 2; i++) {
        free(trie->parts[i].ids);
        free(trie->parts[i].shared);
        free(trie->parts[i].length);
        free(trie->parts[i].rest);
    }
    free(trie);
}
