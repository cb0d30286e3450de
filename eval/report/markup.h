/* markup.h - writes text, HTML and XML into a buffer.
 *
 * After the first failure (memory) all later calls do nothing.  So a page is a plain list of
 * statements, and only markup_save reports the failure. */
#ifndef SURPRISAL_EVAL_REPORT_MARKUP_H
#define SURPRISAL_EVAL_REPORT_MARKUP_H

#include "base/memory.h"

struct markup {
    struct buffer out;          /* owned; released by markup_save or markup_free */
    struct error *err;
    bool failed;
};

/* Writes text as it is: for our own text. */
void markup_raw(struct markup *m, const char *text);
/* printf, for our own text and numbers. */
__attribute__((format(printf, 2, 3)))
void markup_printf(struct markup *m, const char *format, ...);
/* Writes text from outside for HTML or XML, between tags or in a quoted attribute (base/escape.h).
 * NULL writes nothing. */
void markup_text(struct markup *m, const char *text);

/* Writes the file (complete or not at all) and frees the buffer. */
bool markup_save(struct markup *m, const char *path);
void markup_free(struct markup *m);

#endif
