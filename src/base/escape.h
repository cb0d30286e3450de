/* escape.h - anybody's text in HTML or XML. */
#ifndef SURPRISAL_BASE_ESCAPE_H
#define SURPRISAL_BASE_ESCAPE_H

#include "memory.h"

/* Appends text for a place between tags or in a quoted attribute.  What XML 1.0 and HTML forbid cannot
 * be escaped: a line's end becomes U+21B5, other control characters their pictures (U+2400 and up), the
 * rest, and bytes that are not UTF-8, U+FFFD. */
bool escape_text(struct buffer *out, const char *text, struct error *err);

#endif
