/* utf8.h - well-formed UTF-8: no surrogates, no overlong forms, up to U+10FFFF. */
#ifndef SURPRISAL_BASE_UTF8_H
#define SURPRISAL_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes of the character at s, of which n > 0 bytes follow; 0 when it is not well-formed.  A NUL that
 * ends a string ends a character, too: with n unknown, 4 will do. */
size_t utf8_length(const char *s, size_t n);

/* Is the character at s, of one or two bytes, one that drives terminals: U+0000 to U+001F, U+007F to
 * U+009F? */
bool utf8_is_control(const char *s);

#endif
