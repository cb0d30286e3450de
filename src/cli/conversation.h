/* conversation.h - `tokenize --messages`: a conversation to the ids or the text of its prompt. */
#ifndef SURPRISAL_CLI_CONVERSATION_H
#define SURPRISAL_CLI_CONVERSATION_H

#include <stdbool.h>
#include <surprisal.h>

#include "options.h"

enum conversation_system { CONVERSATION_STRICT, CONVERSATION_MERGE };
enum conversation_special { CONVERSATION_ALLOW, CONVERSATION_PLAIN };

struct conversation_settings {
    const char *messages;               /* NULL: no conversation */
    const char *tools, *chat_template, *kwargs;
    enum surprisal_thinking thinking;
    enum conversation_system system_messages;
    enum conversation_special special_tokens;
    bool no_generation_prompt, continue_final_message, as_text;
};

/* Of a conversation: the first option that is given without --messages, NULL if none is. */
const char *conversation_stray_option(const struct conversation_settings *s);
/* checkpoint, tokenizer: folders or NULL.  put_ids prints them.  Gives an exit status. */
int conversation_run(const struct conversation_settings *s, const char *checkpoint,
                     const char *tokenizer, void (*put_ids)(const int32_t *ids, size_t n));

#endif
