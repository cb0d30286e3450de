#include <stdio.h>
#include <surprisal.h>

#include "commands.h"
#include "hub.h"
#include "progress.h"
#include "report.h"

struct settings {
    struct surprisal_quantize_options quantize;
    struct text_list include, exclude;
    struct progress_line progress;
    bool json;
    struct hub hub;
};

static void print_plan(void *user, const char *text)
{
    (void)user;
    printf("%s", text);
    fflush(stdout);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { .json = false };
    int status = options_parse(c, &s, argc, argv);
    if (status == GO_ON)
        status = hub_find(&s.hub, &s.quantize.checkpoint, NULL);
    if (status != GO_ON)
        return status;
    struct surprisal_error err = { 0 };
    s.quantize.include = s.include.texts;
    s.quantize.n_include = s.include.n;
    s.quantize.exclude = s.exclude.texts;
    s.quantize.n_exclude = s.exclude.n;
    s.quantize.plan = s.json ? NULL : print_plan;
    if (!s.quantize.out && !s.quantize.dry_run)
        return options_refuse(c, "OUT is missing");
    if (!surprisal_quantize_check(&s.quantize, &err))
        return options_refuse(c, "%s", err.message);
    s.quantize.machine.progress = progress_begin(&s.progress);
    char *json = NULL, *text = NULL;
    bool ok = surprisal_quantize(&s.quantize, s.json ? &json : NULL, s.json ? NULL : &text, &err);
    progress_end(&s.progress);
    return report_either(ok, json, text, &err);
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct choice recipes[] = {
    { "experts", SURPRISAL_RECIPE_EXPERTS }, { "linears", SURPRISAL_RECIPE_LINEARS }, { NULL, 0 },
};
static const struct choice scales[] = {
    { "qstream", SURPRISAL_SCALE_QSTREAM }, { "exact", SURPRISAL_SCALE_EXACT },
    { "ocp", SURPRISAL_SCALE_OCP }, { NULL, 0 },
};

static const struct option options[] = {
    OPTION_REVISION(.field = offsetof(struct settings, hub.revision)),
    { .name = "recipe", .value = "NAME",
      .help = "what to quantize: experts (default: the routed experts), or linears (every\n"
              "linear layer, those of image encoder, router and head included)",
      .parse = parse_choice, .expected = "experts or linears", .choices = recipes,
      FIELD(quantize.recipe) },
    { .name = "include", .value = "PATTERN",
      .help = "instead of a recipe: the linear layers that match; may be repeated.  With a\n"
              "'*' it is a glob on the whole tensor name (which ends in .weight), without\n"
              "one a part of the name",
      .parse = parse_list, .expected = EXPECTED_LIST, FIELD(include) },
    { .name = "exclude", .value = "PATTERN",
      .help = "leave out layers that match; may be repeated.  Alone: of all linear layers",
      .parse = parse_list, .expected = EXPECTED_LIST, FIELD(exclude) },
    { .name = "allow-unmatched", .help = "accept patterns that match nothing",
      .parse = parse_switch, FIELD(quantize.allow_unmatched) },
    { .name = "scale", .value = "RULE",
      .help = "exponent of a block: qstream (default: the best of three, as qstream), exact\n"
              "(the best of all), or ocp (from the largest weight; OCP Microscaling 1.0)",
      .parse = parse_choice, .expected = "qstream, exact or ocp", .choices = scales,
      FIELD(quantize.scale) },
    { .name = "scale-percentile", .value = "X",
      .help = "for qstream: sets its three exponents (default 99.5; 100: the maximum)",
      .parse = parse_percentile, .expected = EXPECTED_PERCENTILE,
      FIELD(quantize.scale_percentile) },
    { .name = "gamma", .value = "FILE",
      .help = "safetensors that weigh the errors: F32 [in] by module name, squared; or\n"
              "MODULE.hessian [in / 32, 32, 32]",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(quantize.gamma) },
    { .name = "activations", .value = "FILE",
      .help = "statistics of `surprisal calibrate` that weigh the errors",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(quantize.activations) },
    { .name = "shard-size", .value = "SIZE", .help = "largest size of a file (default 5000000000)",
      .parse = parse_size, .expected = EXPECTED_SIZE, FIELD(quantize.shard_bytes) },
    { .name = "dry-run", .help = "show the plan and write nothing", .parse = parse_switch,
      FIELD(quantize.dry_run) },
    { .name = "resume", .help = "continue an interrupted run from OUT.partial",
      .parse = parse_switch, FIELD(quantize.resume) },
    OPTION_JSON(FIELD(json)),
    OPTION_THREADS(FIELD(quantize.machine.threads)),
    OPTION_ISA(FIELD(quantize.machine.isa)),
    OPTION_QUIET(FIELD(progress.quiet)),
    OPTION_PROGRESS(FIELD(progress.wanted)),
};

const struct command command_quantize = {
    .name = "quantize",
    .arguments = "CHECKPOINT OUT [options]",
    .summary = "Write a checkpoint with MXFP4 weights, in the format of qstream and "
               "compressed-tensors.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, quantize.checkpoint),
    .operands_required = 1,
    .second_operand = "OUT", .second_field = offsetof(struct settings, quantize.out),
    .run = run,
};
