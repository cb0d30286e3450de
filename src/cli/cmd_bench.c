#include <stdio.h>
#include <surprisal.h>

#include "commands.h"
#include "hub.h"
#include "progress.h"
#include "report.h"

struct settings {
    struct surprisal_bench_options bench;
    struct progress_line progress;
    bool json;
    struct hub hub;
};

static void show_plan(void *user, size_t figures, double seconds)
{
    const struct progress_line *p = user;
    if (p->shown)
        fprintf(stderr, "%zu figures: about %.0f s\n", figures, seconds);
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { .bench = { .plan = show_plan } };
    int status = options_parse(c, &s, argc, argv);
    if (status == GO_ON)
        status = hub_find(&s.hub, &s.bench.checkpoint, NULL);
    if (status != GO_ON)
        return status;
    struct surprisal_error err = { 0 };
    char *json = NULL, *text = NULL;
    s.bench.machine.progress = progress_begin(&s.progress);
    bool ok = surprisal_bench(&s.bench, s.json ? &json : NULL, s.json ? NULL : &text, &err);
    progress_end(&s.progress);
    return report_either(ok, json, text, &err);
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    OPTION_REVISION(.field = offsetof(struct settings, hub.revision)),
    { .name = "checkpoint", .value = "DIR",
      .help = "measure the shapes of this checkpoint, and the disk with its largest file\n"
              "(default: the shapes of Qwen3.5-35B-A3B, and no disk)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(bench.checkpoint) },
    OPTION_THREADS(FIELD(bench.machine.threads)),
    OPTION_ISA(FIELD(bench.machine.isa)),
    { .name = "seconds", .value = "S",
      .help = "seconds of a round (0.15); a figure is the best of three rounds",
      .parse = parse_seconds, .expected = EXPECTED_SECONDS, FIELD(bench.seconds) },
    { .name = "json", .help = "print only JSON: the limits, and for each kernel GFLOP/s or GB/s\n"
                              "and the share of the limit",
      .parse = parse_switch, FIELD(json) },
    OPTION_QUIET(FIELD(progress.quiet)),
    OPTION_PROGRESS(FIELD(progress.wanted)),
};

const struct command command_bench = {
    .name = "bench",
    .arguments = "[--checkpoint DIR] [options]",
    .summary = "Measure this machine's limits, and how close the kernels come to them.",
    .options = options, .n_options = sizeof options / sizeof *options, .run = run,
};
