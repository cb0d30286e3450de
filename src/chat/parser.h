/* parser.h - the words of a template to its tree.
 *
 * The grammar is jinja2's (jinja2/parser.py), as far as published templates of this family use it
 * (SERVE 4.4).  What lies outside is refused by name and line here, not when a conversation comes:
 * other statements, filters, tests, functions and methods. */
#ifndef SURPRISAL_CHAT_PARSER_H
#define SURPRISAL_CHAT_PARSER_H

#include "chat/lexer.h"
#include "chat/syntax.h"

#define PARSER_DEPTH 64         /* of statements and brackets in each other, and of "- - x" */
#define PARSER_CHAIN 256        /* of operators, calls and filters in one expression */

/* *body: the first statement or NULL.  *names: the mapping of all names, to find the address of one
 * by its text: value_mapping_get gives VALUE_STRING whose bytes are a struct marked_text. */
struct parser_result {
    struct syntax_node *body;
    struct value names;
    bool reads_parts;           /* a loop runs over something called content */
};

bool parser_run(struct parser_result *out, const struct lexer_token *tokens, const char *path,
                struct workspace *w, struct error *err);
/* The one address of a name; NULL: the template does not have it. */
const struct marked_text *parser_name(const struct parser_result *r,
                                      const struct marked_text *name);

#endif
