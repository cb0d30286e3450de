/* conversation.h - a conversation to its prompt, for `tokenize --messages` and `render`;
 * and options of all commands that make one. */
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

/* Rows that other commands have as well. */
extern const struct choice conversation_thinkings[], conversation_special_tokens[];
#define OPTION_TOOLS(place) \
    { .name = "tools", .value = "FILE", .help = "OpenAI's JSON: the tools that may be called", \
      .parse = parse_text, .expected = EXPECTED_TEXT, place }
#define OPTION_THINKING(place) \
    { .name = "thinking", .value = "on|off|default", \
      .help = "enable_thinking of the template (default: what the template does by itself)", \
      .parse = parse_choice, .expected = "on, off or default", \
      .choices = conversation_thinkings, place }
#define OPTION_CHAT_TEMPLATE(place) \
    { .name = "chat-template", .value = "FILE", \
      .help = "a template instead of the checkpoint's", .parse = parse_text, \
      .expected = EXPECTED_TEXT, place }
#define OPTION_KWARGS(place) \
    { .name = "kwargs", .value = "JSON", \
      .help = "an object: more variables of the template (chat_template_kwargs)", \
      .parse = parse_text, .expected = EXPECTED_TEXT, place }
#define OPTION_SPECIAL_TOKENS(place) \
    { .name = "special-tokens-in-text", .value = "MODE", \
      .help = "plain: special tokens that a message spells stay text; allow (default)", \
      .parse = parse_choice, .expected = "allow or plain", \
      .choices = conversation_special_tokens, place }

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
