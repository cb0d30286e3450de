/* prompt.h - a conversation to the prompt that a model expects, as text and as ids.
 *
 * The template decides, as the checkpoint has it: chat_template.jinja, else chat_template of
 * tokenizer_config.json.  The templates of SERVE 4.2 get the variables that transformers gives them
 * (apply_chat_template): messages, tools, documents, add_generation_prompt, special tokens of
 * tokenizer_config.json, and what the caller adds. */
#ifndef SURPRISAL_CHAT_PROMPT_H
#define SURPRISAL_CHAT_PROMPT_H

#include "base/memory.h"
#include "chat/value.h"
#include "tokenizer/tokenizer.h"

/* A template and the special tokens beside it.  Threads may share it. */
struct prompt_template;

/* checkpoint: a folder.  file: a template that replaces the folder's.  Either may be NULL. */
struct prompt_template *prompt_template_open(const char *checkpoint, const char *file,
                                             struct error *err);
void prompt_template_close(struct prompt_template *t);

/* tokenizer_config.json of a checkpoint, or what a GGUF's metadata says instead; an empty object
 * where there is no such file. */
bool prompt_config_read(struct value *config, const char *checkpoint, struct workspace *w,
                        struct error *err);

enum prompt_thinking { PROMPT_THINKING_DEFAULT, PROMPT_THINKING_ON, PROMPT_THINKING_OFF };

struct prompt_request {
    /* JSON.  messages: a list, or an object as it is sent to
     * /v1/chat/completions, whose messages, tools, documents, reasoning_effort,
     * chat_template_kwargs, add_generation_prompt and continue_final_message count. */
    const char *messages, *tools, *kwargs;      /* the last two may be NULL */
    size_t messages_bytes, tools_bytes, kwargs_bytes;
    const char *defaults;               /* kwargs that all others go before; may be NULL */
    size_t defaults_bytes;
    const char *added;                  /* a list of messages that follow; may be NULL */
    size_t added_bytes;
    enum prompt_thinking thinking;      /* sets enable_thinking */
    bool no_generation_prompt;          /* without the beginning of an answer */
    bool continue_final_message;        /* ends with the last message's text */
    bool merge_system_messages;
};

/* Appends the prompt. */
bool prompt_make(struct marked_text_builder *out, const struct prompt_template *t,
                 const struct prompt_request *request, struct error *err);
/* *ids: [*n_ids], given.  With `plain`, what came from messages has no special tokens. */
bool prompt_encode(int32_t **ids, size_t *n_ids, const struct marked_text_builder *prompt,
                   bool plain, const struct tokenizer *t, struct error *err);

#endif
