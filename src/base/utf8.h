/* utf8.h - well-formed UTF-8: no surrogates, no overlong forms, up to U+10FFFF. */
#ifndef SURPRISAL_BASE_UTF8_H
#define SURPRISAL_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at s, where n > 0 bytes are left; 0 when it is not well-formed.  In a
 * NUL-terminated string n may be 4: the NUL ends a broken character. */
size_t utf8_length(const char *s, size_t n);

/* Is the text well-formed?  If not, *bad_offset (may be NULL) is the first offending byte. */
bool utf8_valid(const char *text, size_t n, size_t *bad_offset);

/* Is the character at s a control character, which could drive a terminal (U+0000 to U+001F, U+007F
 * to U+009F)? */
bool utf8_is_control(const char *s);

/* ---- of text that is well-formed ---------------------------------------- */

/* The code point that starts at s, and its length in bytes. */
uint32_t utf8_get(const char *s, size_t *length);
/* Characters of n bytes. */
size_t utf8_count(const char *text, size_t n);
/* Writes 1 to 4 bytes; returns their number. */
size_t utf8_put(char *out, uint32_t c);

#endif
