/* bpe.h - byte pair encoding of one word (Sennrich et al., arXiv:1508.07909).
 *
 * A word starts as its bytes; of all neighbours that the file names as a merge, the pair of
 * lowest rank (the leftmost of those) is joined, until there is none.  O(n log n) in the length
 * of the word: candidates wait in a heap, symbols form a linked list. */
#ifndef SURPRISAL_TOKENIZER_BPE_H
#define SURPRISAL_TOKENIZER_BPE_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "tokenizer/vocabulary.h"

struct bpe_merge {
    uint64_t pair;              /* left id << 32 | right id; BPE_NO_PAIR when free */
    uint32_t rank;
    int32_t id;                 /* of the joined token */
};

struct bpe {
    struct vocabulary vocabulary;
    struct bpe_merge *merges;   /* open addressing, [mask + 1] */
    size_t mask;
    int32_t byte_ids[256];      /* the id of a byte's character, -1 when it has none */
    char *unk_token;            /* owned; NULL when the file names none */
    int32_t unk_id;             /* -1 when unk_token is not in the vocabulary */
    bool fuse_unk;              /* a run of unknown bytes is one unk_token */
    bool ignore_merges;         /* a word that is a token is not taken apart */
};

/* json: the "model" of a tokenizer.json.  Refuses other models than byte-level BPE by name, and
 * merges whose parts or result are no tokens.  On failure too it is to be freed. */
bool bpe_load(struct bpe *b, const cJSON *json, const char *path, struct error *err);
void bpe_free(struct bpe *b);

/* A growing list of ids.  Zero-initialise; owns ids. */
struct id_list {
    int32_t *ids;
    size_t n, capacity;
};
bool id_list_append(struct id_list *list, const int32_t *ids, size_t n, struct error *err);

struct bpe_symbol;
struct bpe_candidate;
struct bpe_cached_word;

/* What one thread needs to encode words of one text; words that come again are remembered. */
struct bpe_scratch {
    struct bpe_symbol *symbols;         /* of the word at hand */
    size_t symbols_capacity;
    struct bpe_candidate *heap;         /* merges that may be next */
    size_t n_heap, heap_capacity;
    struct buffer name;                 /* the word in the byte-level alphabet */
    struct bpe_cached_word *cache;      /* [cache_mask + 1] */
    size_t cache_mask;
    struct buffer cached_bytes;
    struct id_list cached_ids;
};

/* text_bytes: the size of the text to come, by which the cache is sized. */
bool bpe_scratch_init(struct bpe_scratch *s, size_t text_bytes, struct error *err);
void bpe_scratch_free(struct bpe_scratch *s);

/* Appends the ids of a word of n bytes.  A byte that is no token becomes unk_token, or, when the
 * file names none, nothing (as in `tokenizers`). */
bool bpe_encode_word(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t n,
                     struct id_list *out, struct error *err);

#endif
