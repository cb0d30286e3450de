/* charset.h - sets of characters, and how the bytes of one are written. */
#ifndef SURPRISAL_GRAMMAR_CHARSET_H
#define SURPRISAL_GRAMMAR_CHARSET_H

#include "grammar/graph.h"

#define CHARSET_LAST 0x10FFFFu

struct charset_range {
    uint32_t first, last;
};

/* Zero-initialise; owns ranges; release with charset_free.  After charset_tidy the ranges are
 * sorted, apart from each other, and without surrogates. */
struct charset {
    struct charset_range *ranges;
    size_t n, capacity;
};

bool charset_add(struct charset *s, uint32_t first, uint32_t last, struct error *err);
bool charset_tidy(struct charset *s, struct error *err);
/* What a tidy set lacks. */
bool charset_invert(struct charset *s, struct error *err);
void charset_free(struct charset *s);

enum charset_form {
    CHARSET_RAW,        /* UTF-8 */
    CHARSET_JSON,       /* as in a JSON string: UTF-8, and escapes only for ", \ and controls */
};

/* A node: one character of a tidy set. */
uint32_t charset_node(struct graph *g, const struct charset *s, enum charset_form form);
/* Appends one character. */
bool charset_write(struct buffer *b, uint32_t c, enum charset_form form, struct error *err);

#endif
