/* generate_options.h - the options that say how answers are drawn and computed, and how they are
 * read as messages: shared by the commands that generate. */
#ifndef SURPRISAL_CLI_GENERATE_OPTIONS_H
#define SURPRISAL_CLI_GENERATE_OPTIONS_H

#include <surprisal.h>

#include "answer_view.h"
#include "hub.h"
#include "options.h"
#include "progress.h"

enum { GENERATE_MOST_BIASES = 1024 };

struct generate_biases {
    struct surprisal_logit_bias biases[GENERATE_MOST_BIASES];
    size_t n;
};

/* The first member of the settings of a command that has these options. */
struct generate_settings {
    struct progress_line progress;      /* first: the library's callbacks get a pointer to it */
    struct surprisal_generate_options generate;
    struct surprisal_chat_settings chat;
    struct text_list stop;
    struct generate_biases bias;
    const char *tools;                  /* file */
    char *tools_text;                   /* owned: what it holds */
    unsigned special_tokens, reasoning_parser;
    struct hub hub;
    bool json;
    struct answer_view view;
};

#define GENERATE_OPTIONS 30
/* Of these, a server has the ones from here on: drafts, how tokens are drawn, and the machine. */
#define GENERATE_COMMON_FIRST 11
#define GENERATE_COMMON 16
extern const struct option generate_options[GENERATE_OPTIONS];

/* Parses into zeroed settings, sets members that point to others, and afterwards checks what was
 * given and finds the checkpoint.  Both: GO_ON or an exit status. */
int generate_options_parse(const struct command *c, struct generate_settings *s, int argc,
                           char **argv);
int generate_options_check(const struct command *c, struct generate_settings *s,
                           bool (*check)(const struct surprisal_generate_options *,
                                         struct surprisal_error *));
/* The line of progress makes room for an answer. */
void generate_options_make_room(struct generate_settings *s);
/* The first option that only a chat has, NULL if none is given. */
const char *generate_options_of_chat(const struct generate_settings *s);
/* Reads the files that options name. */
bool generate_options_read(struct generate_settings *s, struct surprisal_error *err);
void generate_options_free(struct generate_settings *s);

#endif
