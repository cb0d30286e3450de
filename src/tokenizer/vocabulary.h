/* vocabulary.h - the tokens of a BPE model: content as in the file <-> id.
 *
 * All contents lie in one block, one after another; an open-addressing table finds them. */
#ifndef SURPRISAL_TOKENIZER_VOCABULARY_H
#define SURPRISAL_TOKENIZER_VOCABULARY_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

struct vocabulary_token {
    size_t offset;              /* of the content in `text` */
    uint32_t length;            /* in bytes */
    int32_t id;
};

struct vocabulary_slot {
    uint32_t tag;               /* other bits of the hash, which avoid most comparisons */
    uint32_t token;             /* index + 1; 0 when free */
};

struct vocabulary {
    struct buffer text;                 /* all contents            */
    struct vocabulary_token *tokens;    /* [n], in order of id     */
    size_t n;
    struct vocabulary_slot *slots;      /* [mask + 1], a power of two */
    size_t mask;
};

/* json: the object "model.vocab".  Refuses ids that are not whole numbers of 31 bits, and an id or
 * a content that occurs twice.  Free the vocabulary after a failure, too. */
bool vocabulary_load(struct vocabulary *v, const cJSON *json, const char *path,
                     struct error *err);
void vocabulary_free(struct vocabulary *v);

/* The id of a content of n bytes, -1 if none. */
int32_t vocabulary_find(const struct vocabulary *v, const char *content, size_t n);
/* The content of an id (*n bytes, not NUL-terminated), NULL if none. */
const char *vocabulary_content(const struct vocabulary *v, int32_t id, size_t *n);

/* Hashes of n bytes and of a number, for tables whose size is a power of two. */
uint64_t vocabulary_hash(const char *bytes, size_t n);
uint64_t vocabulary_hash_mix(uint64_t x);

#endif
