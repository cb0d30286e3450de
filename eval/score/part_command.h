/* part_command.h - the command that makes one more part of a run. */
#ifndef SURPRISAL_EVAL_SCORE_PART_COMMAND_H
#define SURPRISAL_EVAL_SCORE_PART_COMMAND_H

#include "base/json.h"
#include "base/memory.h"

/* Appends `surprisal eval ... --part INDEX/OF --out DIR`, as a shell takes it, from the summary of
 * another part.  plans [n, NULL]: the names of all plans of the run; NULL: it has none. */
bool part_command_append(struct buffer *out, const cJSON *summary, const char *const *plans,
                         size_t index, struct error *err);

#endif
