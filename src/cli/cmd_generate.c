#include <stdio.h>
#include <stdlib.h>
#include <surprisal.h>

#include "commands.h"
#include "generate_options.h"
#include "report.h"

struct settings {
    struct generate_settings shared;    /* first, as generate_options needs it */
    bool chat;
};

/* ---- output ------------------------------------------------------------------ */

/* What comes before the first token. */
static void show_plan(void *user, const struct surprisal_generate_plan *plan)
{
    const struct generate_settings *s = user;
    if (!s->progress.shown)
        return;
    fprintf(stderr, "memory: at most %.3g GB: weights %.3g GB", (double)plan->memory_bytes / 1e9,
            (double)plan->weight_memory_bytes / 1e9);
    if (plan->weight_memory_bytes < plan->weight_bytes)
        fprintf(stderr, " of %.3g GB, the rest is read again", (double)plan->weight_bytes / 1e9);
    fprintf(stderr, ", keys and values %.3g GB (%s), buffers %.3g GB\n",
            (double)plan->kv_cache_bytes / 1e9, plan->kv_cache_bf16 ? "bf16" : "f32",
            (double)plan->buffer_bytes / 1e9);
}

static bool show_token(void *user, const struct surprisal_token *token)
{
    struct generate_settings *s = user;
    generate_options_make_room(s);
    if (token->n_bytes)
        answer_view_text(&s->view, token->text, token->n_bytes);
    return true;
}

static void print_ids(const struct surprisal_generate_result *r)
{
    for (size_t i = 0; i < r->tokens; i++)
        printf("%s%d", i ? " " : "", (int)r->ids[i]);
}

static int print_result(struct generate_settings *s, struct surprisal_generate_result *r)
{
    if (s->json)
        puts(r->json);
    else {
        if (!r->text)
            print_ids(r);
        answer_view_end(&s->view);
        if (!s->progress.quiet)
            answer_view_speed(stderr, r);
    }
    int status = r->finish == SURPRISAL_FINISH_INTERRUPTED ? INTERRUPTED : DONE;
    surprisal_generate_result_free(r);
    return status;
}

/* ---- the command --------------------------------------------------------------- */

static int generate(struct generate_settings *s)
{
    struct surprisal_error err = { 0 };
    struct surprisal_generate_result result;
    s->generate.machine.progress = progress_begin(&s->progress);
    s->view = answer_view_begin();
    s->generate.plan = show_plan;
    if (!s->json && !s->generate.chat)
        s->generate.token = show_token;
    bool ok = generate_options_read(s, &err) && surprisal_generate(&s->generate, &result, &err);
    progress_end(&s->progress);
    return ok ? print_result(s, &result) : report_failure(&err);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings *own = calloc(1, sizeof *own);
    if (!own)
        return options_fail("out of memory: the settings");
    struct generate_settings *s = &own->shared;
    int status = generate_options_parse(c, s, argc, argv);
    if (own->chat)
        s->generate.chat = &s->chat;
    else if (status == GO_ON && generate_options_of_chat(s))
        status = options_refuse(c, "%s needs --chat", generate_options_of_chat(s));
    if (status == GO_ON)
        status = generate_options_check(c, s, surprisal_generate_check);
    if (status == GO_ON)
        status = generate(s);
    generate_options_free(s);
    free(own);
    return status;
}

/* ---- options -------------------------------------------------------------------- */

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    { .name = "prompt", .value = "TEXT", .help = "the text to continue", .parse = parse_text,
      .expected = EXPECTED_TEXT, FIELD(shared.generate.prompt) },
    { .name = "file", .value = "FILE", .help = "the same from a file (UTF-8; - is standard input)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(shared.generate.text) },
    { .name = "ids", .value = "FILE", .help = "decimal token ids separated by white space",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(shared.generate.ids) },
    { .name = "chat",
      .help = "the prompt is a user's turn, put into the checkpoint's chat template",
      .parse = parse_switch, FIELD(chat) },
};

const struct command command_generate = {
    .name = "generate",
    .arguments = "CHECKPOINT (--prompt TEXT | --file FILE | --ids FILE) [options]",
    .summary = "Continue a text, or answer a turn of a chat, token by token.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .more_options = generate_options, .n_more_options = GENERATE_OPTIONS,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, shared.generate.checkpoint),
    .operands_required = 1, .run = run,
};
