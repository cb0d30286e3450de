/* json_text.h - how JSON is written in answers (SERVE 3.8), as nodes of a graph.
 *
 * White space: none; or one space behind ':' and ','; or a line end and at most 32 spaces behind
 * '{', '[' and ',' and before '}' and ']'.  Numbers: at most 20 digits before and after the point,
 * 3 in an exponent; a whole number may end in ".0".  Strings: UTF-8 and all escapes of JSON without
 * lone surrogates where a string is free; where its text matters (a value of the schema, a pattern,
 * a name) only what must be escaped is, as Python's json.dumps with ensure_ascii false does. */
#ifndef SURPRISAL_GRAMMAR_JSON_TEXT_H
#define SURPRISAL_GRAMMAR_JSON_TEXT_H

#include <cjson/cJSON.h>

#include "grammar/charset.h"

#define JSON_TEXT_EXACT 9007199254740992.0      /* 2^53: whole numbers below are exact doubles */

/* Nodes that all schemas share. */
struct json_text {
    struct graph *graph;        /* borrowed */
    uint32_t colon, comma, quote;
    uint32_t line;              /* a line end with its indentation, or nothing */
    uint32_t character;         /* of a free string */
    uint32_t any_string, number, integer, null, yes, no;    /* values; true and false */
    uint32_t any_object;
    uint32_t parameter;         /* any string as a call's parameter (schema.h); 0: not made yet */
};

void json_text_open(struct json_text *t, struct graph *g);

/* '{' content '}' or '[' content ']'; empty: may it be empty, too?  UINT32_MAX as content: only
 * that. */
uint32_t json_text_brackets(const struct json_text *t, bool is_object, uint32_t content,
                            bool may_be_empty);
/* "name" ':' value. */
uint32_t json_text_member(const struct json_text *t, const char *name, uint32_t value);
/* A free string of min to max characters; max UINT32_MAX: any number.  The second: any node, so
 * often. */
uint32_t json_text_string(const struct json_text *t, uint32_t min, uint32_t max);
uint32_t json_text_repeated(struct graph *g, uint32_t a, uint32_t min, uint32_t max);
/* A whole number from low to high; INT64_MIN and INT64_MAX: no bound. */
uint32_t json_text_integer(const struct json_text *t, int64_t low, int64_t high);
/* Exactly this value.  Fails for numbers that are not exact as a double. */
uint32_t json_text_value(const struct json_text *t, const cJSON *value);
/* Appends the characters of a string in a form, without quotes. */
bool json_text_write(struct buffer *b, const char *text, enum charset_form form, struct error *err);
/* One of the scalars among n values. */
uint32_t json_text_scalars(const struct json_text *t, const cJSON *const *values, size_t n,
                           enum charset_form strings);
/* A string with quotes that is none of the n names. */
uint32_t json_text_other_name(const struct json_text *t, const char *const *names, size_t n);

#endif
