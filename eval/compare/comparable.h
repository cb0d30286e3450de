/* comparable.h - do two runs score the same tokens in the same way?
 *
 * Everything that decides which tokens are scored and what each of them sees must be equal; what
 * decides how exactly it is computed (compute type, kernels, version) may differ. */
#ifndef SURPRISAL_EVAL_COMPARE_COMPARABLE_H
#define SURPRISAL_EVAL_COMPARE_COMPARABLE_H

#include "eval/run/record.h"

/* Refuses with all that differs in one message.  Tokenizers that differ as files and give the same
 * ids are a warning: to save tokenizer.json again changes its bytes. */
bool comparable_check(const struct record *a, const struct record *b,
                      const struct surprisal_progress *progress, struct error *err);

#define COMPARABLE_TOKEN_BYTES 128

/* "17 'text'": an id as the tokenizer at `path` has it (NULL: without text). */
void comparable_token(char out[COMPARABLE_TOKEN_BYTES], const char *path, int32_t id);

/* A member by its path ("text.sha256") as text that may be printed: null is "none", a number is in
 * full. */
void comparable_value(char *out, size_t n, const cJSON *summary, const char *path);

#endif
