/* answer_form.h - what a request demands of the form of its answers: response_format,
 * structured_outputs, tools that are strict, calls that must be made (SERVE 3.6, 3.8). */
#ifndef SURPRISAL_SERVER_ANSWER_FORM_H
#define SURPRISAL_SERVER_ANSWER_FORM_H

#include "grammar/grammar.h"
#include "server/fields.h"

/* Zero-initialise; release with answer_form_close, once no matcher is left. */
struct answer_form {
    /* Of the request; NULL: absent. */
    const struct value *response_format, *structured_outputs, *tools, *tool_choice;
    bool demanded;                  /* there is something to compile */
    /* Owned: of answers that begin in content [0], and in thinking [1].  NULL: they are free. */
    struct grammar *grammars[2];
};

/* tools: OpenAI's list; NULL: none.  can_end: the model has a token that ends an answer.  A failure
 * is in the fields' problem. */
bool answer_form_read(struct answer_form *a, const struct fields *f, const struct value *tools,
                      bool can_end);
/* Makes a grammar of one of the two kinds, unless it is there.  Takes up to two seconds for what a
 * hostile client demands.  The refusal names the field and the path in it. */
bool answer_form_compile(struct answer_form *a, bool thinks, const struct token_trie *trie,
                         struct workspace *w, struct problem *p);
void answer_form_close(struct answer_form *a);

#endif
