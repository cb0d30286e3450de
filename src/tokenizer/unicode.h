/* unicode.h - where the Unicode data of our libraries differ from Hugging Face's.
 *
 * `tokenizers` 0.23 splits with Oniguruma 6.9.10 (Unicode 16) and normalizes with the crate
 * unicode-normalization-alignments 0.1.12 (Unicode 9).  Debian 12 has PCRE2 10.42 (Unicode 14) and
 * utf8proc 2.8 (Unicode 15).  Our ids must equal theirs, so two tables list the differences.  They
 * were found by comparing the class of each of the 1,112,064 code points
 * (tests/conformance/test_tokenizer.py repeats that with whole tokenizers). */
#ifndef SURPRISAL_TOKENIZER_UNICODE_H
#define SURPRISAL_TOKENIZER_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

/* Code points that PCRE2 and Oniguruma class differently, and a stand-in: PCRE2 gives it the class
 * that Oniguruma gives them.  Class means general category, script (as far as Han, Hiragana,
 * Katakana and Hangul go) and \w; the UTF-8 length is the same. */
struct unicode_stand_in {
    uint32_t first, last;       /* the code points that are replaced */
    uint32_t stand_in;
};

extern const struct unicode_stand_in unicode_stand_ins[];
extern const size_t unicode_n_stand_ins;

/* The stand-in of c; nearly always c itself. */
uint32_t unicode_stand_in(uint32_t c);

/* *subject: the n bytes of valid UTF-8 with all code points replaced by their stand-ins; byte
 * offsets stay the same.  It is text itself when nothing is replaced, else a copy in `copy` (whose
 * old content is dropped). */
bool unicode_subject(const char **subject, const char *text, size_t n, struct buffer *copy,
                     struct error *err);

/* True for code points that are unassigned in Unicode 9 and that a later version normalizes or
 * reorders: they must pass a normalizer unchanged, as starters that compose with nothing. */
bool unicode_inert(uint32_t c);

#endif
