/* operand.h - what an argument of `compare` is. */
#ifndef SURPRISAL_EVAL_COMPARE_OPERAND_H
#define SURPRISAL_EVAL_COMPARE_OPERAND_H

#include <stdbool.h>

#include "base/error.h"

enum operand { OPERAND_NOTHING, OPERAND_RUN, OPERAND_CHECKPOINT, OPERAND_PLANS };

/* By the files in the folder; a run folder may have a config.json, too. */
enum operand operand_of(const char *path);
/* "a run folder" */
const char *operand_name(enum operand operand);
/* Says that it is nothing of these; always false. */
bool operand_refuse(const char *path, struct error *err);

#endif
