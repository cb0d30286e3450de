#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>
#include <unistd.h>

#include "commands.h"
#include "progress.h"
#include "report.h"

enum { MOST_BIASES = 1024 };

struct bias_list {
    struct surprisal_logit_bias biases[MOST_BIASES];
    size_t n;
};

struct settings {
    struct progress_line progress;      /* first: the library's callbacks get a pointer to it */
    struct surprisal_generate_options generate;
    struct text_list stop;
    struct bias_list bias;
    bool json, on_terminal;
};

/* ---- output ------------------------------------------------------------------ */

/* Bytes of the control character at s, except tab and line feed; 0: it is another character. */
static size_t control_bytes(const char *s, size_t n)
{
    unsigned char c = (unsigned char)*s;
    if (c == 0xC2 && n > 1 && (unsigned char)s[1] < 0xA0)
        return 2;
    return (c < 0x20 && c != '\t' && c != '\n') || c == 0x7F;
}

/* What a model writes must not drive the terminal; a file gets it as it is. */
static void print_text(const struct settings *s, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t control = s->on_terminal ? control_bytes(text + i, n - i) : 0;
        if (control)
            putchar('?');
        else
            putchar(text[i]);
        i += control ? control : 1;
    }
    fflush(stdout);
}

static bool show_token(void *user, const struct surprisal_token *token)
{
    struct settings *s = user;
    /* The answer stands where the line of progress was. */
    progress_end(&s->progress);
    if (s->on_terminal)
        s->progress.shown = false;
    if (token->n_bytes)
        print_text(s, token->text, token->n_bytes);
    return true;
}

static void print_ids(const struct surprisal_generate_result *r)
{
    for (size_t i = 0; i < r->tokens; i++)
        printf("%s%d", i ? " " : "", (int)r->ids[i]);
}

static void print_speed(const struct surprisal_generate_result *r)
{
    static const char *const ends[] = {
        [SURPRISAL_FINISH_STOP] = "", [SURPRISAL_FINISH_LENGTH] = ", cut off at --max-tokens",
        [SURPRISAL_FINISH_CONTEXT] = ", cut off: the model's context is full",
        [SURPRISAL_FINISH_INTERRUPTED] = ", interrupted",
    };
    fprintf(stderr, "prompt: %zu tokens", r->prompt_tokens);
    if (r->prefill_seconds > 0)
        fprintf(stderr, ", %.1f tokens/s", (double)r->prompt_tokens / r->prefill_seconds);
    fprintf(stderr, "; answer: %zu tokens", r->tokens);
    if (r->tokens > 1 && r->decode_seconds > 0)
        fprintf(stderr, ", %.1f tokens/s", (double)(r->tokens - 1) / r->decode_seconds);
    fprintf(stderr, "%s\n", ends[r->finish]);
}

static int print_result(const struct settings *s, struct surprisal_generate_result *r)
{
    if (s->json)
        puts(r->json);
    else {
        if (!r->text)
            print_ids(r);
        putchar('\n');
        fflush(stdout);
        if (!s->progress.quiet)
            print_speed(r);
    }
    int status = r->finish == SURPRISAL_FINISH_INTERRUPTED ? INTERRUPTED : DONE;
    surprisal_generate_result_free(r);
    return status;
}

/* ---- the command --------------------------------------------------------------- */

static int generate(struct settings *s)
{
    struct surprisal_error err = { 0 };
    struct surprisal_generate_result result;
    s->generate.machine.progress = progress_begin(&s->progress);
    s->on_terminal = isatty(STDOUT_FILENO) == 1;
    if (!s->json)
        s->generate.token = show_token;
    bool ok = surprisal_generate(&s->generate, &result, &err);
    progress_end(&s->progress);
    return ok ? print_result(s, &result) : report_failure(&err);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings *s = calloc(1, sizeof *s);
    struct surprisal_error err = { 0 };
    if (!s)
        return options_fail("out of memory: the settings");
    s->generate = surprisal_generate_defaults();
    int status = options_parse(c, s, argc, argv);
    s->generate.stop = s->stop.texts;
    s->generate.n_stop = s->stop.n;
    s->generate.bias = s->bias.biases;
    s->generate.n_bias = s->bias.n;
    if (status == GO_ON && !surprisal_generate_check(&s->generate, &err))
        status = options_refuse(c, "%s", err.message);
    if (status == GO_ON)
        status = generate(s);
    free(s);
    return status;
}

/* ---- options -------------------------------------------------------------------- */

static bool parse_top_k(void *field, const char *value, const struct option *o)
{
    int32_t k = -1;
    if (strcmp(value, "-1") != 0 && !parse_id(&k, value, o))
        return false;
    *(int64_t *)field = k;
    return true;
}

