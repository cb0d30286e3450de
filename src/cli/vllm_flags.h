/* vllm_flags.h - options of `vllm serve` that this program does not have, or has by another name:
 * they are refused with that name, never ignored. */
#ifndef SURPRISAL_CLI_VLLM_FLAGS_H
#define SURPRISAL_CLI_VLLM_FLAGS_H

#include "options.h"

/* GO_ON, or the exit status of a refusal. */
int vllm_flags_refuse(const struct command *c, int argc, char **argv);

#endif
