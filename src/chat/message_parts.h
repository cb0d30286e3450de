/* message_parts.h - the parts of an answer (answer.h), gathered into a message. */
#ifndef SURPRISAL_CHAT_MESSAGE_PARTS_H
#define SURPRISAL_CHAT_MESSAGE_PARTS_H

#include "base/memory.h"
#include "chat/answer.h"

struct message_call {
    struct buffer name, arguments;      /* owned; arguments: JSON, incomplete if the answer was
                                           cut off there */
};

/* Zero-initialise; release with message_parts_free.  A text of 0 bytes is none. */
struct message_parts {
    struct buffer reasoning, content;   /* owned */
    struct message_call *calls;         /* owned [n_calls] */
    size_t n_calls, capacity;
};

/* More of the message, as answer_sink gives it. */
bool message_parts_add(struct message_parts *m, enum answer_part part, const char *text, size_t n,
                       struct error *err);
void message_parts_free(struct message_parts *m);

/* Appends "KEY": and the text as JSON; null for none. */
bool message_parts_append_text(struct buffer *json, const char *key, const struct buffer *text,
                               struct error *err);
/* Appends [{"name": text, "arguments": text}]. */
bool message_parts_append_calls(struct buffer *json, const struct message_parts *m,
                                struct error *err);

#endif
