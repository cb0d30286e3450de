/* options.h - a command's options as a table that is both the parser and the help text.
 *
 * `--name value` and `--name=value`; `--` ends the options.  A command keeps its settings in one
 * struct of its own with named defaults; an option writes one field of it. */
#ifndef SURPRISAL_CLI_OPTIONS_H
#define SURPRISAL_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum exit_status { DONE = 0, FAILED = 1, WRONG_USAGE = 2, GATE_FAILED = 3, INTERRUPTED = 130 };

struct choice {                         /* a word and its enumerator */
    const char *word;
    unsigned value;
};

struct option {
    const char *name;                   /* without the dashes */
    const char *value;                  /* word in the help; NULL: a switch */
    const char *help;                   /* lines after the first are indented */
    bool (*parse)(void *field, const char *value, const struct option *o);
    const char *expected;               /* what parse takes, for the error */
    size_t field;                       /* offset in the settings */
    const struct choice *choices;       /* of parse_choice; ends with word == NULL */
    /* What the option means without a value; NULL: needs one.  With choices one of them may follow;
     * without, a value comes as --name=value only. */
    const char *alone;
    bool number;                        /* and a number of digits may follow as well */
};

/* Release with free(words). */
struct operand_list {
    const char **words;                 /* owned [n]; the words are argv's */
    size_t n;
};

struct command {
    const char *name, *arguments;       /* arguments: as in the usage line */
    bool ranks;                         /* it knows what to do as one of several ranks */
    const char *summary;                /* one line */
    const struct option *options;
    size_t n_options;
    /* More of them, so that commands can share a table; all fields lie in the same settings. */
    const struct option *more_options;
    size_t n_more_options;
    const char *operand;                /* the argument that is no option; NULL: none */
    size_t operand_field;               /* a const char * */
    size_t operands_required;           /* of all */
    const char *second_operand;         /* one more; NULL: none */
    size_t second_field;
    const char *further_operands;       /* any number of them behind these; NULL: none */
    size_t further_field;               /* a struct operand_list */
    int (*run)(const struct command *c, int argc, char **argv);     /* an exit status */
};

/* argv: what follows the command's name.  GO_ON, or the exit status: help was shown, or the usage
 * was wrong and one line says so. */
enum { GO_ON = -1 };
int options_parse(const struct command *c, void *settings, int argc, char **argv);

/* One line on stderr; returns WRONG_USAGE. */
__attribute__((format(printf, 2, 3)))
int options_refuse(const struct command *c, const char *format, ...);
/* The same for a run that failed; returns FAILED. */
__attribute__((format(printf, 1, 2)))
int options_fail(const char *format, ...);

/* What an option that may be repeated collects. */
struct text_list {
    const char *texts[256];
    size_t n;
};

/* ---- parsers: false when the value is not what `expected` says ------------- */

bool parse_text(void *field, const char *value, const struct option *o);    /* not empty */
bool parse_list(void *field, const char *value, const struct option *o);    /* text_list */
bool parse_switch(void *field, const char *value, const struct option *o);  /* bool */
bool parse_choice(void *field, const char *value, const struct option *o);  /* an enum */
bool parse_count(void *field, const char *value, const struct option *o);   /* size_t, from 1 */
bool parse_seed(void *field, const char *value, const struct option *o);    /* uint64_t */
bool parse_context(void *field, const char *value, const struct option *o); /* size_t, from 2 */
bool parse_size(void *field, const char *value, const struct option *o);    /* size_t, K M G */
bool parse_threads(void *field, const char *value, const struct option *o); /* int, 1 to 1024 */
bool parse_seconds(void *field, const char *value, const struct option *o); /* double */
bool parse_percentile(void *field, const char *value, const struct option *o);  /* double */
bool parse_number(void *field, const char *value, const struct option *o);  /* double, finite */
bool parse_id(void *field, const char *value, const struct option *o);      /* int32_t, from 0 */
bool parse_drafts(void *field, const char *value, const struct option *o);  /* size_t, 1 to 8 */
/* int64_t, -1 to INT32_MAX. */
bool parse_from_minus_one(void *field, const char *value, const struct option *o);

#define EXPECTED_COUNT   "a whole number from 1"
#define EXPECTED_SEED    "a whole number from 0 to 9007199254740992"
#define EXPECTED_CONTEXT "a whole number from 2 to 2147483647"
#define EXPECTED_SIZE    "a number of bytes from 1, with K, M or G for powers of 1024"
#define EXPECTED_THREADS "a whole number from 1 to 1024"
#define EXPECTED_SECONDS "a number of seconds above 0, at most 60"
#define EXPECTED_NUMBER  "a number"
#define EXPECTED_PERCENTILE "a number above 0, at most 100"
#define EXPECTED_LIST    "a pattern (at most 256)"
#define EXPECTED_ID      "a token id from 0 to 2147483647"
#define EXPECTED_FROM_MINUS_ONE "a whole number from -1 to 2147483647"
#define EXPECTED_TEXT    "a name or path"

/* ---- rows that several commands have; place: .field = offsetof(...) --------- */

#define OPTION_JSON(place) \
    { .name = "json", .help = "print the machine-readable result alone", .parse = parse_switch, \
      place }
#define OPTION_THREADS(place) \
    { .name = "threads", .value = "N", .help = "threads to compute with (default: all)", \
      .parse = parse_threads, .expected = EXPECTED_THREADS, place }
#define OPTION_ISA(place) \
    { .name = "isa", .value = "NAME", \
      .help = "kernels to use (default: the best of this machine)", \
      .parse = parse_text, .expected = EXPECTED_TEXT, place }
#define OPTION_QUIET(place) \
    { .name = "quiet", .help = "no progress", .parse = parse_switch, place }
#define OPTION_PROGRESS(place) \
    { .name = "progress", .help = "progress even when stderr is no terminal", \
      .parse = parse_switch, place }

#endif
