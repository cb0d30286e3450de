/* text.h - what is evaluated, as files hold it: texts and lists of token ids. */
#ifndef SURPRISAL_EVAL_PROTOCOL_TEXT_H
#define SURPRISAL_EVAL_PROTOCOL_TEXT_H

#include <stdint.h>

#include "base/memory.h"
#include "surprisal.h"

/* Reads a file ("-": standard input), or a pipe, and joins its rows; refuses what is not UTF-8, naming the
 * byte.  b: zero-initialised, owned by the caller; nothing to free after a failure. */
bool text_read(struct buffer *b, const char *path, enum surprisal_join join, struct error *err);

/* SURPRISAL_JOIN_HF: the rows of Hugging Face's data set joined by two newlines.  A line of white
 * space alone is the row "", every other line is a row that keeps its newline. */
bool text_join_hf(struct buffer *out, const char *text, size_t n, struct error *err);

/* len(re.split(r"\s+", text)) in Python, which is how lm-evaluation-harness counts words: white
 * space at either end counts one more. */
size_t text_words(const char *text, size_t n);

/* Bytes of the white space character at s (n > 0 bytes of UTF-8 follow), 0 when it is none.
 * Python's idea of white space: str.isspace, also `\s` of its regular expressions. */
size_t text_space(const char *s, size_t n);

/* Narrows *s, *n to what stands between the white space at both ends (str.strip). */
void text_trim(const char **s, size_t *n);

/* Decimal ids separated by ASCII white space; anything else is refused with its line.  path names
 * the source in errors.  *ids: [*n_ids], given (free). */
bool ids_parse(const char *text, size_t n, const char *path, int32_t **ids, size_t *n_ids,
               struct error *err);

#endif
