#include "generate_options.h"

#include <stdlib.h>
#include <string.h>

#include "conversation.h"

enum { QWEN3, NO_PARSER };

/* ---- settings -------------------------------------------------------------------- */

void generate_options_make_room(struct generate_settings *s)
{
    progress_end(&s->progress);
    if (s->view.on_terminal)
        s->progress.shown = false;
}

static bool show_delta(void *user, enum surprisal_chat_part part, const char *text, size_t n)
{
    struct generate_settings *s = user;
    generate_options_make_room(s);
    answer_view_delta(&s->view, part, text, n);
    return true;
}

int generate_options_parse(const struct command *c, struct generate_settings *s, int argc,
                           char **argv)
{
    s->generate = surprisal_generate_defaults();
    int status = options_parse(c, s, argc, argv);
    s->generate.stop = s->stop.texts;
    s->generate.n_stop = s->stop.n;
    s->generate.bias = s->bias.biases;
    s->generate.n_bias = s->bias.n;
    s->chat.prompt.plain_messages = s->special_tokens == CONVERSATION_PLAIN;
    s->chat.no_reasoning = s->reasoning_parser == NO_PARSER;
    if (!s->json)
        s->chat.delta = show_delta;
    return status;
}

int generate_options_check(const struct command *c, struct generate_settings *s,
                           bool (*check)(const struct surprisal_generate_options *,
                                         struct surprisal_error *))
{
    struct surprisal_error err = { 0 };
    if (!check(&s->generate, &err))
        return options_refuse(c, "%s", err.message);
    return hub_find(&s->hub, &s->generate.checkpoint, NULL);
}

const char *generate_options_of_chat(const struct generate_settings *s)
{
    const struct {
        bool given;
        const char *name;
    } chat[] = {
        { s->chat.system, "--system" }, { s->tools, "--tools" },
        { s->chat.prompt.thinking != SURPRISAL_THINKING_DEFAULT, "--thinking" },
        { s->chat.chat_template, "--chat-template" }, { s->chat.prompt.kwargs, "--kwargs" },
        { s->special_tokens != CONVERSATION_ALLOW, "--special-tokens-in-text" },
        { s->reasoning_parser != QWEN3, "--reasoning-parser" },
    };
    for (size_t i = 0; i < sizeof chat / sizeof *chat; i++)
        if (chat[i].given)
            return chat[i].name;
    return NULL;
}

bool generate_options_read(struct generate_settings *s, struct surprisal_error *err)
{
    struct surprisal_prompt_options *o = &s->chat.prompt;
    if (s->tools && !surprisal_read_text(s->tools, SURPRISAL_JOIN_RAW, &s->tools_text,
                                         &o->tools_bytes, err))
        return false;
    o->tools = s->tools_text;
    return true;
}

void generate_options_free(struct generate_settings *s)
{
    free(s->tools_text);
    s->tools_text = NULL;
}

/* ---- options -------------------------------------------------------------------- */

static bool parse_fixed_seed(void *field, const char *value, const struct option *o)
{
    struct surprisal_sampling *sampling = field;
    sampling->random_seed = false;
    return parse_seed(&sampling->seed, value, o);
}

static bool parse_bias(void *field, const char *value, const struct option *o)
{
    struct generate_biases *list = field;
    const char *equals = strchr(value, '=');
    char id[16];
    double bias;
    if (!equals || (size_t)(equals - value) >= sizeof id || list->n == GENERATE_MOST_BIASES)
        return false;
    memcpy(id, value, (size_t)(equals - value));
    id[equals - value] = '\0';
    struct surprisal_logit_bias *to = &list->biases[list->n];
    if (!parse_id(&to->id, id, o) || !parse_number(&bias, equals + 1, o))
        return false;
    to->value = (float)bias;
    list->n++;
    return true;
}

/* mtp:N */
static bool parse_speculative(void *field, const char *value, const struct option *o)
{
    return strncmp(value, "mtp:", 4) == 0 && parse_drafts(field, value + 4, o);
}

#define FIELD(name) .field = offsetof(struct generate_settings, name)
#define NUMBER(option, member, text) \
    { .name = option, .value = "X", .help = text, .parse = parse_number, \
      .expected = EXPECTED_NUMBER, FIELD(generate.sampling.member) }

static const struct choice compute_types[] = {
    { "f32", SURPRISAL_COMPUTE_F32 }, { "bf16", SURPRISAL_COMPUTE_BF16 }, { NULL, 0 }
};
static const struct choice kv_caches[] = {
    { "f32", SURPRISAL_KV_CACHE_F32 }, { "bf16", SURPRISAL_KV_CACHE_BF16 }, { NULL, 0 }
};
static const struct choice reasoning_parsers[] = {
    { "qwen3", QWEN3 }, { "none", NO_PARSER }, { NULL, 0 }
};

