/* render: what a chat template makes of a conversation. */
#include <stdio.h>
#include <surprisal.h>

#include "commands.h"
#include "conversation.h"

struct settings {
    struct conversation_settings conversation;  /* first, as conversation_options needs it */
    const char *checkpoint, *tokenizer;
    bool ids, json;
};

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { 0 };
    int status = options_parse(c, &s, argc, argv);
    if (status != GO_ON)
        return status;
    if (!s.conversation.messages)
        return options_refuse(c, "--messages is missing");
    if (!s.checkpoint && !s.conversation.chat_template)
        return options_refuse(c, "a checkpoint or --chat-template is needed");
    if (s.ids && !s.checkpoint && !s.tokenizer)
        return options_refuse(c, "--ids needs a checkpoint or --tokenizer");
    if (s.ids && s.json)
        return options_refuse(c, "--ids and --json exclude each other: --json has the ids");
    return conversation_run(&s.conversation, s.checkpoint, s.tokenizer,
                            s.json ? CONVERSATION_JSON : s.ids ? CONVERSATION_IDS
                                                               : CONVERSATION_TEXT);
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    { .name = "ids", .help = "print the ids instead of the text", .parse = parse_switch,
      FIELD(ids) },
    { .name = "json", .help = "print {\"prompt\": ..., \"ids\": ...}", .parse = parse_switch,
      FIELD(json) },
    { .name = "tokenizer", .value = "PATH",
      .help = "a tokenizer.json, or a folder that holds one (default: the checkpoint's)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(tokenizer) },
};

const struct command command_render = {
    .name = "render",
    .arguments = "[CHECKPOINT] --messages FILE [options]",
    .summary = "Show what a chat template makes of a conversation.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .more_options = conversation_options, .n_more_options = CONVERSATION_OPTIONS,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, checkpoint), .run = run,
};
