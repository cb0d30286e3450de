/* chat: lines of standard input are turns of a conversation. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>
#include <unistd.h>

#include "commands.h"
#include "generate_options.h"
#include "jsonl.h"
#include "line_input.h"
#include "report.h"

struct settings {
    struct generate_settings shared;    /* first, as generate_options needs it */
    const char *messages;               /* file */
    size_t context;
};

/* A chat at work. */
struct talk {
    struct generate_settings *s;
    struct surprisal_chat *chat;
    struct line_input input;
    struct surprisal_generate_result last;      /* the last answer; all zero: none */
    struct surprisal_chat_message *messages;    /* owned [n], like their texts: the next turn */
    size_t n;
    bool person;                        /* standard input is a terminal, */
    bool signs;                         /* and so is standard output */
    bool failed;                        /* a turn failed */
};

/* ---- answers ------------------------------------------------------------------- */

/* A failed turn is gone, and the conversation as it was. */
static void report_turn(struct talk *t, const struct surprisal_error *err)
{
    struct surprisal_error safe = { 0 };
    const char *message = surprisal_printable(&safe, err->message);
    report_failure(err);
    t->failed |= !err->interrupted;
    if (!t->s->json)
        return;
    fputs("{\"error\": ", stdout);
    jsonl_put_string(stdout, message, strlen(message));
    fputs("}\n", stdout);
    fflush(stdout);
}

static void show_answer(struct talk *t)
{
    struct generate_settings *s = t->s;
    if (s->json) {
        puts(t->last.json);
        fflush(stdout);
        return;
    }
    answer_view_end(&s->view);
    if (!s->progress.quiet)
        answer_view_speed(stderr, &t->last);
}

/* After a signal: a person's Ctrl-C was meant for the answer, and the conversation goes on; in a
 * pipe, and by any other signal, the program ends. */
static int settle_signal(const struct talk *t)
{
    if (!progress_interrupted())
        return GO_ON;
    if (progress_interrupted() != SIGINT || !t->person)
        return INTERRUPTED;
    progress_forget();
    return GO_ON;
}

/* Sends what was read; GO_ON or the exit status. */
static int answer(struct talk *t)
{
    struct generate_settings *s = t->s;
    struct surprisal_error err = { 0 };
    surprisal_generate_result_free(&t->last);
    progress_begin(&s->progress);
    bool ok = surprisal_chat_send(t->chat, t->messages, t->n, &t->last, &err);
    progress_end(&s->progress);
    if (ok)
        show_answer(t);
    else {
        if (s->view.begun)
            answer_view_end(&s->view);
        report_turn(t, &err);
        t->last = (struct surprisal_generate_result){ 0 };
    }
    int status = settle_signal(t);
    progress_begin(&s->progress);       /* the next signal counts anew */
    return ferror(stdout) ? FAILED : status;
}

/* ---- turns ---------------------------------------------------------------------- */

static void show_sign(const struct talk *t, const char *call)
{
    if (!t->signs)
        return;
    if (call) {
        fputs("result of ", stdout);
        answer_view_text(&t->s->view, call, strlen(call));
    }
    fputs("> ", stdout);
    fflush(stdout);
}

/* The next line; call: whose result it is, or NULL.  An empty line is no user's turn, but it may be
 * a result. */
static int read_line(struct talk *t, const char *call, char **line, size_t *n)
{
    const struct surprisal_error too_long = {
        .message = "standard input: a line is longer than 32 MiB"
    };
    for (;;) {
        show_sign(t, call);
        switch (line_input_next(&t->input, line, n)) {
        case LINE_INPUT_READ:
            if (*n || call)
                return GO_ON;
            break;
        case LINE_INPUT_TOO_LONG:
            report_turn(t, &too_long);
            break;
        case LINE_INPUT_END:
            return t->failed ? FAILED : DONE;
        case LINE_INPUT_INTERRUPTED:
            return INTERRUPTED;
        case LINE_INPUT_FAILED:
            return options_fail("standard input: cannot read: %s", strerror(errno));
        }
    }
}

static void free_messages(struct talk *t)
{
    for (size_t i = 0; i < t->n; i++)
        free((char *)t->messages[i].text);
    free(t->messages);
    t->messages = NULL;
    t->n = 0;
}

