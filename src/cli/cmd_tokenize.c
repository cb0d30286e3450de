/* tokenize and detokenize: two directions of one thing, over a whole file or line by line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>

#include "commands.h"
#include "conversation.h"
#include "jsonl.h"

struct settings {
    struct conversation_settings conversation;  /* first, as conversation_options needs it */
    const char *file;                   /* NULL or "-": standard input; or a checkpoint */
    const char *tokenizer;
    enum surprisal_join join;
    bool jsonl, count;
};

/* ---- whole files ------------------------------------------------------------ */

static int tokenize_file(const struct settings *s, const struct surprisal_tokenizer *t)
{
    struct surprisal_error err = { 0 };
    char *text;
    size_t n, n_ids;
    int32_t *ids;
    if (!surprisal_read_text(s->file, s->join, &text, &n, &err))
        return options_fail("%s", err.message);
    bool ok = surprisal_tokenize(t, text, n, &ids, &n_ids, &err);
    free(text);
    if (!ok)
        return options_fail("%s", err.message);
    if (s->count)
        printf("%zu", n_ids);
    else
        jsonl_put_ids(stdout, ids, n_ids, " ");
    putchar('\n');
    free(ids);
    return DONE;
}

static int detokenize_file(const struct settings *s, const struct surprisal_tokenizer *t)
{
    struct surprisal_error err = { 0 };
    char *text;
    size_t n, n_ids;
    int32_t *ids;
    if (!surprisal_read_ids(s->file, &ids, &n_ids, &err))
        return options_fail("%s", err.message);
    bool ok = surprisal_detokenize(t, ids, n_ids, &text, &n, &err);
    free(ids);
    if (!ok)
        return options_fail("%s", err.message);
    fwrite(text, 1, n, stdout);
    free(text);
    return DONE;
}

/* ---- line by line ----------------------------------------------------------- */

/* Arrays that serve all lines. */
struct lines {
    const struct settings *settings;
    const struct surprisal_tokenizer *tokenizer;
    struct jsonl_text text;
    struct jsonl_ids ids;
};

static bool tokenize_line(struct lines *l, const char *line, size_t n, struct surprisal_error *err)
{
    const char *why;
    int32_t *ids;
    size_t n_ids;
    if (!jsonl_read_text(&l->text, line, n, &why)) {
        snprintf(err->message, sizeof err->message, "%s", why);
        return false;
    }
    if (!surprisal_tokenize(l->tokenizer, l->text.bytes, l->text.n, &ids, &n_ids, err))
        return false;
    if (l->settings->count)
        printf("%zu\n", n_ids);
    else {
        fputs("{\"ids\": [", stdout);
        jsonl_put_ids(stdout, ids, n_ids, ", ");
        fputs("]}\n", stdout);
    }
    free(ids);
    return true;
}

static bool detokenize_line(struct lines *l, const char *line, size_t n,
                            struct surprisal_error *err)
{
    const char *why;
    char *text;
    size_t n_text;
    if (!jsonl_read_ids(&l->ids, line, n, &why)) {
        snprintf(err->message, sizeof err->message, "%s", why);
        return false;
    }
    if (!surprisal_detokenize(l->tokenizer, l->ids.ids, l->ids.n, &text, &n_text, err))
        return false;
    fputs("{\"text\": ", stdout);
    jsonl_put_string(stdout, text, n_text);
    fputs("}\n", stdout);
    free(text);
    return true;
}

static int each_line(struct lines *l, FILE *f,
                     bool (*one)(struct lines *, const char *, size_t, struct surprisal_error *))
{
    struct surprisal_error err = { 0 };
    char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t n;
    int status = DONE;
    while (status == DONE && !ferror(stdout) && (n = getline(&line, &capacity, f)) >= 0) {
        number++;
        if (number == 1 && n >= 3 && memcmp(line, "\xEF\xBB\xBF", 3) == 0) /* byte order mark */
            memmove(line, line + 3, (size_t)(n -= 3) + 1);
        n -= n > 0 && line[n - 1] == '\n';
        if (!jsonl_is_blank(line, (size_t)n) && !one(l, line, (size_t)n, &err))
            status = options_fail("%s: line %zu: %s", l->settings->file, number, err.message);
    }
    if (ferror(f))
        status = options_fail("%s: %s", l->settings->file, strerror(errno));
    free(line);
    free(l->text.bytes);
    free(l->ids.ids);
    return status;
}

