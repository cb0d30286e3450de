#include <stdlib.h>
#include <surprisal.h>

#include "commands.h"
#include "progress.h"
#include "report.h"

struct settings {
    struct operand_list parts;
    struct surprisal_merge_options merge;
    struct progress_line progress;
    bool json;
};

static int merge(struct settings *s)
{
    struct surprisal_error err = { 0 };
    struct surprisal_merged merged;
    s->merge.progress = progress_begin(&s->progress);
    bool ok = surprisal_merge(&s->merge, &merged, &err);
    progress_end(&s->progress);
    if (!ok)
        return report_failure(&err);
    ok = report_print_results(merged.results, merged.n, *merged.results->plan != '\0', s->json);
    surprisal_merged_free(&merged);
    return ok ? DONE : options_fail("out of memory: the report");
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { 0 };
    int status = options_parse(c, &s, argc, argv);
    s.merge.parts = s.parts.words;
    s.merge.n_parts = s.parts.n;
    if (status == GO_ON && !s.merge.out)
        status = options_refuse(c, "--out is missing");
    if (status == GO_ON)
        status = merge(&s);
    free(s.parts.words);
    return status;
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    { .name = "out", .value = "DIR", .help = "new run folder, as the run in one piece writes it",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(merge.out) },
    { .name = "mixed",
      .help = "take parts that were computed with different instruction sets, which need\n"
              "not agree in the last bits; the summary names all of them",
      .parse = parse_switch, FIELD(merge.mixed) },
    { .name = "json", .help = "print only the summary, as JSON; of plans a list of summaries",
      .parse = parse_switch, FIELD(json) },
    OPTION_QUIET(FIELD(progress.quiet)),
    OPTION_PROGRESS(FIELD(progress.wanted)),
};

const struct command command_merge = {
    .name = "merge",
    .arguments = "PART... --out DIR [options]",
    .summary = "Join the parts of a run (eval --part): the folder of the run in one piece.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .further_operands = "PART", .further_field = offsetof(struct settings, parts),
    .operands_required = 1, .run = run,
};
