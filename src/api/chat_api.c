/* surprisal.h over src/chat: chat templates, prompts and answers. */
#include "surprisal.h"

#include <stdlib.h>
#include <string.h>

#include "api/public.h"
#include "chat/message.h"
#include "chat/prompt.h"
#include "generate/conversation.h"

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

static bool make(struct marked_text_builder *b, const struct surprisal_chat_template *t,
                 const struct surprisal_prompt_options *o, struct error *err)
{
    const struct prompt_request request = conversation_request(o);
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

/* ---- answers -------------------------------------------------------------------- */

static bool hand_on(void *user, const char *json, size_t n, struct error *err)
{
    const struct surprisal_answer_options *o = user;
    (void)n;
    if (o->delta(o->user, json))
        return true;
    err->interrupted = true;
    return error_set(err, "interrupted");
}

bool surprisal_parse_answer(const struct surprisal_answer_options *options, char **json,
                            struct surprisal_error *err)
{
    struct error inner = { 0 };
    struct buffer b = { 0 };
    struct surprisal_answer_options own = *options;
    const struct message_sink sink = { hand_on, &own };
    const struct message_request request = {
        .text = own.text, .n = conversation_text_bytes(own.text, own.n_bytes),
        .tools = own.tools, .tools_bytes = conversation_text_bytes(own.tools, own.tools_bytes),
        .rules = { .starts_in_thinking = !own.starts_in_content, .no_reasoning = own.no_reasoning,
                   .drop_calls = own.drop_calls },
        .tokenizer = (const struct tokenizer *)own.tokenizer, .at_length = own.at_length,
        .characters = own.delta_characters, .sink = own.delta ? &sink : NULL,
    };
    bool ok = own.text ? message_parse(&b, &request, &inner)
                       : error_set(&inner, "no answer is given");
    return public_tell(err, public_give_text(&b, ok, json, NULL, &inner), &inner);
}
