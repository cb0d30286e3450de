#include "conversation.h"

#include <stdio.h>
#include <stdlib.h>

#include "jsonl.h"

#define FIELD(name) .field = offsetof(struct conversation_settings, name)

const struct choice conversation_thinkings[] = {
    { "on", SURPRISAL_THINKING_ON }, { "off", SURPRISAL_THINKING_OFF },
    { "default", SURPRISAL_THINKING_DEFAULT }, { NULL, 0 },
};
static const struct choice system_messages[] = {
    { "strict", CONVERSATION_STRICT }, { "merge", CONVERSATION_MERGE }, { NULL, 0 },
};
const struct choice conversation_special_tokens[] = {
    { "allow", CONVERSATION_ALLOW }, { "plain", CONVERSATION_PLAIN }, { NULL, 0 },
};

const struct option conversation_options[CONVERSATION_OPTIONS] = {
    { .name = "messages", .value = "FILE",
      .help = "a conversation: OpenAI's JSON, a list of messages or an object with them;\n"
              "its prompt is made by the chat template of the checkpoint",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(messages) },
    OPTION_TOOLS(FIELD(tools)),
    OPTION_THINKING(FIELD(thinking)),
    OPTION_CHAT_TEMPLATE(FIELD(chat_template)),
    OPTION_KWARGS(FIELD(kwargs)),
    { .name = "no-generation-prompt", .help = "without the beginning of an answer",
      .parse = parse_switch, FIELD(no_generation_prompt) },
    { .name = "continue-final-message", .help = "end with the text of the last message",
      .parse = parse_switch, FIELD(continue_final_message) },
    { .name = "system-messages", .value = "MODE",
      .help = "merge: all of them become one in front; strict: as they are (default)",
      .parse = parse_choice, .expected = "strict or merge", .choices = system_messages,
      FIELD(system_messages) },
    OPTION_SPECIAL_TOKENS(FIELD(special_tokens)),
};

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

/* tokenizer NULL: no ids. */
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
           && (!tokenizer || (t = surprisal_tokenizer_open(tokenizer, err)))
           && surprisal_prompt(template, t, &o, prompt, err);
    surprisal_tokenizer_close(t);
    surprisal_chat_template_close(template);
    free(messages);
    free(tools);
    return ok;
}

static void put_json(const struct surprisal_prompt *prompt)
{
    fputs("{\"prompt\": ", stdout);
    jsonl_put_string(stdout, prompt->text, prompt->n_bytes);
    fputs(prompt->ids ? ", \"ids\": [" : ", \"ids\": null}\n", stdout);
    if (!prompt->ids)
        return;
    jsonl_put_ids(stdout, prompt->ids, prompt->n_ids, ", ");
    fputs("]}\n", stdout);
}

int conversation_run(const struct conversation_settings *s, const char *checkpoint,
                     const char *tokenizer, enum conversation_form form)
{
    struct surprisal_error err = { 0 };
    struct surprisal_prompt prompt;
    tokenizer = form == CONVERSATION_TEXT ? NULL : tokenizer ? tokenizer : checkpoint;
    if (!make_prompt(s, checkpoint, tokenizer, &prompt, &err))
        return options_fail("%s", err.message);
    if (form == CONVERSATION_TEXT)
        fwrite(prompt.text, 1, prompt.n_bytes, stdout);
    else if (form == CONVERSATION_JSON)
        put_json(&prompt);
    else if (form == CONVERSATION_COUNT)
        printf("%zu\n", prompt.n_ids);
    else {
        jsonl_put_ids(stdout, prompt.ids, prompt.n_ids, " ");
        putchar('\n');
    }
    surprisal_prompt_free(&prompt);
    return DONE;
}
