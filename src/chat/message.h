/* message.h - an answer as the JSON of a message, or of its deltas. */
#ifndef SURPRISAL_CHAT_MESSAGE_H
#define SURPRISAL_CHAT_MESSAGE_H

#include "chat/answer.h"
#include "tokenizer/tokenizer.h"

/* One delta, n bytes of JSON: {"reasoning": text}, {"content": text},
 * {"tool_calls": [{"index", "name", "arguments": ""}]} when a call begins,
 * {"tool_calls": [{"index", "arguments": text}]}, and at last {"finish_reason": text}. */
struct message_sink {
    bool (*delta)(void *user, const char *json, size_t n, struct error *err);
    void *user;
};

struct message_request {
    const char *text;           /* the answer: n bytes of UTF-8 */
    size_t n;
    const char *tools;          /* JSON; NULL: none */
    size_t tools_bytes;
    struct answer_rules rules;  /* tools and tags_are_tokens are set here */
    const struct tokenizer *tokenizer;  /* NULL: tags count where they are spelled out */
    bool at_length;
    /* The pieces in which the text comes: of so many characters; 0: of one token, or one character
     * without tokenizer. */
    size_t characters;
    const struct message_sink *sink;    /* NULL: no deltas, and the text comes as a whole */
};

/* Appends {"reasoning": text or null, "content": text or null, "tool_calls": [{"name",
 * "arguments": text}], "finish_reason": text}. */
bool message_parse(struct buffer *json, const struct message_request *request, struct error *err);

#endif
