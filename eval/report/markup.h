/* markup.h - writes text, HTML and XML into a buffer.
 *
 * The first failure (memory) is kept and makes all later calls do nothing, so that a page is written
 * as a list of statements and asked once, by markup_save. */
#ifndef SURPRISAL_EVAL_REPORT_MARKUP_H
#define SURPRISAL_EVAL_REPORT_MARKUP_H

#include "base/memory.h"

struct markup {
    struct buffer out;          /* owned; released by markup_save or markup_free */
    struct error *err;
    bool failed;
};

/* As it is: for our own text. */
void markup_raw(struct markup *m, const char *text);
/* printf, for our own text and numbers. */
__attribute__((format(printf, 2, 3)))
void markup_printf(struct markup *m, const char *format, ...);
/* Anybody's text, for HTML or XML, between tags or in a quoted attribute (base/escape.h).  NULL writes
 * nothing. */
void markup_text(struct markup *m, const char *text);

/* Writes the file (complete or not at all) and frees the buffer. */
bool markup_save(struct markup *m, const char *path);
void markup_free(struct markup *m);

#endif
