/* tool_calls.h - calls of functions in the template's form (SERVE 3.3, 3.6, 3.8), as nodes:
 *
 *     <tool_call>\n<function=NAME>\n
 *     { <parameter=KEY>\n value \n</parameter>\n }        of a strict function: in the order of its
 *     </function>\n</tool_call>                           schema, with all that are required
 *
 * A call of another function is free behind its first two lines, and so is text. */
#ifndef SURPRISAL_GRAMMAR_TOOL_CALLS_H
#define SURPRISAL_GRAMMAR_TOOL_CALLS_H

#include <cjson/cJSON.h>

#include "grammar/json_text.h"
#include "grammar/token_trie.h"

#define TOOL_CALLS_MAX 1024     /* functions of a request */

struct tool_calls_function {
    const char *name;           /* borrowed from the request */
    bool strict;
    uint32_t body;              /* a strict one: what follows "<function=NAME>" */
};

/* Release with tool_calls_close, also after a failure. */
struct tool_calls {
    struct json_text *text;             /* borrowed, as the trie */
    const struct token_trie *trie;
    struct tool_calls_function *functions;
    size_t n;
    bool any_strict;
    uint32_t free;              /* an answer that is free but for calls of strict functions */
};

/* tools: OpenAI's list.  Refuses names that the form cannot hold, two functions of one name,
 * schemas of strict functions that are not supported, and strict functions where the tokenizer has
 * no token <tool_call>. */
bool tool_calls_open(struct tool_calls *c, struct json_text *text, const struct token_trie *trie,
                     const cJSON *tools, struct error *err);
void tool_calls_close(struct tool_calls *c);

bool tool_calls_has(const struct tool_calls *c, const char *name);
/* An answer that begins with a call of this function; name NULL: of any. */
uint32_t tool_calls_forced(const struct tool_calls *c, const char *name);
/* Thinking, free as other text is: behind </think> and at most two line ends comes `content`. */
uint32_t tool_calls_thinking(const struct tool_calls *c, uint32_t content);

#endif
