/* conversation.h - a conversation to its prompt, for `tokenize --messages` and `render`. */
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

/* Options of both commands; their settings begin with a struct conversation_settings. */
#define CONVERSATION_OPTIONS 9
extern const struct option conversation_options[CONVERSATION_OPTIONS];

/* The first option that is given although --messages is not, NULL if none is. */
const char *conversation_stray_option(const struct conversation_settings *s);

/* What is printed: JSON has both, {"prompt": text, "ids": [...] or null}. */
enum conversation_form {
    CONVERSATION_TEXT, CONVERSATION_IDS, CONVERSATION_COUNT, CONVERSATION_JSON,
};

/* checkpoint, tokenizer: folders or NULL; with JSON and without both there are no ids.  Gives an
 * exit status. */
int conversation_run(const struct conversation_settings *s, const char *checkpoint,
                     const char *tokenizer, enum conversation_form form);

#endif
