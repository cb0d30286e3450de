/* writer.h - JSON piece by piece: the first failure stays, so that only the end need be checked. */
#ifndef SURPRISAL_SERVER_WRITER_H
#define SURPRISAL_SERVER_WRITER_H

#include <stdint.h>

#include "base/memory.h"

#define WRITER_LEAST (-9999.0)  /* what JSON has for -infinity, as in vLLM */

struct writer {
    struct buffer *b;           /* borrowed */
    bool ok;
    struct error *err;
};

/* printf, of JSON. */
void writer_print(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* n bytes of UTF-8 as a string.  U+0085, U+2028 and U+2029 are escaped: some clients take them for
 * ends of lines, which end an event of a stream. */
void writer_text(struct writer *w, const char *text, size_t n);
/* A NUL-terminated text; NULL: null. */
void writer_word(struct writer *w, const char *text);
void writer_buffer(struct writer *w, const struct buffer *text);
/* A text, or null if it is empty. */
void writer_text_or_null(struct writer *w, const struct buffer *text);
/* All digits of a log-probability; never below WRITER_LEAST. */
void writer_logprob(struct writer *w, double x);
void writer_ids(struct writer *w, const int32_t *ids, size_t n);

#endif
