/* commands.h - the commands, one file each. */
#ifndef SURPRISAL_CLI_COMMANDS_H
#define SURPRISAL_CLI_COMMANDS_H

#include "options.h"

extern const struct command command_eval, command_inspect, command_tokenize, command_detokenize,
    command_trace, command_bench;

#endif
