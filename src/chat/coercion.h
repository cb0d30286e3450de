/* coercion.h - arguments of tool calls, which are text, as JSON by the types of the tool's schema
 * (SERVE 3.4; vllm/entrypoints/openai/tool_parsers). */
#ifndef SURPRISAL_CHAT_COERCION_H
#define SURPRISAL_CHAT_COERCION_H

#include "chat/value.h"

#define COERCION_DEPTH 16       /* of $ref and of schemas in each other */

/* Bits of a set of types; none of them means string. */
enum {
    COERCION_STRING = 1, COERCION_INTEGER = 2, COERCION_NUMBER = 4, COERCION_BOOLEAN = 8,
    COERCION_OBJECT = 16, COERCION_ARRAY = 32, COERCION_NULL = 64,
};

/* The types that a schema allows; root: where a local $ref is looked up. */
unsigned coercion_types(const struct value *schema, const struct value *root);
/* Is a value of these types its text, whatever it says? */
bool coercion_is_text(unsigned types);

/* Appends the JSON of the text: of the first type that fits, else a string. */
bool coercion_write(struct marked_text_builder *b, unsigned types, const struct marked_text *text,
                    struct workspace *w, struct error *err);

#endif