const struct option generate_options[GENERATE_OPTIONS] = {
    { .name = "system", .value = "TEXT", .help = "the system message of a chat",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(chat.system) },
    OPTION_THINKING(FIELD(chat.prompt.thinking)),
    OPTION_TOOLS(FIELD(tools)),
    OPTION_CHAT_TEMPLATE(FIELD(chat.chat_template)),
    OPTION_KWARGS(FIELD(chat.prompt.kwargs)),
    OPTION_SPECIAL_TOKENS(FIELD(special_tokens)),
    { .name = "reasoning-parser", .value = "NAME",
      .help = "of a chat: qwen3, or none: all is content, <think> included (default: qwen3)",
      .parse = parse_choice, .expected = "qwen3 or none", .choices = reasoning_parsers,
      FIELD(reasoning_parser) },
    { .name = "max-tokens", .value = "N",
      .help = "tokens of an answer, at most (generation_config.json's max_new_tokens,\n"
              "else: generate 16, chat up to the end of the context)",
      .parse = parse_count, .expected = EXPECTED_COUNT, FIELD(generate.max_tokens) },
    { .name = "stop", .value = "TEXT",
      .help = "end before this text, which is cut off.  May be repeated",
      .parse = parse_list, .expected = "a text (at most 256)", FIELD(stop) },
    { .name = "ignore-eos", .help = "go on after tokens that end an answer", .parse = parse_switch,
      FIELD(generate.ignore_eos) },
    { .name = "logit-bias", .value = "ID=X",
      .help = "add X (-100 to 100) to the logit of a token.  May be repeated",
      .parse = parse_bias, .expected = "ID=X, a token id and a number (at most 1024)",
      FIELD(bias) },
    { .name = "speculative", .value = "mtp:N",
      .help = "the checkpoint's MTP layer drafts N tokens (1 to 8), which one step checks:\n"
              "the same answers, sooner where most drafts are right (default: off)",
      .parse = parse_speculative, .expected = "mtp:N, with N from 1 to 8", FIELD(generate.mtp) },
    NUMBER("temperature", temperature, "0 to 2; 0: always the most probable token.  This and the\n"
           "options below: default generation_config.json, else off"),
    { .name = "top-k", .value = "N", .help = "draw from the N most probable tokens; 0 or -1: off",
      .parse = parse_from_minus_one, .expected = EXPECTED_FROM_MINUS_ONE,
      FIELD(generate.sampling.top_k) },
    NUMBER("top-p", top_p, "draw from the most probable tokens that reach X together"),
    NUMBER("min-p", min_p, "draw from tokens at least X times as probable as the first"),
    NUMBER("presence-penalty", presence_penalty, "less of what is in the answer: -2 to 2"),
    NUMBER("frequency-penalty", frequency_penalty, "the same, times its count: -2 to 2"),
    NUMBER("repetition-penalty", repetition_penalty,
           "less of what is in prompt or answer: above 0; 1: off"),
    { .name = "seed", .value = "N", .help = "the same: the same answer (default: random)",
      .parse = parse_fixed_seed, .expected = EXPECTED_SEED, FIELD(generate.sampling) },
    { .name = "compute", .value = "f32|bf16",
      .help = "f32 (default), or activations rounded to BF16", .parse = parse_choice,
      .expected = "f32 or bf16", .choices = compute_types, FIELD(generate.machine.compute) },
    { .name = "kv-cache-dtype", .value = "bf16|f32",
      .help = "how keys and values are kept (default: as --compute); bf16 takes half the\n"
              "memory, and rounds them if --compute is f32",
      .parse = parse_choice, .expected = "bf16 or f32", .choices = kv_caches,
      FIELD(generate.kv_cache) },
    { .name = "memory", .value = "SIZE",
      .help = "most that the process may hold, weights included: where not all have\n"
              "room, those stay that are used most (default: weights come and go as\n"
              "the system likes)",
      .parse = parse_size, .expected = EXPECTED_SIZE, FIELD(generate.machine.memory_bytes) },
    { .name = "tokenizer", .value = "PATH",
      .help = "folder or tokenizer.json (default: the checkpoint's)", .parse = parse_text,
      .expected = EXPECTED_TEXT, FIELD(generate.tokenizer) },
    OPTION_REVISION(FIELD(hub.revision)),
    OPTION_THREADS(FIELD(generate.machine.threads)),
    OPTION_ISA(FIELD(generate.machine.isa)),
    { .name = "json", .help = "print only answers with their tokens, log-probabilities and times",
      .parse = parse_switch, FIELD(json) },
    { .name = "quiet", .help = "no progress, no speeds", .parse = parse_switch,
      FIELD(progress.quiet) },
    OPTION_PROGRESS(FIELD(progress.wanted)),
};
