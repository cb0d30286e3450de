/* result.h - an answer as surprisal.h gives it. */
#ifndef SURPRISAL_GENERATE_RESULT_H
#define SURPRISAL_GENERATE_RESULT_H

#include "generate/generation.h"

/* Gives what the turn has; *result: valid after success only. */
bool result_give(struct surprisal_generate_result *result, const struct generation *g,
                 struct turn *t, struct error *err);
void result_free(struct surprisal_generate_result *result);

#endif
