/* operand.h - what an argument of `compare` is. */
#ifndef SURPRISAL_EVAL_COMPARE_OPERAND_H
#define SURPRISAL_EVAL_COMPARE_OPERAND_H

enum operand { OPERAND_NOTHING, OPERAND_RUN, OPERAND_CHECKPOINT, OPERAND_PLANS };

/* By the files in the folder; a run folder may have a config.json, too. */
enum operand operand_of(const char *path);
/* "a run folder" */
const char *operand_name(enum operand operand);

#endif
