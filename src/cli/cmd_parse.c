/* parse: what a model generated, as a message: reasoning, content and tool calls. */
#include <stdio.h>
#include <stdlib.h>
#include <surprisal.h>

#include "commands.h"

enum { FIRST, SECOND };                 /* of two words; the first one is the default */

struct settings {
    const char *file, *tools, *tokenizer;
    unsigned reasoning_parser, tool_call_parser, tool_choice, thinking, end;
    size_t stream;                      /* 0: no deltas */
};

/* What --stream alone means, beside numbers of characters. */
#define ONE_TOKEN ((size_t)-1)

static bool parse_stream(void *field, const char *value, const struct option *o)
{
    if (value[0] == '\0') {
        *(size_t *)field = ONE_TOKEN;
        return true;
    }
    return parse_count(field, value, o);
}

static bool print_delta(void *user, const char *json)
{
    (void)user;
    return puts(json) >= 0;
}

static bool parse_text_of(const struct settings *s, char **text, char **tools,
                          struct surprisal_tokenizer **t, char **json, struct surprisal_error *err)
{
    struct surprisal_answer_options o = {
        .starts_in_content = s->thinking == SECOND, .no_reasoning = s->reasoning_parser == SECOND,
        .drop_calls = s->tool_choice == SECOND, .at_length = s->end == SECOND,
        .delta = s->stream ? print_delta : NULL,
        .delta_characters = s->stream == ONE_TOKEN ? 0 : s->stream,
    };
    if (!surprisal_read_text(s->file, SURPRISAL_JOIN_RAW, text, &o.n_bytes, err)
        || (s->tools
            && !surprisal_read_text(s->tools, SURPRISAL_JOIN_RAW, tools, &o.tools_bytes, err))
        || (s->tokenizer && !(*t = surprisal_tokenizer_open(s->tokenizer, err))))
        return false;
    o.text = *text;
    o.tools = *tools;
    o.tokenizer = *t;
    return surprisal_parse_answer(&o, json, err);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { .file = "-" };
    struct surprisal_error err = { 0 };
    struct surprisal_tokenizer *t = NULL;
    char *text = NULL, *tools = NULL, *json = NULL;
    int status = options_parse(c, &s, argc, argv);
    if (status != GO_ON)
        return status;
    bool ok = parse_text_of(&s, &text, &tools, &t, &json, &err);
    if (ok && !s.stream)
        puts(json);
    free(text);
    free(tools);
    free(json);
    surprisal_tokenizer_close(t);
    return ok ? DONE : options_fail("%s", err.message);
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct choice reasoning_parsers[] = {
    { "qwen3", FIRST }, { "none", SECOND }, { NULL, 0 },
};
static const struct choice tool_call_parsers[] = {
    { "qwen3_coder", FIRST }, { "qwen3_xml", FIRST }, { NULL, 0 },
};
static const struct choice tool_choices[] = { { "auto", FIRST }, { "none", SECOND }, { NULL, 0 } };
static const struct choice thinkings[] = { { "on", FIRST }, { "off", SECOND }, { NULL, 0 } };
static const struct choice ends[] = { { "stop", FIRST }, { "length", SECOND }, { NULL, 0 } };

static const struct option options[] = {
    { .name = "tools", .value = "FILE",
      .help = "OpenAI's JSON: the tools of the prompt; without them calls are text",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(tools) },
    { .name = "thinking", .value = "on|off",
      .help = "whether the prompt ended inside of thinking (default: on)",
      .parse = parse_choice, .expected = "on or off", .choices = thinkings, FIELD(thinking) },
    { .name = "reasoning-parser", .value = "NAME",
      .help = "qwen3, or none: all is content, <think> included (default: qwen3)",
      .parse = parse_choice, .expected = "qwen3 or none", .choices = reasoning_parsers,
      FIELD(reasoning_parser) },
    { .name = "tool-call-parser", .value = "NAME",
      .help = "qwen3_coder or qwen3_xml, two names of one parser",
      .parse = parse_choice, .expected = "qwen3_coder or qwen3_xml", .choices = tool_call_parsers,
      FIELD(tool_call_parser) },
    { .name = "tool-choice", .value = "auto|none",
      .help = "none: calls are dropped (default: auto)",
      .parse = parse_choice, .expected = "auto or none", .choices = tool_choices,
      FIELD(tool_choice) },
    { .name = "end", .value = "stop|length",
      .help = "what ended generation: the model, or the limit (default: stop)",
      .parse = parse_choice, .expected = "stop or length", .choices = ends, FIELD(end) },
    { .name = "tokenizer", .value = "PATH",
      .help = "tags count only as tokens of their own (else wherever they are spelled out)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(tokenizer) },
    { .name = "stream", .value = "N",
      .help = "the deltas, one JSON a line, when the text comes in pieces of N characters;\n"
              "without N of one token, or one character without --tokenizer",
      .parse = parse_stream, .expected = EXPECTED_COUNT, .alone = "", .number = true,
      FIELD(stream) },
};

const struct command command_parse = {
    .name = "parse",
    .arguments = "[FILE] [options]",
    .summary = "Turn what a model generated into a message: reasoning, content and tool calls.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .operand = "FILE", .operand_field = offsetof(struct settings, file), .run = run,
};
