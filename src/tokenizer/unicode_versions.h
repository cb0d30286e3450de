/* unicode_versions.h - where the Unicode data of our libraries and of Hugging Face's differ.
 *
 * `tokenizers` 0.23 splits with Oniguruma 6.9.10 (Unicode 16) and normalizes with the crate
 * unicode-normalization-alignments 0.1.12 (Unicode 9).  Debian 12 has PCRE2 10.42 (Unicode 14)
 * and utf8proc 2.8 (Unicode 15).  Ids must be theirs, so the differences stand here as two
 * tables, found by asking both sides for the class of each of the 1,112,064 code points
 * (tests/conformance/test_tokenizer.py repeats the comparison through whole tokenizers). */
#ifndef SURPRISAL_TOKENIZER_UNICODE_VERSIONS_H
#define SURPRISAL_TOKENIZER_UNICODE_VERSIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

/* A code point that PCRE2 classes differently, and one that PCRE2 classes as Oniguruma does
 * that one: same general category, script (as far as Han, Hiragana, Katakana and Hangul go),
 * \w and UTF-8 length. */
struct unicode_stand_in {
    uint32_t first, last;       /* the code points that are replaced */
    uint32_t stand_in;
};

extern const struct unicode_stand_in unicode_stand_ins[];
extern const size_t unicode_n_stand_ins;

/* The code point to show to PCRE2 instead of c; c itself nearly always. */
uint32_t unicode_stand_in(uint32_t c);

/* *subject: the n bytes of valid UTF-8 with stand-ins for what PCRE2 classes wrongly, byte
 * offsets unchanged: text itself when nothing is to be replaced, else a copy in `copy` (whose
 * former content is dropped). */
bool unicode_subject(const char **subject, const char *text, size_t n, struct buffer *copy,
                     struct error *err);

/* True for what Unicode 9 leaves unassigned and a later version normalizes or reorders: it must
 * pass a normalizer unchanged, as a starter that composes with nothing. */
bool unicode_inert(uint32_t c);

/* ---- UTF-8, valid by precondition ------------------------------------- */

/* The code point that starts at s, and its length in bytes. */
uint32_t utf8_get(const char *s, size_t *length);
/* Writes 1 to 4 bytes; gives their number. */
size_t utf8_put(char *out, uint32_t c);

#endif
