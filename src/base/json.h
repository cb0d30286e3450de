/* json.h - what this project needs of JSON beyond cJSON: hostile input is refused at parse time,
 * integers are exact, errors name the file and the key.
 *
 * cJSON (a Debian package) does the parsing and printing; its nodes are used directly
 * (child, next, string, valuestring).  Keys are case-sensitive here. */
#ifndef SURPRISAL_BASE_JSON_H
#define SURPRISAL_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/memory.h"

/* Parses the n bytes of a document.  Refuses, with the byte offset: syntax errors, anything but
 * white space after the value, nesting deeper than cJSON's limit (1000), a NUL in the text or as
 * \u0000 (cJSON strings end there), invalid UTF-8; what is no JSON at all but a Git LFS pointer or
 * an error page is called so (stand_in.h).  `path` names the source in the error.  Gives a tree to
 * be freed by cJSON_Delete.  Repeated keys are checked by json_unique_keys. */
cJSON *json_parse(const char *text, size_t n, const char *path, struct error *err);
/* file_read and json_parse. */
cJSON *json_read(const char *path, struct error *err);

/* cJSON_Print and cJSON_PrintUnformatted in the C locale (base/format.h), like json_parse: cJSON
 * uses the locale's decimal point, and assumes that it is one byte.  Each gives a text to be freed
 * by cJSON_free; NULL when memory is out or item is NULL. */
char *json_print(const cJSON *item);
char *json_print_line(const cJSON *item);

/* Refuses an object that has a key twice; O(n log n). */
bool json_unique_keys(const cJSON *object, const char *path, struct error *err);

/* The member of an object; NULL when it is absent, or object is NULL or not an object. */
const cJSON *json_get(const cJSON *object, const char *key);
/* Like json_get, but an explicit null counts as absent. */
const cJSON *json_get_value(const cJSON *object, const char *key);

/* Gives a whole number exactly; false for other types, fractions, negative numbers, or above
 * 2^53. */
bool json_to_size(const cJSON *item, size_t *out);

/* Adds an exact integer to an object (cJSON prints doubles; up to 2^53 they are exact).  Like
 * cJSON's own Add functions these return NULL when memory is out. */
cJSON *json_add_size(cJSON *object, const char *key, size_t value);
/* A number printed with 17 significant digits; null when it is not finite. */
cJSON *json_double(double value);
cJSON *json_add_double(cJSON *object, const char *key, double value);

/* Gives a copy whose numbers print with 17 significant digits: cJSON alone may drop the last
 * two. */
cJSON *json_exact_copy(const cJSON *item);

/* Adds bytes from outside (a file name, an argument) as a string.  If they are not valid UTF-8,
 * each byte that is not ASCII becomes '?'. */
cJSON *json_add_bytes(cJSON *object, const char *key, const char *bytes);

/* Appends s as a JSON string with quotes; s holds n bytes of valid UTF-8, NUL included. */
bool json_append_string(struct buffer *b, const char *s, size_t n, struct error *err);
/* The same without quotes: a piece of a string. */
bool json_append_escaped(struct buffer *b, const char *s, size_t n, struct error *err);

#endif
