/* token_trie.h - the bytes of all tokens, laid out for walks that share beginnings.
 *
 * The trie is flat: tokens in the order of their bytes, each with the number of bytes that it
 * shares with the one before it.  Long tokens have a trie of their own: few, they would otherwise
 * decide how far ahead each walk looks (matcher.h).
 *
 * Tokens that are no text have bytes that UTF-8 lacks (graph.h): the tags of thinking and of calls
 * GRAPH_TAG and their number here, other added tokens and those with such bytes GRAPH_TAG and
 * GRAPH_OTHER_TAG. */
#ifndef SURPRISAL_GRAMMAR_TOKEN_TRIE_H
#define SURPRISAL_GRAMMAR_TOKEN_TRIE_H

#include <stdint.h>

#include "tokenizer/tokenizer.h"

#define TOKEN_TRIE_SHORT 16     /* bytes of the longest token in trie 0 */

enum token_trie_tag { TOKEN_TRIE_END_THINK, TOKEN_TRIE_CALL, TOKEN_TRIE_END_CALL, TOKEN_TRIE_TAGS };

struct token_trie_part {
    int32_t *ids;               /* [n], in the order of their bytes */
    uint16_t *shared, *length;  /* [n]: bytes equal to those of the token before; all bytes */
    uint8_t *rest;              /* of each token the bytes behind the shared ones */
    size_t n, longest;          /* longest: bytes of a token */
};

/* Owns everything; may be used by several threads at once. */
struct token_trie {
    uint8_t *bytes;             /* of all tokens */
    uint32_t *offset;           /* [vocab_size + 1]: where those of an id begin and the next's */
    size_t vocab_size;          /* the model's: ids without a token have no bytes */
    struct token_trie_part parts[2];
    bool has_tag[TOKEN_TRIE_TAGS];
};

/* vocab_size: of the model, at least the tokenizer's. */
struct token_trie *token_trie_new(const struct tokenizer *t, size_t vocab_size, struct error *err);
void token_trie_free(struct token_trie *trie);

/* How a tag is spelled: "</think>" ... */
const char *token_trie_tag_text(enum token_trie_tag tag);
/* The bytes of an id; none for an id that is out of range or no token. */
const uint8_t *token_trie_bytes(const struct token_trie *trie, int32_t id, size_t *n);

#endif
