#include <stdio.h>
#include <surprisal.h>

#include "commands.h"
#include "eval_options.h"
#include "report.h"

struct settings {
    struct eval_settings base;
    struct surprisal_calibrate_options calibrate;
    bool json;
};

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { .base.eval = surprisal_eval_defaults(),
                          .calibrate = surprisal_calibrate_defaults() };
    int status = options_parse(c, &s, argc, argv);
    if (status == GO_ON)
        status = hub_find(&s.base.hub, &s.base.eval.checkpoint, NULL);
    if (status != GO_ON)
        return status;
    struct surprisal_error err = { 0 };
    s.calibrate.eval = s.base.eval;
    if (!s.calibrate.out)
        return options_refuse(c, "--out is missing");
    if (!surprisal_calibrate_check(&s.calibrate, &err))
        return options_refuse(c, "%s", err.message);
    char *json = NULL, *text = NULL;
    s.calibrate.eval.machine.progress = progress_begin(&s.base.progress);
    s.calibrate.eval.plan = s.base.progress.shown ? eval_options_show_plan : NULL;
    bool ok = surprisal_calibrate(&s.calibrate, s.json ? &json : NULL, s.json ? NULL : &text, &err);
    progress_end(&s.base.progress);
    return report_either(ok, json, text, &err);
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    { .name = "out", .value = "FILE",
      .help = "safetensors file to write: for each linear layer X except the head\n"
              "X.input_mean_square [in] and X.tokens",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(calibrate.out) },
    { .name = "min-tokens", .value = "N", .help = "list experts with fewer tokens (32)",
      .parse = parse_count, .expected = EXPECTED_COUNT, FIELD(calibrate.min_tokens) },
    { .name = "json", .help = "print what was done as JSON", .parse = parse_switch, FIELD(json) },
};

const struct command command_calibrate = {
    .name = "calibrate",
    .arguments = "CHECKPOINT (--text FILE | --ids FILE) --out FILE [options]",
    .summary = "Measure the inputs of each linear layer, for quantizers that weigh their errors "
               "with them.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .more_options = eval_options, .n_more_options = EVAL_OPTIONS,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, base.eval.checkpoint),
    .operands_required = 1, .run = run,
};
