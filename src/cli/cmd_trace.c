#include <surprisal.h>

#include "commands.h"
#include "hub.h"
#include "progress.h"
#include "report.h"

struct settings {
    struct surprisal_trace_options trace;
    struct progress_line progress;
    const char *against;
    bool json;
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
    if (!s.trace.ids && !s.against)
        return options_refuse(c, "--ids is missing");
    if (!s.trace.out && !s.against)
        return options_refuse(c, "--out is missing (or --against)");
    if (s.json && !s.against)
        return options_refuse(c, "--json needs --against");
    struct surprisal_error err = { 0 };
    char *json = NULL, *text = NULL;
    s.trace.machine.progress = progress_begin(&s.progress);
    bool ok = s.against ? surprisal_trace_against(&s.trace, s.against, s.json ? &json : NULL,
                                                  s.json ? NULL : &text, &err)
                        : surprisal_trace(&s.trace, &err);
    progress_end(&s.progress);
    if (ok && !s.against)
        return DONE;
    return report_either(ok, json, text, &err);
}

static const struct choice computes[] = {
    { "f32", SURPRISAL_COMPUTE_F32 }, { "bf16", SURPRISAL_COMPUTE_BF16 }, { NULL, 0 },
};

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    OPTION_REVISION(.field = offsetof(struct settings, hub.revision)),
    { .name = "ids", .value = "FILE", .help = "decimal token ids separated by white space",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(trace.ids) },
    { .name = "out", .value = "FILE",
      .help = "safetensors file to write: ids [T], residual [L, T, D] after each layer,\n"
              "routing [L, T, k] (mixture of experts), hidden [T, D] after the last\n"
              "norm, logits [T, V]",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(trace.out) },
    { .name = "against", .value = "FILE",
      .help = "another program's trace, with the same names or some of them (--ids, unless\n"
              "it has ids): prints the differences by step, and where they are first\n"
              "larger than rounding",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(against) },
    { .name = "compute", .value = "f32|bf16",
      .help = "f32 (default)\n"
              "bf16: activations rounded as transformers in bfloat16 rounds them",
      .parse = parse_choice, .expected = "f32 or bf16", .choices = computes,
      FIELD(trace.machine.compute) },
    OPTION_JSON(FIELD(json)),
    OPTION_THREADS(FIELD(trace.machine.threads)),
    OPTION_ISA(FIELD(trace.machine.isa)),
    OPTION_QUIET(FIELD(progress.quiet)),
    OPTION_PROGRESS(FIELD(progress.wanted)),
};

const struct command command_trace = {
    .name = "trace",
    .arguments = "CHECKPOINT [--ids FILE] (--out FILE | --against FILE) [options]",
    .summary = "Write the output of each layer for a sequence of token ids.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, trace.checkpoint),
    .operands_required = 1, .run = run,
};
