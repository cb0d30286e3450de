/* bpe.h - byte pair encoding of one word (Sennrich et al., arXiv:1508.07909).
 *
 * A word starts as its bytes.  Each step joins the pair of neighbours with the lowest rank (the
 * leftmost of equal ones), until no pair is a merge of the file.  O(n log n) in the length of the
 * word: candidates are kept in a heap, symbols in a linked list. */
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
    int32_t byte_ids[256];      /* the id of each byte's character, -1: none */
    char *unk_token;            /* owned; NULL: the file names none */
    int32_t unk_id;             /* -1 when unk_token is not in the vocabulary */
    bool fuse_unk;              /* a run of unknown bytes is one unk_token */
    bool ignore_merges;         /* a word that is a token is not split */
};

/* json: the "model" of a tokenizer.json.  Refuses other models than byte-level BPE by name, and
 * merges whose parts or result are not tokens.  Free it after a failure, too. */
bool bpe_load(struct bpe *b, const cJSON *json, const char *path, struct error *err);
void bpe_free(struct bpe *b);

/* A growing list of ids.  Zero-initialise; owns ids. */
struct id_list {
    int32_t *ids;
    size_t n, capacity;
};
bool bpe_append_ids(struct id_list *list, const int32_t *ids, size_t n, struct error *err);

struct bpe_symbol;
struct bpe_candidate;
struct bpe_cached_word;

/* What one thread needs to encode the words of one text; repeated words are cached. */
struct bpe_scratch {
    struct bpe_symbol *symbols;         /* of the current word */
    size_t symbols_capacity;
    struct bpe_candidate *heap;         /* merges that may be next */
    size_t n_heap, heap_capacity;
    struct buffer name;                 /* the word in the byte-level alphabet */
    struct bpe_cached_word *cache;      /* [cache_mask + 1] */
    size_t cache_mask;
    struct buffer cached_bytes;
    struct id_list cached_ids;
};

/* text_bytes: size of the text, which decides the size of the cache. */
bool bpe_scratch_init(struct bpe_scratch *s, size_t text_bytes, struct error *err);
void bpe_scratch_free(struct bpe_scratch *s);

/* Appends the ids of a word of n bytes.  A byte that is not a token becomes unk_token, or is
 * dropped when the file names none (as in `tokenizers`). */
bool bpe_encode_word(const struct bpe *b, struct bpe_scratch *s, const char *word, size_t n,
                     struct id_list *out, struct error *err);

#endif
