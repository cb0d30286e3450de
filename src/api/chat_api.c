/* surprisal.h over src/chat: chat templates and prompts. */
#include "surprisal.h"

#include <stdlib.h>
#include <string.h>

#include "api/public.h"
#include "chat/prompt.h"

/* struct surprisal_chat_template is never defined: a pointer to it is one to struct
 * prompt_template. */

struct surprisal_chat_template *
surprisal_chat_template_open(const char *checkpoint, const char *file, struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct prompt_template *t = prompt_template_open(checkpoint, file, &inner);
    public_tell(err, t != NULL, &inner);
    return (struct surprisal_chat_template *)t;
}

void surprisal_chat_template_close(struct surprisal_chat_template *t)
{
    prompt_template_close((struct prompt_template *)t);
}

static size_t length(const char *text, size_t n_bytes)
{
    return n_bytes || !text ? n_bytes : strlen(text);
}

static bool make(struct marked_text_builder *b, const struct surprisal_chat_template *t,
                 const struct surprisal_prompt_options *o, struct error *err)
{
    const struct prompt_request request = {
        .messages = o->messages, .messages_bytes = length(o->messages, o->messages_bytes),
        .tools = o->tools, .tools_bytes = length(o->tools, o->tools_bytes),
        .kwargs = o->kwargs, .kwargs_bytes = length(o->kwargs, o->kwargs_bytes),
        .thinking = o->thinking == SURPRISAL_THINKING_ON ? PROMPT_THINKING_ON
                  : o->thinking == SURPRISAL_THINKING_OFF ? PROMPT_THINKING_OFF
                  : PROMPT_THINKING_DEFAULT,
        .no_generation_prompt = o->no_generation_prompt,
        .continue_final_message = o->continue_final_message,
        .merge_system_messages = o->merge_system_messages,
    };
    if (!o->messages)
        return error_set(err, "no messages are given");
    return prompt_make(b, (const struct prompt_template *)t, &request, err);
}

bool surprisal_prompt(const struct surprisal_chat_template *t,
                      const struct surprisal_tokenizer *tokenizer,
                      const struct surprisal_prompt_options *options,
                      struct surprisal_prompt *prompt, struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct marked_text_builder b = { 0 };
    *prompt = (struct surprisal_prompt){ 0 };
    bool ok = make(&b, t, options, &inner)
           && (!tokenizer || prompt_encode(&prompt->ids, &prompt->n_ids, &b,
                                           options->plain_messages,
                                           (const struct tokenizer *)tokenizer, &inner));
    ok = public_give_text(&b.bytes, ok, &prompt->text, &prompt->n_bytes, &inner);
    if (!ok)
        surprisal_prompt_free(prompt);
    b.bytes = (struct buffer){ 0 };     /* given, or freed */
    marked_text_builder_free(&b);
    return public_tell(err, ok, &inner);
}

void surprisal_prompt_free(struct surprisal_prompt *prompt)
{
    free(prompt->text);
    free(prompt->ids);
    *prompt = (struct surprisal_prompt){ 0 };
}
