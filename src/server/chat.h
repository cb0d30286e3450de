/* chat.h - /v1/chat/completions: conversations, tools, reasoning, and its answers and streams
 * (chat/prompt.h, chat/answer.h). */
#ifndef SURPRISAL_SERVER_CHAT_H
#define SURPRISAL_SERVER_CHAT_H

#include "chat/prompt.h"
#include "server/job.h"

extern const struct job_form chat_form;

/* What a server sets for all chats.  Borrows everything. */
struct chat_rules {
    const struct prompt_template *template;     /* NULL: there is none, */
    const struct error *why;                    /* and why */
    const char *default_kwargs;                 /* JSON; NULL: none */
    bool no_reasoning;                          /* no parser of reasoning */
    bool auto_calls;                            /* --enable-auto-tool-choice */
    bool merge_system, plain_messages;
};

/* body: the request, of which text [n] is the JSON. */
struct chat_body {
    const struct value *value;
    const char *text;
    size_t n;
};

/* Reads the request into a new job.  A failure is in j->problem. */
bool chat_read(struct job *j, const struct chat_body *body, const struct request_rules *rules,
               const struct chat_rules *chat);
/* The prompt of a conversation as ids: *ids [*n], given.  *thinks may be NULL. */
bool chat_prompt(int32_t **ids, size_t *n, bool *thinks, const struct chat_body *body,
                 const struct chat_rules *chat, const struct tokenizer *tokenizer,
                 struct problem *p);

#endif
