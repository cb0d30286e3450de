/* answer_view.h - an answer as people see it, while it comes: on a terminal or in a pipe.
 *
 * What a model writes must not drive the terminal, so that control characters become '?' there;
 * files and pipes get them as they are.  Reasoning is dim on a terminal; elsewhere, and where
 * NO_COLOR is set or TERM is dumb, it stands between <think> and </think>. */
#ifndef SURPRISAL_CLI_ANSWER_VIEW_H
#define SURPRISAL_CLI_ANSWER_VIEW_H

#include <stdbool.h>
#include <stdio.h>
#include <surprisal.h>

struct answer_view {
    bool on_terminal;                   /* stdout is one */
    bool dims;
    bool begun;
    enum surprisal_chat_part part;      /* the last one, once begun */
};

/* For standard output, before the first text. */
struct answer_view answer_view_begin(void);
/* n bytes of UTF-8, whole characters. */
void answer_view_text(const struct answer_view *v, const char *text, size_t n);
/* surprisal_chat_settings.delta. */
void answer_view_delta(struct answer_view *v, enum surprisal_chat_part part, const char *text,
                       size_t n);
/* The end of an answer: the line ends, and the next one may come. */
void answer_view_end(struct answer_view *v);

/* Tokens of prompt and answer, how many a second, and how the answer was cut off, in one line. */
void answer_view_speed(FILE *f, const struct surprisal_generate_result *r);

#endif
