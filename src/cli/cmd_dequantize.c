#include <surprisal.h>

#include "commands.h"
#include "hub.h"
#include "progress.h"
#include "report.h"

struct settings {
    struct surprisal_dequantize_options dequantize;
    struct progress_line progress;
    bool json;
    struct hub hub;
};

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { 0 };
    int status = options_parse(c, &s, argc, argv);
    if (status == GO_ON)
        status = hub_find(&s.hub, &s.dequantize.checkpoint, NULL);
    if (status != GO_ON)
        return status;
    if (!s.dequantize.out)
        return options_refuse(c, "OUT is missing");
    struct surprisal_error err = { 0 };
    s.dequantize.machine.progress = progress_begin(&s.progress);
    char *json = NULL, *text = NULL;
    bool ok = surprisal_dequantize(&s.dequantize, s.json ? &json : NULL, s.json ? NULL : &text,
                                   &err);
    progress_end(&s.progress);
    return report_either(ok, json, text, &err);
}

static const struct choice dtypes[] = {
    { "bf16", SURPRISAL_DEQUANTIZE_BF16 }, { "f32", SURPRISAL_DEQUANTIZE_F32 }, { NULL, 0 }
};

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    OPTION_REVISION(.field = offsetof(struct settings, hub.revision)),
    { .name = "shard-size", .value = "SIZE", .help = "largest size of a file (default 5000000000)",
      .parse = parse_size, .expected = EXPECTED_SIZE, FIELD(dequantize.shard_bytes) },
    { .name = "dtype", .value = "TYPE",
      .help = "what quantized weights become: bf16 (default), or f32, which is exact",
      .parse = parse_choice, .choices = dtypes, .expected = "bf16 or f32",
      FIELD(dequantize.dtype) },
    { .name = "resume", .help = "continue an interrupted run from OUT.partial",
      .parse = parse_switch, FIELD(dequantize.resume) },
    OPTION_JSON(FIELD(json)),
    OPTION_THREADS(FIELD(dequantize.machine.threads)),
    OPTION_ISA(FIELD(dequantize.machine.isa)),
    OPTION_QUIET(FIELD(progress.quiet)),
    OPTION_PROGRESS(FIELD(progress.wanted)),
};

const struct command command_dequantize = {
    .name = "dequantize",
    .arguments = "CHECKPOINT OUT [options]",
    .summary = "Write a quantized checkpoint in BF16 or F32, experts fused as in originals.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, dequantize.checkpoint),
    .operands_required = 2,
    .second_operand = "OUT", .second_field = offsetof(struct settings, dequantize.out),
    .run = run,
};
