/* escape.h - text from outside in HTML or XML. */
#ifndef SURPRISAL_BASE_ESCAPE_H
#define SURPRISAL_BASE_ESCAPE_H

#include "base/memory.h"

/* Appends text that is safe between tags and in a quoted attribute.  Some characters are forbidden
 * in XML 1.0 and HTML even when escaped: a newline becomes U+21B5, other control characters become
 * their pictures (U+2400 and up); everything else that is forbidden, and bytes that are not UTF-8,
 * becomes U+FFFD. */
bool escape_text(struct buffer *out, const char *text, struct error *err);

#endif