/* A turn of the user, or the results of the calls that the last answer ended with. */
static int read_turn(struct talk *t)
{
    bool results = t->last.wants_results;
    size_t wanted = results ? t->last.n_calls : 1;
    free_messages(t);
    t->messages = calloc(wanted, sizeof *t->messages);
    while (t->messages && t->n < wanted) {
        struct surprisal_chat_message *m = &t->messages[t->n];
        char *line, *text;
        int status = read_line(t, results ? t->last.calls[t->n].name : NULL, &line, &m->n_bytes);
        if (status != GO_ON)
            return status;
        if (!(text = malloc(m->n_bytes + 1)))
            break;
        memcpy(text, line, m->n_bytes);
        m->text = text;
        m->role = results ? SURPRISAL_CHAT_TOOL : SURPRISAL_CHAT_USER;
        t->n++;
    }
    return t->n == wanted ? GO_ON : options_fail("out of memory: a turn");
}

static int talk(struct talk *t)
{
    int status = surprisal_chat_waits(t->chat) ? answer(t) : GO_ON;
    while (status == GO_ON) {
        status = read_turn(t);
        if (status == GO_ON)
            status = answer(t);
        else if (t->signs)
            putchar('\n');
    }
    return status;
}

/* ---- the command ----------------------------------------------------------------- */

static void say_size(const struct talk *t)
{
    struct surprisal_chat_size size = surprisal_chat_size(t->chat);
    if (t->s->json || t->s->progress.quiet)
        return;
    fprintf(stderr, "context: %zu tokens; memory when it is full: %.1f MB%s\n", size.context,
            (double)size.memory_bytes / 1e6, t->person ? "; Ctrl-D ends the chat" : "");
}

static int chat(struct settings *own)
{
    struct generate_settings *s = &own->shared;
    struct surprisal_error err = { 0 };
    struct talk t = { .s = s, .person = isatty(STDIN_FILENO) == 1 };
    char *messages = NULL;
    s->generate.machine.progress = progress_begin(&s->progress);
    s->view = answer_view_begin();
    t.signs = t.person && s->view.on_terminal && !s->json;
    bool ok = generate_options_read(s, &err)
           && (!own->messages || surprisal_read_text(own->messages, SURPRISAL_JOIN_RAW, &messages,
                                                     &s->chat.prompt.messages_bytes, &err));
    s->chat.prompt.messages = messages;
    ok = ok && (t.chat = surprisal_chat_open(&s->generate, own->context, &err));
    progress_end(&s->progress);
    int status = FAILED;
    if (ok) {
        say_size(&t);
        status = talk(&t);
    } else
        status = report_failure(&err);
    surprisal_generate_result_free(&t.last);
    surprisal_chat_close(t.chat);
    free_messages(&t);
    free(t.input.bytes);
    free(messages);
    return status;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings *own = calloc(1, sizeof *own);
    if (!own)
        return options_fail("out of memory: the settings");
    struct generate_settings *s = &own->shared;
    int status = generate_options_parse(c, s, argc, argv);
    s->generate.chat = &s->chat;
    if (status == GO_ON && own->messages && s->chat.system)
        status = options_refuse(c, "--system and --messages exclude each other");
    if (status == GO_ON)
        status = generate_options_check(c, s, surprisal_chat_check);
    if (status == GO_ON)
        status = chat(own);
    generate_options_free(s);
    free(own);
    return status;
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    { .name = "messages", .value = "FILE",
      .help = "a conversation to begin with: OpenAI's JSON, a list of messages or an\n"
              "object with them.  If nothing answers the last one, the model does first",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(messages) },
    { .name = "context", .value = "N",
      .help = "tokens that the conversation may have (default: the model's context)",
      .parse = parse_context, .expected = EXPECTED_CONTEXT, FIELD(context) },
};

const struct command command_chat = {
    .name = "chat",
    .arguments = "CHECKPOINT [options]",
    .summary = "Talk with a model: each line of standard input is a turn.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .more_options = generate_options, .n_more_options = GENERATE_OPTIONS,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, shared.generate.checkpoint),
    .operands_required = 1, .run = run,
};
