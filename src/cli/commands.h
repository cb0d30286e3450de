/* commands.h - the commands, one file each. */
#ifndef SURPRISAL_CLI_COMMANDS_H
#define SURPRISAL_CLI_COMMANDS_H

#include "options.h"

extern const struct command command_eval, command_inspect, command_tokenize, command_detokenize,
    command_compare, command_trace, command_calibrate, command_quantize, command_dequantize,
    command_verify, command_bench, command_merge, command_generate, command_chat, command_serve,
    command_parse, command_render;

#endif
