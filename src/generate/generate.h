/* generate.h - `surprisal generate`: from a prompt to an answer.
 *
 * Opens the checkpoint, its tokenizer and its generation_config.json, runs the prompt and then
 * token after token (generation.h), and says what came of it. */
#ifndef SURPRISAL_GENERATE_GENERATE_H
#define SURPRISAL_GENERATE_GENERATE_H

#include "base/error.h"
#include "surprisal.h"

/* As surprisal.h documents them. */
struct surprisal_generate_options generate_defaults(void);
bool generate_check(const struct surprisal_generate_options *o, struct error *err);
bool generate_run(const struct surprisal_generate_options *o,
                  struct surprisal_generate_result *result, struct error *err);

#endif
