#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>

#include "commands.h"
#include "conversation.h"
#include "generate_options.h"
#include "report.h"
#include "vllm_flags.h"

enum { NO_PARSER, QWEN3 };
enum { NO_CALL_PARSER, QWEN3_CODER };

struct settings {
    struct generate_settings shared;    /* first, as generate_options needs it */
    struct surprisal_serve_options serve;
    struct text_list names, api_keys;
    int32_t port;
    unsigned reasoning_parser, call_parser, system_messages, special_tokens;
    const char *generation_config, *log_requests;
    const char *gpu_memory;             /* given: there is no GPU */
    bool quiet;
    FILE *log;                          /* owned; NULL: none */
};

/* ---- signals ------------------------------------------------------------------- */

static volatile sig_atomic_t n_signals, first_signal;

static void on_signal(int number)
{
    if (!n_signals)
        first_signal = number;
    n_signals++;
}

static void catch_signals(void)
{
    struct sigaction action = { .sa_handler = on_signal };
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static enum surprisal_serve_wish wish(void *user)
{
    (void)user;
    return n_signals == 0 ? SURPRISAL_SERVE_GO_ON
         : n_signals == 1 ? SURPRISAL_SERVE_DRAIN : SURPRISAL_SERVE_STOP;
}

/* ---- output ---------------------------------------------------------------------- */

static void notice(void *user, const char *line)
{
    const struct settings *s = user;
    if (!s->quiet)
        fprintf(stderr, "surprisal: %s\n", line);
}

static void warn(void *user, const char *message)
{
    (void)user;
    fprintf(stderr, "surprisal: warning: %s\n", message);
}

static void write_log(void *user, const char *json)
{
    struct settings *s = user;
    fprintf(s->log, "%s\n", json);
    fflush(s->log);
}

/* ---- the command ------------------------------------------------------------------ */

static int fill_options(const struct command *c, struct settings *s)
{
    struct surprisal_serve_options *o = &s->serve;
    const char *key = getenv("SURPRISAL_API_KEY");
    if (!s->api_keys.n && key && *key)
        s->api_keys.texts[s->api_keys.n++] = key;
    o->generate = s->shared.generate;
    o->generate.machine.progress = (struct surprisal_progress){ .warn = warn, .user = s };
    o->port = (unsigned)s->port;
    o->names = s->names.texts;
    o->n_names = s->names.n;
    o->api_keys = s->api_keys.texts;
    o->n_api_keys = s->api_keys.n;
    o->reasoning_parser = s->reasoning_parser == QWEN3;
    o->merge_system_messages = s->system_messages == CONVERSATION_MERGE;
    o->plain_messages = s->special_tokens == CONVERSATION_PLAIN;
    const char *config = s->generation_config;
    o->generation_config = !config || strcmp(config, "auto") == 0 ? NULL
                         : strcmp(config, "vllm") == 0 ? "" : config;
    o->notice = notice;
    o->wish = wish;
    if (o->auto_tool_choice && s->call_parser == NO_CALL_PARSER)
        return options_refuse(c, "--enable-auto-tool-choice needs --tool-call-parser");
    if (o->log_texts && !s->log_requests)
        return options_refuse(c, "--log-texts needs --log-requests");
    return GO_ON;
}

/* A checkpoint of the hub's cache is served by the name that was typed. */
static int find_checkpoint(struct settings *s)
{
    const char **checkpoint = &s->serve.generate.checkpoint, *typed = *checkpoint;
    int status = hub_find(&s->shared.hub, checkpoint, NULL);
    if (status != GO_ON || *checkpoint == typed || s->names.n)
        return status;
    s->names.texts[s->names.n++] = typed;
    s->names.texts[s->names.n++] = strrchr(typed, '/') ? strrchr(typed, '/') + 1 : typed;
    s->serve.n_names = s->names.n;
    return status;
}

static int open_log(struct settings *s)
{
    if (!s->log_requests)
        return GO_ON;
    s->log = fopen(s->log_requests, "a");
    s->serve.log = write_log;
    return s->log ? GO_ON : options_fail("%s: cannot be opened to append", s->log_requests);
}

static int serve(struct settings *s)
{
    struct surprisal_error err = { 0 };
    catch_signals();
    if (s->gpu_memory)
        notice(s, "--gpu-memory-utilization is not used: there is no GPU");
    if (!surprisal_serve(&s->serve, &err))
        return report_failure(&err);
    return first_signal == SIGINT ? INTERRUPTED : DONE;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings *s = calloc(1, sizeof *s);
    if (!s)
        return options_fail("out of memory: the settings");
    struct surprisal_error err = { 0 };
    s->serve = surprisal_serve_defaults();
    s->port = (int32_t)s->serve.port;
    int status = vllm_flags_refuse(c, argc, argv);
    if (status == GO_ON)
        status = generate_options_parse(c, &s->shared, argc, argv);
    if (status == GO_ON)
        status = fill_options(c, s);
    if (status == GO_ON && !surprisal_serve_check(&s->serve, &err))
        status = options_refuse(c, "%s", err.message);
    if (status == GO_ON)
        status = find_checkpoint(s);
    if (status == GO_ON)
        status = open_log(s);
    if (status == GO_ON)
        status = serve(s);
    if (s->log)
        fclose(s->log);
    free(s);
    return status;
}

/* ---- options ------------------------------------------------------------------------ */

static bool parse_cache(void *field, const char *value, const struct option *o)
{
    if (strcmp(value, "0") != 0)
        return parse_size(field, value, o);
    *(size_t *)field = 0;
    return true;
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct choice reasoning_parsers[] = {
    { "none", NO_PARSER }, { "qwen3", QWEN3 }, { NULL, 0 }
};
static const struct choice call_parsers[] = {
    { "qwen3_coder", QWEN3_CODER }, { "qwen3_xml", QWEN3_CODER }, { NULL, 0 }
};
static const struct choice system_messages[] = {
    { "strict", CONVERSATION_STRICT }, { "merge", CONVERSATION_MERGE }, { NULL, 0 }
};

static const struct option options[] = {
    { .name = "host", .value = "ADDRESS", .help = "address to listen at (default: 127.0.0.1)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(serve.host) },
    { .name = "port", .value = "N", .help = "0: any that is free, which is said (default: 8000)",
      .parse = parse_id, .expected = "a whole number from 0 to 65535", FIELD(port) },
    { .name = "max-model-len", .value = "N",
      .help = "tokens of a prompt and its answer, at most (default: the model's)",
      .parse = parse_context, .expected = EXPECTED_CONTEXT, FIELD(serve.context) },
    { .name = "served-model-name", .value = "NAME",
      .help = "the model's name in requests and answers (default: CHECKPOINT, and the last\n"
              "part of its path).  May be repeated",
      .parse = parse_list, .expected = EXPECTED_TEXT, FIELD(names) },
    { .name = "api-key", .value = "KEY",
      .help = "requests under /v1 must bring it (default: SURPRISAL_API_KEY, else none is\n"
              "needed).  May be repeated",
      .parse = parse_list, .expected = EXPECTED_TEXT, FIELD(api_keys) },
    { .name = "max-num-seqs", .value = "N", .help = "answers computed at once (default: 8)",
      .parse = parse_count, .expected = EXPECTED_COUNT, FIELD(serve.max_sequences) },
    { .name = "max-queue", .value = "N",
      .help = "requests that wait; more are refused with 429 (default: 1024)",
      .parse = parse_count, .expected = EXPECTED_COUNT, FIELD(serve.max_queue) },
    { .name = "request-timeout", .value = "S",
      .help = "seconds of a request as a whole (default: 3600)", .parse = parse_number,
      .expected = EXPECTED_NUMBER, FIELD(serve.request_timeout_seconds) },
    { .name = "reasoning-parser", .value = "qwen3|none",
      .help = "qwen3: thinking becomes `reasoning`; none (default): it is content",
      .parse = parse_choice, .expected = "qwen3 or none", .choices = reasoning_parsers,
      FIELD(reasoning_parser) },
    { .name = "enable-auto-tool-choice",
      .help = "the model may call tools by itself; needs --tool-call-parser",
      .parse = parse_switch, FIELD(serve.auto_tool_choice) },
    { .name = "tool-call-parser", .value = "NAME",
      .help = "qwen3_coder or qwen3_xml: two names of one parser", .parse = parse_choice,
      .expected = "qwen3_coder or qwen3_xml", .choices = call_parsers, FIELD(call_parser) },
    OPTION_CHAT_TEMPLATE(FIELD(serve.chat_template)),
    { .name = "default-chat-template-kwargs", .value = "JSON",
      .help = "chat_template_kwargs of requests that say nothing else, such as\n"
              "{\"enable_thinking\": false}",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(serve.default_kwargs) },
    { .name = "system-messages", .value = "MODE",
      .help = "merge: all of them become one in front; strict: as they are (default)",
      .parse = parse_choice, .expected = "strict or merge", .choices = system_messages,
      FIELD(system_messages) },
    OPTION_SPECIAL_TOKENS(FIELD(special_tokens)),
    { .name = "generation-config", .value = "WHICH",
      .help = "auto: the checkpoint's generation_config.json (default); vllm: none; or the\n"
              "folder of another",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(generation_config) },
    { .name = "max-logprobs", .value = "N",
      .help = "alternatives of a token that requests may ask for; -1: all (default: 20)",
      .parse = parse_from_minus_one, .expected = EXPECTED_FROM_MINUS_ONE,
      FIELD(serve.max_logprobs) },
    { .name = "prefix-cache", .value = "SIZE",
      .help = "states of prompts that are kept for others that begin alike; 0: none\n"
              "(default: 1G)",
      .parse = parse_cache, .expected = EXPECTED_SIZE ", or 0", FIELD(serve.prefix_cache_bytes) },
    { .name = "sse-keep-alive-interval", .value = "S",
      .help = "a comment in streams after so many silent seconds; 0: none (default: 10)",
      .parse = parse_number, .expected = EXPECTED_NUMBER, FIELD(serve.keep_alive_seconds) },
    { .name = "cors", .help = "let web pages of any origin ask", .parse = parse_switch,
      FIELD(serve.cors) },
    { .name = "log-requests", .value = "FILE", .help = "append a line of JSON for each request",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(log_requests) },
    { .name = "log-texts", .help = "these lines have prompts and answers", .parse = parse_switch,
      FIELD(serve.log_texts) },
    { .name = "gpu-memory-utilization", .value = "X",
      .help = "taken from the model card's command, and not used: there is no GPU",
      .parse = parse_text, .expected = EXPECTED_NUMBER, FIELD(gpu_memory) },
    { .name = "quiet", .help = "no lines about the work on stderr", .parse = parse_switch,
      FIELD(quiet) },
};

const struct command command_serve = {
    .name = "serve", .arguments = "CHECKPOINT [options]",
    .summary = "Answer requests of OpenAI's API over HTTP.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .more_options = generate_options + GENERATE_COMMON_FIRST, .n_more_options = GENERATE_COMMON,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, shared.generate.checkpoint),
    .operands_required = 1, .run = run,
};
