/* value_json.h - values from and to JSON, as Python's json module has them.
 *
 * A reader of its own beside base/json.h, because a template prints what it gets: 1.0 and 1 differ,
 * integers have any length, keys keep their order, and a text may hold NUL (SERVE 2.8).  Strict
 * (RFC 8259): no NaN, no lone surrogates, no raw control characters, nothing behind the value.  Of
 * a repeated key the last value wins, as in Python. */
#ifndef SURPRISAL_CHAT_VALUE_JSON_H
#define SURPRISAL_CHAT_VALUE_JSON_H

#include "chat/value.h"

#define VALUE_JSON_DIGITS 4300  /* of an integer, as in Python */

/* text: n bytes, not kept.  The strings are marked as parts of a conversation if
 * `marked`. The error begins with "path: ", and names the byte. */
bool value_json_read(struct value *out, const char *text, size_t n, const char *path, bool marked,
                     struct workspace *w, struct error *err);

/* json.dumps(v, ensure_ascii=False), with an indent of that many spaces if it is not negative. */
bool value_json_write(struct marked_text_builder *b, const struct value *v, int indent,
                      struct workspace *w, struct error *err);
/* A string with its quotes, and the inside of one without. */
bool value_json_write_string(struct marked_text_builder *b, const struct marked_text *t,
                             struct error *err);
bool value_json_write_inside(struct marked_text_builder *b, const struct marked_text *t,
                             struct error *err);

#endif
