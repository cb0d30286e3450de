#include "tokenizer/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "tokenizer/bpe_table.h"
#include "tokenizer/byte_level.h"

#define NO_SYMBOL UINT32_MAX
#define LONGEST_CACHED_WORD 128     /* bytes; longer words are seldom repeated */
#define CACHE_PROBES 4

/* A part of the word: symbols form a doubly linked list in text order. */
struct bpe_symbol {
    int32_t id;
    uint32_t previous, next;    /* NO_SYMBOL at the ends */
    bool merged_away;           /* now part of a symbol to its left */
};

struct bpe_candidate {
    uint64_t order;             /* rank << 32 | position: lowest rank first, then leftmost */
    int32_t id;                 /* what the pair becomes */
};

struct bpe_cached_word {
    uint64_t hash;
    size_t bytes, ids;          /* where they start in cached_bytes, cached_ids */
    uint32_t n_bytes, n_ids;    /* n_bytes == 0: free */
};

bool bpe_append_ids(struct id_list *list, const int32_t *ids, size_t n, struct error *err)
{
    if (!mem_grow(&list->ids, &list->capacity, list->n + n, sizeof *list->ids, "token ids", err))
        return false;
    for (size_t i = 0; i < n; i++)
        list->ids[list->n + i] = ids[i];
    list->n += n;
    return true;
}

/* ---- heap of candidates ------------------------------------------------ */

/* Four children a node: a heap of a million candidates is half as deep as with two, and a node's
 * children lie in one or two cache lines. */
#define CHILDREN 4

static void heap_push(struct bpe_scratch *s, struct bpe_candidate c)
{
    size_t i = s->n_heap++;
    for (; i > 0 && s->heap[(i - 1) / CHILDREN].order > c.order; i = (i - 1) / CHILDREN)
        s->heap[i] = s->heap[(i - 1) / CHILDREN];
    s->heap[i] = c;
}

static struct bpe_candidate heap_pop(struct bpe_scratch *s)
{
    struct bpe_candidate top = s->heap[0], last = s->heap[--s->n_heap];
    size_t i = 0;
    for (size_t first; (first = CHILDREN * i + 1) < s->n_heap; ) {
        size_t end = first + CHILDREN < s->n_heap ? first + CHILDREN : s->n_heap, least = first;
        for (size_t child = first + 1; child < end; child++)
            if (s->heap[child].order < s->heap[least].order)
                least = child;
        if (last.order <= s->heap[least].order)
            break;
        s->heap[i] = s->heap[least];
        i = least;
    }
    s->heap[i] = last;
    return top;
}

/* ---- one word ---------------------------------------------------------- */

/* Puts the pair that starts at symbol i on the heap if it can be merged. */
static void consider(const struct bpe *b, struct bpe_scratch *s, uint32_t i)
{
    if (i == NO_SYMBOL || s->symbols[i].next == NO_SYMBOL)
        return;
    const struct bpe_merge *m = bpe_merge_slot(b, bpe_pair(s->symbols[i].id,
                                                           s->symbols[s->symbols[i].next].id));
    if (m->pair != BPE_NO_PAIR)
        heap_push(s, (struct bpe_candidate){ (uint64_t)m->rank << 32 | i, m->id });
}

static void merge_all(const struct bpe *b, struct bpe_scratch *s, uint32_t n)
{
    s->n_heap = 0;
    for (uint32_t i = 0; i < n; i++)
        consider(b, s, i);
    while (s->n_heap) {
        struct bpe_candidate c = heap_pop(s);
        uint32_t i = (uint32_t)c.order;
        struct bpe_symbol *left = &s->symbols[i];
        if (left->merged_away || left->next == NO_SYMBOL)
            continue;
        struct bpe_symbol *right = &s->symbols[left->next];
        /* Either side may have been merged since; then this is another pair. */
        const struct bpe_merge *m = bpe_merge_slot(b, bpe_pair(left->id, right->id));
        if (m->pair == BPE_NO_PAIR || m->id != c.id)
            continue;
        left->id = c.id;
        right->merged_away = true;
        left->next = right->next;
        if (left->next != NO_SYMBOL)
            s->symbols[left->next].previous = i;
        consider(b, s, left->previous);
        consider(b, s, i);
    }
}

