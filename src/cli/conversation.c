#include "conversation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *conversation_stray_option(const struct conversation_settings *s)
{
    const struct {
        bool given;
        const char *name;
    } options[] = {
        { s->tools, "--tools" }, { s->chat_template, "--chat-template" }, { s->kwargs, "--kwargs" },
        { s->thinking != SURPRISAL_THINKING_DEFAULT, "--thinking" },
        { s->no_generation_prompt, "--no-generation-prompt" },
        { s->continue_final_message, "--continue-final-message" },
        { s->system_messages != CONVERSATION_STRICT, "--system-messages" },
        { s->special_tokens != CONVERSATION_ALLOW, "--special-tokens-in-text" },
        { s->as_text, "--as-text" },
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (options[i].given)
            return options[i].name;
    return NULL;
}

static bool read_inputs(const struct conversation_settings *s, char **messages, char **tools,
                        struct surprisal_prompt_options *o, struct surprisal_error *err)
{
    if (!surprisal_read_text(s->messages, SURPRISAL_JOIN_RAW, messages, &o->messages_bytes, err))
        return false;
    if (s->tools && !surprisal_read_text(s->tools, SURPRISAL_JOIN_RAW, tools, &o->tools_bytes, err))
        return false;
    o->messages = *messages;
    o->tools = *tools;
    return true;
}

static bool make_prompt(const struct conversation_settings *s, const char *checkpoint,
                        const char *tokenizer, struct surprisal_prompt *prompt,
                        struct surprisal_error *err)
{
    struct surprisal_prompt_options o = {
        .kwargs = s->kwargs, .thinking = s->thinking,
        .no_generation_prompt = s->no_generation_prompt,
        .continue_final_message = s->continue_final_message,
        .merge_system_messages = s->system_messages == CONVERSATION_MERGE,
        .plain_messages = s->special_tokens == CONVERSATION_PLAIN,
    };
    struct surprisal_chat_template *template = NULL;
    struct surprisal_tokenizer *t = NULL;
    char *messages = NULL, *tools = NULL;
    bool ok = read_inputs(s, &messages, &tools, &o, err)
           && (template = surprisal_chat_template_open(checkpoint, s->chat_template, err))
           && (s->as_text || (t = surprisal_tokenizer_open(tokenizer, err)))
           && surprisal_prompt(template, t, &o, prompt, err);
    surprisal_tokenizer_close(t);
    surprisal_chat_template_close(template);
    free(messages);
    free(tools);
    return ok;
}

int conversation_run(const struct conversation_settings *s, const char *checkpoint,
                     const char *tokenizer, void (*put_ids)(const int32_t *ids, size_t n))
{
    struct surprisal_error err = { 0 };
    struct surprisal_prompt prompt;
    if (!make_prompt(s, checkpoint, tokenizer ? tokenizer : checkpoint, &prompt, &err))
        return options_fail("%s", err.message);
    if (s->as_text)
        fwrite(prompt.text, 1, prompt.n_bytes, stdout);
    else
        put_ids(prompt.ids, prompt.n_ids);
    surprisal_prompt_free(&prompt);
    return DONE;
}
