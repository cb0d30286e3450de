/* encoding.h - what a file of text begins with and is made of: a byte order mark, UTF-8, UTF-16. */
#ifndef SURPRISAL_BASE_ENCODING_H
#define SURPRISAL_BASE_ENCODING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Refuses what is not UTF-8; the error names `path` and the first offending byte, or says that the
 * file is UTF-16. */
bool encoding_check(const char *text, size_t n, const char *path, struct error *err);
/* Refuses the byte order mark of UTF-16 only. */
bool encoding_refuse_utf16(const char *text, size_t n, const char *path, struct error *err);

/* Bytes of UTF-8's byte order mark at the start: 3, or 0 if there is none. */
size_t encoding_mark(const char *text, size_t n);

#endif