/* Makes the bytes of the word symbols; *n: their number. */
static bool first_symbols(const struct bpe *b, struct bpe_scratch *s, const char *word,
                          size_t n_bytes, uint32_t *n, struct error *err)
{
    uint32_t count = 0;
    bool after_unk = false;
    for (size_t i = 0; i < n_bytes; i++) {
        int32_t id = b->byte_ids[(unsigned char)word[i]];
        bool unknown = id < 0;
        if (unknown) {
            if (!b->unk_token)
                continue;
            if (b->unk_id < 0)
                return error_set(err, "byte 0x%02X is not in the vocabulary, and neither is "
                                 "unk_token '%s'", (unsigned char)word[i], b->unk_token);
            if (after_unk && b->fuse_unk)
                continue;
            id = b->unk_id;
        }
        after_unk = unknown;
        s->symbols[count] = (struct bpe_symbol){ id, count - 1, count + 1, false };
        count++;
    }
    if (count) {
        s->symbols[0].previous = NO_SYMBOL;
        s->symbols[count - 1].next = NO_SYMBOL;
    }
    *n = count;
    return true;
}

static bool encode(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t n_bytes,
                   struct id_list *out, struct error *err)
{
    if (b->ignore_merges) {
        s->name.size = 0;
        if (!byte_level_encode(&s->name, word, n_bytes, err))
            return false;
        int32_t id = vocabulary_find(&b->vocabulary, s->name.data, s->name.size);
        if (id >= 0)
            return bpe_append_ids(out, &id, 1, err);
    }
    if (n_bytes >= NO_SYMBOL)
        return error_set(err, "a word of %zu bytes is too long", n_bytes);
    /* At first the heap holds at most n - 1 pairs.  There are at most n - 1 merges; each removes
     * one pair and adds at most two. */
    uint32_t n;
    if (!mem_grow(&s->symbols, &s->symbols_capacity, n_bytes, sizeof *s->symbols, "a word", err)
        || !mem_grow(&s->heap, &s->heap_capacity, 2 * n_bytes, sizeof *s->heap, "a word", err)
        || !first_symbols(b, s, word, n_bytes, &n, err))
        return false;
    merge_all(b, s, n);
    for (uint32_t i = n ? 0 : NO_SYMBOL; i != NO_SYMBOL; i = s->symbols[i].next)
        if (!bpe_append_ids(out, &s->symbols[i].id, 1, err))
            return false;
    return true;
}

/* ---- repeated words ---------------------------------------------------- */

bool bpe_scratch_init(struct bpe_scratch *s, size_t text_bytes, struct error *err)
{
    *s = (struct bpe_scratch){ 0 };
    size_t n = 64;
    while (n < text_bytes / 16 && n < (size_t)1 << 16)
        n *= 2;
    s->cache_mask = n - 1;
    s->cache = mem_array(n, sizeof *s->cache, "cached words", err);
    return s->cache != NULL;
}

void bpe_scratch_free(struct bpe_scratch *s)
{
    free(s->symbols);
    free(s->heap);
    buffer_free(&s->name);
    free(s->cache);
    buffer_free(&s->cached_bytes);
    free(s->cached_ids.ids);
    *s = (struct bpe_scratch){ 0 };
}

bool bpe_encode_word(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t n,
                     struct id_list *out, struct error *err)
{
    if (n == 0 || n > LONGEST_CACHED_WORD)
        return encode(b, s, word, n, out, err);
    uint64_t hash = vocabulary_hash(word, n);
    struct bpe_cached_word *entry = NULL;
    for (size_t probe = 0; probe < CACHE_PROBES; probe++) {
        struct bpe_cached_word *e = &s->cache[(hash + probe) & s->cache_mask];
        if (e->n_bytes == n && e->hash == hash
            && memcmp(s->cached_bytes.data + e->bytes, word, n) == 0)
            return bpe_append_ids(out, s->cached_ids.ids + e->ids, e->n_ids, err);
        if (e->n_bytes == 0) {
            entry = e;
            break;
        }
    }
    size_t first = out->n, bytes = s->cached_bytes.size, ids = s->cached_ids.n;
    if (!encode(b, s, word, n, out, err))
        return false;
    if (!entry)                         /* all slots are taken: earlier words stay */
        return true;
    if (!buffer_append(&s->cached_bytes, word, n, err)
        || !bpe_append_ids(&s->cached_ids, out->ids + first, out->n - first, err))
        return false;
    *entry = (struct bpe_cached_word){ hash, bytes, ids, (uint32_t)n,
                                       (uint32_t)(out->n - first) };
    return true;
}
