/* utf8.h - well-formed UTF-8: no surrogates, no overlong forms, up to U+10FFFF. */
#ifndef SURPRISAL_BASE_UTF8_H
#define SURPRISAL_BASE_UTF8_H

#include <stddef.h>

/* Bytes of the character at s, of which n > 0 bytes follow; 0 when it is not well-formed.  A NUL that
 * ends a string ends a character, too: with n unknown, 4 will do. */
size_t utf8_length(const char *s, size_t n);

#endif
