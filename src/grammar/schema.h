/* schema.h - the values that a JSON schema allows, as a node of a graph (SERVE 3.8).
 *
 * Draft 2020-12, as far as the text below goes; https://json-schema.org/draft/2020-12 has the
 * meaning of each keyword.  Keywords that would change the set of values and are not among these
 * are refused with their path, and so are combinations that cannot be built:
 *
 *   type, enum, const, nullable, anyOf, oneOf (as anyOf), allOf, $ref to a place of the schema,
 *   $defs
 *   properties, required, additionalProperties (absent: any in general, none if strict)
 *   items, prefixItems, minItems, maxItems
 *   minLength, maxLength, pattern (regex.h), format date, time, date-time, uuid, email
 *   minimum, maximum, exclusiveMinimum, exclusiveMaximum of whole numbers
 *
 * Unknown words are notes, as JSON Schema says.  Keys come in the schema's order: those of
 * `properties`, then those that only `required` names, then others. */
#ifndef SURPRISAL_GRAMMAR_SCHEMA_H
#define SURPRISAL_GRAMMAR_SCHEMA_H

#include <cjson/cJSON.h>

#include "grammar/json_text.h"

#define SCHEMA_MAX_MEMBERS 4096     /* of an object, of prefixItems, of required */
#define SCHEMA_MAX_CHOICES 64       /* anyOf, oneOf and nullable that hold at one place */
#define SCHEMA_MAX_REFS    64       /* $ref and allOf inside of each other at one place */

/* Where the value stands. */
enum schema_place {
    SCHEMA_JSON,        /* JSON */
    SCHEMA_PARAMETER,   /* the value of a call's parameter: a string is text without quotes, up to a
                         * line end and </parameter>, the rest JSON */
};

struct schema;

/* Text and root are borrowed until schema_close.  name: of the request's field, for errors. */
struct schema *schema_open(struct json_text *text, const cJSON *root, const char *name,
                           bool strict, struct error *err);
/* The node of the whole schema, or of one of its places. */
bool schema_compile(struct schema *s, enum schema_place place, uint32_t *node, struct error *err);
/* What the root, which must be an object's, says of members: their number, names (borrowed from the
 * schema), nodes and which are required.  Refuses other members (additionalProperties). */
struct schema_member {
    const char *name;
    uint32_t node;
    bool required;
};
bool schema_compile_parameters(struct schema *s, struct schema_member **members, size_t *n,
                               struct error *err);
void schema_close(struct schema *s);

#endif
