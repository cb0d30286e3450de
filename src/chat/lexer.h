/* lexer.h - a template cut into text, tags and the words inside of tags.
 *
 * As jinja2 3.1 does with trim_blocks and lstrip_blocks on, which is how chat templates are read
 * (jinja2/lexer.py): the first line end behind a block or comment goes, and so does white space
 * between the start of a line and a block or comment; `-` beside a tag takes all white space on
 * that side, `+` keeps it.  Line ends become LF; one at the end of the template goes. */
#ifndef SURPRISAL_CHAT_LEXER_H
#define SURPRISAL_CHAT_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "chat/marked_text.h"
#include "chat/workspace.h"

#define LEXER_TEMPLATE_BYTES ((size_t)1 << 20)      /* of a whole template */

enum lexer_kind {
    LEXER_TEXT, LEXER_OUTPUT_BEGIN, LEXER_OUTPUT_END, LEXER_BLOCK_BEGIN, LEXER_BLOCK_END,
    LEXER_NAME, LEXER_STRING, LEXER_INTEGER, LEXER_FLOAT, LEXER_OPERATOR, LEXER_END,
};

struct lexer_token {
    enum lexer_kind kind;
    unsigned line;                      /* from 1 */
    struct marked_text text;            /* as it is meant: escapes of a string are resolved */
    union {
        int64_t integer;
        double number;
    } of;
};

/* *tokens: [*n], in the workspace; the last one is LEXER_END.  source: n_bytes, kept by nobody.
 * Errors begin with "path: line N: ". */
bool lexer_run(struct lexer_token **tokens, size_t *n, const char *source, size_t n_bytes,
               const char *path, struct workspace *w, struct error *err);

#endif
