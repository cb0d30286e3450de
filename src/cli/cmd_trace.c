#include <surprisal.h>

#include "commands.h"
#include "hub.h"
#include "progress.h"
#include "report.h"

struct settings {
    struct surprisal_trace_options trace;
    struct progress_line progress;
    struct hub hub;
};

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { 0 };
    int status = options_parse(c, &s, argc, argv);
    if (status == GO_ON)
        status = hub_find(&s.hub, &s.trace.checkpoint, NULL);
    if (status != GO_ON)
        return status;
    if (!s.trace.ids)
        return options_refuse(c, "--ids is missing");
    if (!s.trace.out)
        return options_refuse(c, "--out is missing");
    struct surprisal_error err = { 0 };
    s.trace.machine.progress = progress_begin(&s.progress);
    bool ok = surprisal_trace(&s.trace, &err);
    progress_end(&s.progress);
    return ok ? DONE : report_failure(&err);
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    OPTION_REVISION(.field = offsetof(struct settings, hub.revision)),
    { .name = "ids", .value = "FILE", .help = "decimal token ids separated by white space",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(trace.ids) },
    { .name = "out", .value = "FILE",
      .help = "safetensors file to write: ids [T], residual [L, T, D] after each layer,\n"
              "routing [L, T, k] (mixture of experts), logits [T, V]",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(trace.out) },
    OPTION_THREADS(FIELD(trace.machine.threads)),
    OPTION_ISA(FIELD(trace.machine.isa)),
    OPTION_QUIET(FIELD(progress.quiet)),
    OPTION_PROGRESS(FIELD(progress.wanted)),
};

const struct command command_trace = {
    .name = "trace",
    .arguments = "CHECKPOINT --ids FILE --out FILE [options]",
    .summary = "Write the output of each layer for a sequence of token ids.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, trace.checkpoint),
    .operands_required = 1, .run = run,
};
