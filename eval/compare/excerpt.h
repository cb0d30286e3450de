/* excerpt.h - the text of scored tokens, from the ids in a record. */
#ifndef SURPRISAL_EVAL_COMPARE_EXCERPT_H
#define SURPRISAL_EVAL_COMPARE_EXCERPT_H

#include "eval/run/record.h"
#include "tokenizer/tokenizer.h"

/* Is it the tokenizer that the run was made with? */
bool excerpt_is_of(const struct tokenizer *t, const struct record *r);

/* Opens the tokenizer of the run: the one at `path`, or (NULL) where the summary says.  One with
 * another digest is not used; NULL then, and where there is none: the reason is warned about unless
 * the run had none either. */
struct tokenizer *excerpt_tokenizer(const struct record *r, const char *path,
                                    const struct surprisal_progress *progress);

/* Each gives a text, to be freed: valid UTF-8 without NUL.  NULL when t is NULL or lacks an id.
 * Text that was not scored (the first token of a window) is not in the record: before and after end
 * where it begins.  most: characters that are kept, the nearest ones, or the first. */
char *excerpt_token(const struct tokenizer *t, const struct record *r, size_t row);
char *excerpt_before(const struct tokenizer *t, const struct record *r, size_t row, size_t most);
char *excerpt_after(const struct tokenizer *t, const struct record *r, size_t row, size_t most);
/* Of rows [begin, end). */
char *excerpt_rows(const struct tokenizer *t, const struct record *r, size_t begin, size_t end,
                   size_t most);

#endif
