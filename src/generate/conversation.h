/* conversation.h - a conversation that grows: to the ids of each prompt by the chat template, and
 * answers back into it (chat/prompt.h). */
#ifndef SURPRISAL_GENERATE_CONVERSATION_H
#define SURPRISAL_GENERATE_CONVERSATION_H

#include "chat/message_parts.h"
#include "chat/prompt.h"
#include "generate/answer_reader.h"
#include "surprisal.h"

/* Zero-initialise; release with conversation_close. */
struct conversation {
    const struct surprisal_chat_settings *settings;     /* borrowed */
    struct prompt_template *template;
    struct workspace w;                 /* of the tools */
    struct value tools;                 /* as prompts have them; none: there are none */
    struct buffer added;                /* JSON: the messages so far, without brackets */
    bool waits;                         /* the last message has no answer yet */
};

/* Bytes of a text as surprisal.h counts them: with n_bytes 0 it ends with NUL, or is NULL. */
size_t conversation_text_bytes(const char *text, size_t n_bytes);
/* What surprisal.h calls a prompt's options, as src/chat has them. */
struct prompt_request conversation_request(const struct surprisal_prompt_options *o);

/* Refuses settings that contradict each other. */
bool conversation_check(const struct surprisal_chat_settings *settings, struct error *err);
/* folder: of the checkpoint.  Reads the settings' messages and tools. */
bool conversation_open(struct conversation *c, const struct surprisal_chat_settings *settings,
                       const char *folder, struct error *err);
void conversation_close(struct conversation *c);

/* Adds a message of a user or tool: n bytes, which must be UTF-8. */
bool conversation_add(struct conversation *c, enum surprisal_chat_role role, const char *text,
                      size_t n, struct error *err);
bool conversation_add_answer(struct conversation *c, const struct message_parts *m,
                             struct error *err);
/* Drops what was added since c->added had `size` bytes. */
void conversation_cut(struct conversation *c, size_t size, bool waits);

/* *ids: [*n_ids], given.  *thinks: whether the answer begins inside of thinking. */
bool conversation_prompt(const struct conversation *c, const struct tokenizer *tokenizer,
                         int32_t **ids, size_t *n_ids, bool *thinks, struct error *err);
/* For the answer to that prompt; user: what the settings' delta gets. */
bool conversation_open_reader(const struct conversation *c, struct answer_reader *r,
                              const struct tokenizer *tokenizer, bool thinks, void *user,
                              struct error *err);

#endif
