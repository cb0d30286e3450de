/* byte_level.h - GPT-2's alphabet: a printable character for each byte.
 *
 * Bytes that are printable in Latin-1 are written as themselves, the others as U+0100 and on, in
 * order (bytes_to_unicode in openai/gpt-2, src/encoder.py).  tokenizer.json writes its vocabulary
 * in these characters. */
#ifndef SURPRISAL_TOKENIZER_BYTE_LEVEL_H
#define SURPRISAL_TOKENIZER_BYTE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

/* The character of a byte, below U+0144. */
uint32_t byte_level_character(unsigned char byte);

/* Appends the n bytes as characters of the alphabet. */
bool byte_level_encode(struct buffer *out, const char *bytes, size_t n, struct error *err);

/* Appends the bytes that a token encodes.  A token with any character outside the alphabet (an
 * added token with a space, say) is appended as it is: the ByteLevel decoder's rule. */
bool byte_level_decode(struct buffer *out, const char *token, size_t n, struct error *err);

/* Appends the n bytes as UTF-8; each maximal ill-formed part becomes U+FFFD (Unicode 15, section
 * 3.9, "substitution of maximal subparts": what Rust's from_utf8_lossy does). */
bool byte_level_append_lossy(struct buffer *out, const char *bytes, size_t n, struct error *err);

#endif