static int process_lines(const struct settings *s, const struct surprisal_tokenizer *t,
                         bool (*one)(struct lines *, const char *, size_t,
                                     struct surprisal_error *))
{
    struct lines lines = { .settings = s, .tokenizer = t };
    bool is_stdin = strcmp(s->file, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(s->file, "re");
    if (!f)
        return options_fail("%s: %s", s->file, strerror(errno));
    int status = each_line(&lines, f, one);
    if (!is_stdin)
        fclose(f);
    return status;
}

/* ---- the commands ----------------------------------------------------------- */

static int run_conversation(const struct command *c, const struct settings *s)
{
    const struct conversation_settings *chat = &s->conversation;
    enum conversation_form form = chat->as_text ? CONVERSATION_TEXT : s->count ? CONVERSATION_COUNT
                                                                               : CONVERSATION_IDS;
    if (s->jsonl || s->join != SURPRISAL_JOIN_RAW)
        return options_refuse(c, "--messages is a conversation, not a text: %s is not for it",
                              s->jsonl ? "--jsonl" : "--join");
    if (!s->file && !chat->chat_template)
        return options_refuse(c, "--messages needs a checkpoint or --chat-template");
    if (!s->file && !s->tokenizer && !chat->as_text)
        return options_refuse(c, "--messages needs a checkpoint or --tokenizer, or --as-text");
    if (chat->as_text && s->count)
        return options_refuse(c, "--count and --as-text exclude each other");
    return conversation_run(chat, s->file, s->tokenizer, form);
}

static int run(const struct command *c, int argc, char **argv)
{
    bool forth = c == &command_tokenize;
    struct settings s = { 0 };
    int status = options_parse(c, &s, argc, argv);
    if (status != GO_ON)
        return status;
    if (s.conversation.messages)
        return run_conversation(c, &s);
    const char *stray = conversation_stray_option(&s.conversation);
    if (stray)
        return options_refuse(c, "%s is for a conversation: --messages is missing", stray);
    s.file = s.file ? s.file : "-";
    if (!s.tokenizer)
        return options_refuse(c, "--tokenizer is missing");
    if (s.jsonl && s.join != SURPRISAL_JOIN_RAW)
        return options_refuse(c, "--join hf is for a text file, not for --jsonl");
    struct surprisal_error err = { 0 };
    struct surprisal_tokenizer *t = surprisal_tokenizer_open(s.tokenizer, &err);
    if (!t)
        return options_fail("%s", err.message);
    status = s.jsonl ? process_lines(&s, t, forth ? tokenize_line : detokenize_line)
           : forth ? tokenize_file(&s, t) : detokenize_file(&s, t);
    surprisal_tokenizer_close(t);
    return status;
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct choice joins[] = {
    { "raw", SURPRISAL_JOIN_RAW }, { "hf", SURPRISAL_JOIN_HF }, { NULL, 0 },
};

#define TOKENIZER_OPTION                                                                           \
    { .name = "tokenizer", .value = "PATH",                                                        \
      .help = "a tokenizer.json, or a folder that holds one",                                      \
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(tokenizer) }

static const struct option tokenize_options[] = {
    TOKENIZER_OPTION,
    { .name = "jsonl",
      .help = "each line is a JSON string or {\"text\": ...}, and becomes {\"ids\": [...]}",
      .parse = parse_switch, FIELD(jsonl) },
    { .name = "count", .help = "print only the number of ids", .parse = parse_switch,
      FIELD(count) },
    { .name = "join", .value = "raw|hf",
      .help = "as in eval: the file as it is, or its rows joined",
      .parse = parse_choice, .expected = "raw or hf", .choices = joins, FIELD(join) },
    { .name = "as-text", .help = "of a conversation: its prompt instead of the ids",
      .parse = parse_switch, FIELD(conversation.as_text) },
};

static const struct option detokenize_options[] = {
    TOKENIZER_OPTION,
    { .name = "jsonl",
      .help = "each line is an array of ids or {\"ids\": [...]}, and becomes {\"text\": ...}",
      .parse = parse_switch, FIELD(jsonl) },
};

const struct command command_tokenize = {
    .name = "tokenize",
    .arguments = "[FILE] --tokenizer PATH [options]\n"
                 "       surprisal tokenize CHECKPOINT --messages FILE [options]",
    .summary = "Turn a text (standard input without FILE) or a conversation into token ids.",
    .options = tokenize_options, .n_options = sizeof tokenize_options / sizeof *tokenize_options,
    .more_options = conversation_options, .n_more_options = CONVERSATION_OPTIONS,
    .operand = "FILE", .operand_field = offsetof(struct settings, file), .run = run,
};

const struct command command_detokenize = {
    .name = "detokenize",
    .arguments = "[FILE] --tokenizer PATH [options]",
    .summary = "Turn token ids separated by white space into their text.",
    .options = detokenize_options,
    .n_options = sizeof detokenize_options / sizeof *detokenize_options,
    .operand = "FILE", .operand_field = offsetof(struct settings, file), .run = run,
};
