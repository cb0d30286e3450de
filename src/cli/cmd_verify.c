#include <stdio.h>
#include <surprisal.h>

#include "commands.h"
#include "hub.h"
#include "progress.h"
#include "report.h"

struct settings {
    struct surprisal_verify_options verify;
    struct progress_line progress;
    bool json, strict;
    struct hub hub;
};

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { 0 };
    int status = options_parse(c, &s, argc, argv);
    if (status == GO_ON)
        status = hub_find(&s.hub, &s.verify.checkpoint, &s.verify.against);
    if (status != GO_ON)
        return status;
    struct surprisal_error err = { 0 };
    struct surprisal_verify_result result;
    s.verify.machine.progress = progress_begin(&s.progress);
    bool ok = surprisal_verify(&s.verify, &result, &err);
    progress_end(&s.progress);
    if (!ok)
        return report_failure(&err);
    if (s.json)
        puts(result.json);
    else
        fputs(result.text, stdout);
    status = result.findings || (s.strict && result.suspicions) ? FAILED : DONE;
    surprisal_verify_result_free(&result);
    return status;
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    OPTION_REVISION(.field = offsetof(struct settings, hub.revision)),
    { .name = "against", .value = "ORIGINAL",
      .help = "the checkpoint that CHECKPOINT was made from: weights that are not\n"
              "quantized must be equal; the error of the others is measured (SQNR in dB)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(verify.against) },
    { .name = "html", .value = "FILE", .help = "write a page with findings and a table of SQNR",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(verify.html) },
    { .name = "all", .help = "a line for each finding, also for those that repeat",
      .parse = parse_switch, FIELD(verify.all) },
    { .name = "strict", .help = "exit with status 1 on a suspicion too",
      .parse = parse_switch, FIELD(strict) },
    OPTION_JSON(FIELD(json)),
    { .name = "threads", .value = "N", .help = "threads to check with (default: all)",
      .parse = parse_threads, .expected = EXPECTED_THREADS, FIELD(verify.machine.threads) },
    OPTION_QUIET(FIELD(progress.quiet)),
    OPTION_PROGRESS(FIELD(progress.wanted)),
};

const struct command command_verify = {
    .name = "verify",
    .arguments = "CHECKPOINT [--against ORIGINAL] [options]",
    .summary = "Look for damage in a checkpoint, and measure what quantization changed.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, verify.checkpoint),
    .operands_required = 1, .run = run,
};
