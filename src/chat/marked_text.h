/* marked_text.h - text in which each byte knows whether it came from a conversation or from the
 * template, so that what a user wrote need not become special tokens (SERVE 4.3).
 *
 * Plain records of borrowed bytes: parts of a text are cheap, and carry its marks with them. */
#ifndef SURPRISAL_CHAT_MARKED_TEXT_H
#define SURPRISAL_CHAT_MARKED_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/memory.h"
#include "chat/workspace.h"

struct marked_text {
    const char *bytes;          /* UTF-8, NUL allowed */
    size_t n;
    const uint8_t *marks;       /* [n]; NULL: all bytes are as `marked` says */
    bool marked;                /* came from the conversation */
};

struct marked_text marked_text_plain(const char *bytes, size_t n);
struct marked_text marked_text_part(const struct marked_text *t, size_t begin, size_t end);
bool marked_text_equal(const struct marked_text *a, const struct marked_text *b);
/* Is it this NUL-terminated word? */
bool marked_text_is(const struct marked_text *t, const char *word);
/* Offset of the first occurrence at or behind `from`; t->n + 1 if there is none. */
size_t marked_text_find(const struct marked_text *t, const struct marked_text *sought, size_t from);
/* The number of characters. */
size_t marked_text_length(const struct marked_text *t);
/* What is left without the characters at either end that are in `set`, or that are white space to
 * Python (str.isspace) if set is NULL. */
struct marked_text marked_text_strip(const struct marked_text *t, const struct marked_text *set,
                                     bool left, bool right);
/* Is c white space to Python: of category Zs, or of the bidirectional types WS, B and S? */
bool marked_text_is_space(uint32_t c);

/* A text that grows.  Zero-initialise and set the limit; owns both buffers. */
struct marked_text_builder {
    struct buffer bytes, marks;
    size_t limit;               /* bytes; 0: none */
};

bool marked_text_append(struct marked_text_builder *b, const struct marked_text *t,
                        struct error *err);
bool marked_text_append_bytes(struct marked_text_builder *b, const char *bytes, size_t n,
                              bool marked, struct error *err);
/* A NUL-terminated word of the template. */
bool marked_text_append_word(struct marked_text_builder *b, const char *word, struct error *err);
/* Moves what was built to the workspace; the builder is free afterwards, also after a failure. */
bool marked_text_finish(struct marked_text *out, struct marked_text_builder *b,
                        struct workspace *w, struct error *err);
void marked_text_builder_free(struct marked_text_builder *b);

#endif
