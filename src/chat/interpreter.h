/* interpreter.h - a template's tree and variables to text.
 *
 * Scopes are jinja2's: a loop's body and a macro have their own, and what is set there is not seen
 * outside; a macro sees what stands around its definition, not around its call. */
#ifndef SURPRISAL_CHAT_INTERPRETER_H
#define SURPRISAL_CHAT_INTERPRETER_H

#include <time.h>

#include "chat/parser.h"
#include "chat/syntax.h"

#define INTERPRETER_OUTPUT_BYTES ((size_t)64 << 20)
#define INTERPRETER_MACROS 64          /* calls of macros in each other */
#define INTERPRETER_DEPTH 1000         /* of expressions and statements, calls included */
#define INTERPRETER_RANGE 100000       /* numbers of one range(), as in jinja2's sandbox */

/* Appends to out (its limit is set here).  variables: a mapping; names that the template does not
 * have are dropped.  now: what strftime_now prints.  Errors begin with "path: line N: ". */
bool interpreter_run(struct marked_text_builder *out, const struct parser_result *tree,
                  const struct value_mapping *variables, time_t now, const char *path,
                  struct workspace *w, struct error *err);

#endif
