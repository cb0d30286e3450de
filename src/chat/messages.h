/* messages.h - what clients send as a conversation, in the form that templates expect (SERVE 4.3).
 *
 * Clients of OpenAI's API send arguments of calls as text, content in parts, the role developer;
 * templates want objects, texts and system.  The rules are vLLM's (vllm/entrypoints/chat_utils.py),
 * except that what cannot be rendered is refused by message and part. */
#ifndef SURPRISAL_CHAT_MESSAGES_H
#define SURPRISAL_CHAT_MESSAGES_H

#include "chat/value.h"

#define MESSAGES_MOST 4096      /* messages of a conversation */
#define MESSAGES_TOOLS 128

struct messages_rules {
    bool merge_system;          /* all system messages become one, in front */
    bool parts;                 /* the template reads content in parts; else they are joined */
};

/* *out: a list of mappings.  given: a list of messages. */
bool messages_normalize(struct value *out, const struct value *given,
                        const struct messages_rules *rules, struct workspace *w,
                        struct error *err);
/* *out: a list of {type, function: {name, description, parameters, strict if it is given}}; none if
 * given is none. */
bool messages_normalize_tools(struct value *out, const struct value *given, struct workspace *w,
                              struct error *err);

#endif
