/* jsonl.h - one line of JSON at a time, for tokenize and detokenize.
 *
 * A reader of its own, since a text may hold the NUL character (\u0000), at which the strings of
 * cJSON end.  Strict (RFC 8259): no lone surrogates, no raw control characters, nothing after the
 * value; a member other than the one that is asked for is checked and skipped. */
#ifndef SURPRISAL_CLI_JSONL_H
#define SURPRISAL_CLI_JSONL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Growing arrays, used again from line to line.  Zero-initialise; free() what they hold. */
struct jsonl_text {
    char *bytes;
    size_t n, capacity;
};
struct jsonl_ids {
    int32_t *ids;
    size_t n, capacity;
};

/* A string or {"text": string}.  *why: what is wrong, when false. */
bool jsonl_read_text(struct jsonl_text *out, const char *line, size_t n, const char **why);
/* An array of ids or {"ids": array}. */
bool jsonl_read_ids(struct jsonl_ids *out, const char *line, size_t n, const char **why);
bool jsonl_is_blank(const char *line, size_t n);

/* Writes s, n bytes of UTF-8, as a JSON string. */
void jsonl_put_string(FILE *f, const char *s, size_t n);
/* Writes ids in decimal with a separator between them. */
void jsonl_put_ids(FILE *f, const int32_t *ids, size_t n, const char *separator);

#endif
