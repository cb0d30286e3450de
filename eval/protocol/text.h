/* text.h - reads texts and lists of token ids. */
#ifndef SURPRISAL_EVAL_PROTOCOL_TEXT_H
#define SURPRISAL_EVAL_PROTOCOL_TEXT_H

#include <stdint.h>

#include "base/memory.h"
#include "surprisal.h"

/* Reads a file ("-": standard input) or a pipe, and joins its rows.  Refuses a text that is not
 * UTF-8; the error names the byte.  b: owned by the caller; nothing to free after a failure. */
bool text_read(struct buffer *b, const char *path, enum surprisal_join join, struct error *err);

/* SURPRISAL_JOIN_HF: joins the rows of Hugging Face's data set by two newlines.  A line of only
 * white space is the row ""; any other line is a row that keeps its newline. */
bool text_join_hf(struct buffer *out, const char *text, size_t n, struct error *err);

/* Counts words as lm-evaluation-harness does: len(re.split(r"\s+", text)) in Python, where white
 * space at either end adds one. */
size_t text_words(const char *text, size_t n);

/* Bytes of the white space character at s (n > 0 bytes are left), 0 when it is another one.  White
 * space as in Python: str.isspace, and `\s` of its regular expressions. */
size_t text_space(const char *s, size_t n);

/* Removes white space at both ends from *s, *n (str.strip). */
void text_trim(const char **s, size_t *n);

/* Decimal ids separated by ASCII white space, after a byte order mark at most; anything else is
 * refused with its line.  path names the source in errors.  *ids: [*n_ids], given (free). */
bool text_parse_ids(const char *text, size_t n, const char *path, int32_t **ids, size_t *n_ids,
                    struct error *err);

#endif
