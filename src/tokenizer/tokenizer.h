/* tokenizer.h - tokenizer.json -> ids and back; equal to Hugging Face's `tokenizers`.
 *
 * Opaque; owns everything it holds; may be used by several threads at once. */
#ifndef SURPRISAL_TOKENIZER_TOKENIZER_H
#define SURPRISAL_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

struct tokenizer;

/* path: a tokenizer.json, or a folder that holds one; or a GGUF (gguf_tokenizer.h).  Unsupported
 * parts of the file are refused by name. */
struct tokenizer *tokenizer_open(const char *path, struct error *err);
void tokenizer_close(struct tokenizer *t);

/* The path of the file in use and the SHA-256 of its bytes, or of the tokenizer.json that was made
 * of a GGUF (hexadecimal). */
const char *tokenizer_path(const struct tokenizer *t);
const char *tokenizer_sha256(const struct tokenizer *t);
/* What the file leaves open and how it was decided, for a report; NULL: nothing. */
const char *tokenizer_note(const struct tokenizer *t);

/* Number of ids: the largest id + 1. */
size_t tokenizer_vocab_size(const struct tokenizer *t);
/* The id of a token by its content as in the file (the text of a special token), -1 if none. */
int32_t tokenizer_token_id(const struct tokenizer *t, const char *content);

/* text: n bytes of UTF-8 (may hold NUL).  *ids: [*n_ids], given (free).  No special tokens are
 * added.  Invalid UTF-8 is an error that names the byte offset.  Linear time. */
bool tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, int32_t **ids,
                      size_t *n_ids, struct error *err);
/* The same, except that bytes i with plain[i] not 0 belong to no added token, whatever they spell:
 * text from strangers cannot become a special token.  Refuses a tokenizer with added tokens that
 * are sought in normalized text, where bytes have other places.  plain NULL: tokenizer_encode. */
bool tokenizer_encode_plain(const struct tokenizer *t, const char *text, const uint8_t *plain,
                            size_t n, int32_t **ids, size_t *n_ids, struct error *err);
/* Appends the text to b; special tokens are kept.  An id without a token is an error. */
bool tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n_ids,
                      struct buffer *b, struct error *err);
/* Appends the bytes of one token, which may be a part of a character. */
bool tokenizer_append_bytes(const struct tokenizer *t, int32_t id, struct buffer *b,
                            struct error *err);

/* For text that comes token by token (token_text.h): appends the bytes of an id as it stands in a
 * text, at its beginning (is_first) or after others.  They may end inside a character. */
bool tokenizer_token_bytes(const struct tokenizer *t, int32_t id, bool is_first, struct buffer *b,
                           struct error *err);
/* Is there a token of this id?  A model's vocabulary may be larger. */
bool tokenizer_has_token(const struct tokenizer *t, int32_t id);
/* Does tokenizer.json call the token special? */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);
/* Is it one of its added tokens: special ones, tags such as <think>? */
bool tokenizer_is_added(const struct tokenizer *t, int32_t id);

#endif