static bool parse_fixed_seed(void *field, const char *value, const struct option *o)
{
    struct surprisal_sampling *sampling = field;
    sampling->random_seed = false;
    return parse_seed(&sampling->seed, value, o);
}

static bool parse_bias(void *field, const char *value, const struct option *o)
{
    struct bias_list *list = field;
    const char *equals = strchr(value, '=');
    char id[16];
    double bias;
    if (!equals || (size_t)(equals - value) >= sizeof id || list->n == MOST_BIASES)
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

#define FIELD(name) .field = offsetof(struct settings, name)
#define NUMBER(option, member, text) \
    { .name = option, .value = "X", .help = text, .parse = parse_number, \
      .expected = EXPECTED_NUMBER, FIELD(generate.sampling.member) }

static const struct choice compute_types[] = {
    { "f32", SURPRISAL_COMPUTE_F32 }, { "bf16", SURPRISAL_COMPUTE_BF16 }, { NULL, 0 }
};

static const struct option options[] = {
    { .name = "prompt", .value = "TEXT", .help = "the text to continue", .parse = parse_text,
      .expected = EXPECTED_TEXT, FIELD(generate.prompt) },
    { .name = "file", .value = "FILE", .help = "the same from a file (UTF-8; - is standard input)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(generate.text) },
    { .name = "ids", .value = "FILE", .help = "decimal token ids separated by white space",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(generate.ids) },
    { .name = "max-tokens", .value = "N",
      .help = "tokens of the answer, at most (generation_config.json's max_new_tokens,\n"
              "else 16)",
      .parse = parse_count, .expected = EXPECTED_COUNT, FIELD(generate.max_tokens) },
    { .name = "stop", .value = "TEXT",
      .help = "end before this text, which is cut off.  May be repeated",
      .parse = parse_list, .expected = "a text (at most 256)", FIELD(stop) },
    { .name = "ignore-eos", .help = "go on after tokens that end an answer", .parse = parse_switch,
      FIELD(generate.ignore_eos) },
    NUMBER("temperature", temperature, "0 to 2; 0: always the most probable token.  This and the\n"
           "options below: default generation_config.json, else off"),
    { .name = "top-k", .value = "N", .help = "draw from the N most probable tokens; 0 or -1: off",
      .parse = parse_top_k, .expected = "a whole number from -1 to 2147483647",
      FIELD(generate.sampling.top_k) },
    NUMBER("top-p", top_p, "draw from the most probable tokens that reach X together"),
    NUMBER("min-p", min_p, "draw from tokens at least X times as probable as the first"),
    NUMBER("presence-penalty", presence_penalty, "less of what is in the answer: -2 to 2"),
    NUMBER("frequency-penalty", frequency_penalty, "the same, times its count: -2 to 2"),
    NUMBER("repetition-penalty", repetition_penalty,
           "less of what is in prompt or answer: above 0; 1: off"),
    { .name = "logit-bias", .value = "ID=X",
      .help = "add X (-100 to 100) to the logit of a token.  May be repeated",
      .parse = parse_bias, .expected = "ID=X, a token id and a number (at most 1024)",
      FIELD(bias) },
    { .name = "seed", .value = "N", .help = "the same: the same answer (default: random)",
      .parse = parse_fixed_seed, .expected = EXPECTED_SEED, FIELD(generate.sampling) },
    { .name = "compute", .value = "f32|bf16",
      .help = "f32 (default), or activations rounded to BF16", .parse = parse_choice,
      .expected = "f32 or bf16", .choices = compute_types, FIELD(generate.machine.compute) },
    { .name = "memory", .value = "SIZE",
      .help = "most that the process may hold, all weights included (default: weights\n"
              "come and go as the system likes); less than it needs is refused",
      .parse = parse_size, .expected = EXPECTED_SIZE, FIELD(generate.machine.memory_bytes) },
    { .name = "tokenizer", .value = "PATH",
      .help = "folder or tokenizer.json (default: the checkpoint's)", .parse = parse_text,
      .expected = EXPECTED_TEXT, FIELD(generate.tokenizer) },
    OPTION_THREADS(FIELD(generate.machine.threads)),
    OPTION_ISA(FIELD(generate.machine.isa)),
    { .name = "json", .help = "print only the answer with its tokens, log-probabilities and times",
      .parse = parse_switch, FIELD(json) },
    { .name = "quiet", .help = "no progress, no speeds", .parse = parse_switch,
      FIELD(progress.quiet) },
    OPTION_PROGRESS(FIELD(progress.wanted)),
};

const struct command command_generate = {
    .name = "generate",
    .arguments = "CHECKPOINT (--prompt TEXT | --file FILE | --ids FILE) [options]",
    .summary = "Continue a text, token by token.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, generate.checkpoint),
    .operands_required = 1, .run = run,
};
