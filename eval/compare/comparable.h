/* comparable.h - do two runs score the same tokens in the same way?
 *
 * Everything that decides which tokens are scored and what each of them sees must be equal; what
 * decides how exactly it is computed (compute type, kernels, version) may differ. */
#ifndef SURPRISAL_EVAL_COMPARE_COMPARABLE_H
#define SURPRISAL_EVAL_COMPARE_COMPARABLE_H

#include "eval/run/record.h"

/* Refuses with all that differs in one message. */
bool comparable_check(const struct record *a, const struct record *b, struct error *err);

/* A member by its path ("text.sha256") as text that may be printed: null is "none", a number is in
 * full. */
void comparable_value(char *out, size_t n, const cJSON *summary, const char *path);

#endif
