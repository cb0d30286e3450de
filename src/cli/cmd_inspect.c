#include <surprisal.h>

#include "commands.h"
#include "hub.h"
#include "report.h"

struct settings {
    struct surprisal_inspect_options inspect;
    bool json;
    struct hub hub;
};

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { 0 };
    int status = options_parse(c, &s, argc, argv);
    if (status == GO_ON)
        status = hub_find(&s.hub, &s.inspect.checkpoint, NULL);
    if (status != GO_ON)
        return status;
    struct surprisal_error err = { 0 };
    char *json = NULL, *text = NULL;
    bool ok = surprisal_inspect(&s.inspect, s.json ? &json : NULL, s.json ? NULL : &text, &err);
    return report_either(ok, json, text, &err);
}

static const struct option options[] = {
    OPTION_REVISION(.field = offsetof(struct settings, hub.revision)),
    OPTION_JSON(.field = offsetof(struct settings, json)),
};

const struct command command_inspect = {
    .name = "inspect",
    .arguments = "CHECKPOINT [--json]",
    .summary = "Show what a checkpoint holds, what is quantized, and what an evaluation costs.",
    .options = options, .n_options = sizeof options / sizeof *options,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, inspect.checkpoint),
    .operands_required = 1, .run = run,
};
