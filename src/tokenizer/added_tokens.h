/* added_tokens.h - the "added_tokens" of a tokenizer.json: strings that are searched in the text
 * before anything else, and that become one id each.
 *
 * Tokens with normalized = false are searched in the raw text.  The text between them is normalized
 * and searched for the other tokens, whose contents are normalized too.  The leftmost match wins,
 * and of those the longest (AddedVocabulary in `tokenizers`). */
#ifndef SURPRISAL_TOKENIZER_ADDED_TOKENS_H
#define SURPRISAL_TOKENIZER_ADDED_TOKENS_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pattern.h"
#include "tokenizer/vocabulary.h"

struct added_token {
    char *content;              /* owned; as in the file */
    char *searched;             /* owned; the string to search, and decoded text */
    size_t length;              /* of searched, in bytes */
    int32_t id;
    bool single_word;           /* not next to a word character     */
    bool lstrip, rstrip;        /* includes the white space on that side */
    bool normalized;
    bool special;               /* of the model's framing, not of a text */
};

/* The tokens of one kind, for the search. */
struct added_token_set {
    const struct added_token **tokens;  /* [n], by `searched` in byte order */
    size_t n;
    bool starts[256];                   /* bytes with which a token starts */
};

struct added_tokens {
    struct added_token *tokens;         /* [n], in order of id */
    size_t n;
    struct added_token_set raw, normalized;
    struct pattern *word;               /* matches a word character; NULL: not needed */
};

/* json: the array, or NULL.  Refuses ids that contradict the vocabulary, or that `tokenizers` would
 * not give (it gives the next free ones, in the order of the file).  Free it after a failure,
 * too. */
bool added_tokens_load(struct added_tokens *a, const cJSON *json, const struct vocabulary *v,
                       const struct normalizer *z, const char *path, struct error *err);
void added_tokens_free(struct added_tokens *a);

/* The token of an id or content, NULL if none. */
const struct added_token *added_tokens_by_id(const struct added_tokens *a, int32_t id);
const struct added_token *added_tokens_by_content(const struct added_tokens *a,
                                                  const char *content);

/* Receives the pieces of a text, in order. */
struct added_tokens_sink {
    bool (*text)(void *user, const char *text, size_t n, struct error *err);
    bool (*token)(void *user, int32_t id, struct error *err);
    void *user;
    struct pattern_scratch *matching;   /* for single_word */
    const uint8_t *plain;               /* [n] not 0: this byte belongs to no token; NULL: none */
};

/* Cuts the n bytes at the tokens of `set`, which is a->raw or a->normalized. */
bool added_tokens_split(const struct added_tokens *a, const struct added_token_set *set,
                        const char *text, size_t n, const struct added_tokens_sink *sink,
                        struct error *err);

#endif
