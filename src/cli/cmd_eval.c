#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>

#include "cluster/ranks.h"
#include "commands.h"
#include "eval_options.h"
#include "report.h"

struct settings {
    struct eval_settings base;
    bool json, mixed;
};

/* Is the work shared by ranks?  With --part each process has its own work and folder, whoever
 * starts it.  What ranks left can be finished by one process. */
static bool is_shared(const struct settings *s, const struct launch *launch)
{
    const struct surprisal_eval_options *o = &s->base.eval;
    return (launch->size > 1 && !o->part.of)
        || (o->resume && o->out && surprisal_division_is_at(o->out));
}

/* Only rank 0 has something to print. */
static int evaluate_shared(struct settings *s, const struct launch *launch)
{
    struct surprisal_error err = { 0 };
    struct surprisal_merged merged;
    bool many = launch->size > 1;
    const struct ranks_request request = { many ? launch : NULL, &s->base.eval, s->mixed };
    bool ok = ranks_eval(&request, &merged, &err);
    progress_end(&s->base.progress);
    if (!ok && launch->rank > 0)
        return err.interrupted ? INTERRUPTED : FAILED;
    if (!ok)
        return report_failure(&err);
    ok = !merged.n || report_print_results(merged.results, merged.n, s->base.eval.n_plans > 0,
                                           s->json);
    surprisal_merged_free(&merged);
    return ok ? DONE : options_fail("out of memory: the report");
}

/* Ranks that cannot share the work would all do the same. */
static int check_launch(const struct command *c, const struct settings *s,
                        const struct launch *launch)
{
    if (launch->size > 1 && !s->base.eval.part.of && !launch->library)
        return launch->rank > 0
             ? WRONG_USAGE
             : options_refuse(NULL, "%s started %d ranks, which cannot share the work: %s",
                              launch->launcher, launch->size, launch->why);
    if (s->mixed && !launch->launcher && !is_shared(s, launch))
        return options_refuse(c, "--mixed is for several ranks, started by mpirun");
    return GO_ON;
}

static int evaluate(struct settings *s, const struct launch *launch,
                    struct surprisal_result *results, size_t n)
{
    struct surprisal_error err = { 0 };
    s->base.progress.quiet = s->base.progress.quiet || (launch->size > 1 && launch->rank > 0);
    s->base.eval.machine.progress = progress_begin(&s->base.progress);
    /* A plan that nobody sees need not be made: its time is estimated from a measurement. */
    s->base.eval.plan = s->base.progress.shown ? eval_options_show_plan : NULL;
    if (is_shared(s, launch))
        return evaluate_shared(s, launch);
    bool ok = surprisal_eval(&s->base.eval, results, &err);
    progress_end(&s->base.progress);
    if (!ok)
        return report_failure(&err);
    ok = report_print_results(results, n, s->base.eval.n_plans > 0, s->json);
    for (size_t i = 0; i < n; i++)
        surprisal_result_free(&results[i]);
    return ok ? DONE : options_fail("out of memory: the report");
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { .base.eval = surprisal_eval_defaults() };
    struct surprisal_error err = { 0 };
    const struct launch launch = launch_find();
    int status = options_parse(c, &s, argc, argv);
    if (status == GO_ON)
        status = hub_find(&s.base.hub, &s.base.eval.checkpoint, NULL);
    if (status == GO_ON && !surprisal_eval_check(&s.base.eval, &err))
        status = options_refuse(c, "%s", err.message);
    if (status == GO_ON)
        status = check_launch(c, &s, &launch);
    if (status == GO_ON) {
        size_t n = s.base.eval.n_plans ? s.base.eval.n_plans : 1;
        struct surprisal_result *results = calloc(n, sizeof *results);
        status = results ? evaluate(&s, &launch, results, n)
                         : options_fail("out of memory: the results");
        free(results);
    }
    free((void *)s.base.eval.plans);
    return status;
}

#define FIELD(name) .field = offsetof(struct settings, name)

/* Ends text at its first colon; what follows it, or NULL. */
static char *cut_at_colon(char *text)
{
    char *colon = strchr(text, ':');
    if (colon)
        *colon++ = '\0';
    return colon;
}

/* PROTOCOL:CONTEXT[:STRIDE] or TASK:CONTEXT, one more plan of a struct surprisal_eval_options,
 * which owns them as long as its command runs. */
static bool parse_plan(void *field, const char *value, const struct option *o)
{
    struct surprisal_eval_options *eval = field;
    struct surprisal_protocol_plan plan = { 0 }, *plans;
    char word[64];                      /* no plan is as long */
    if (snprintf(word, sizeof word, "%s", value) >= (int)sizeof word)
        return false;
    char *context = cut_at_colon(word), *stride = context ? cut_at_colon(context) : NULL;
    bool known =
        parse_choice(&plan.protocol, word, &(struct option){ .choices = eval_options_protocols })
        || parse_choice(&plan.task, word, &(struct option){ .choices = eval_options_tasks });
    if (!known || !context || !parse_context(&plan.context, context, o)
        || (stride && !parse_count(&plan.stride, stride, o))
        || !(plans = realloc((void *)eval->plans, (eval->n_plans + 1) * sizeof *plans)))
        return false;
    plans[eval->n_plans++] = plan;
    eval->plans = plans;
    return true;
}

/* "3/16" */
static bool parse_part(void *field, const char *value, const struct option *o)
{
    struct surprisal_part *part = field;
    char word[64];
    if (snprintf(word, sizeof word, "%s", value) >= (int)sizeof word)
        return false;
    char *of = strchr(word, '/');
    if (!of)
        return false;
    *of++ = '\0';
    return parse_count(&part->index, word, o) && parse_count(&part->of, of, o)
        && part->index <= part->of;
}

static const struct option options[] = {
    { .name = "plan", .value = "PLAN",
      .help = "replaces --protocol, --context, --stride and --task: PROTOCOL:CONTEXT,\n"
              "strided:CONTEXT:STRIDE, wikitext:CONTEXT or lines:CONTEXT.  May be\n"
              "repeated: all plans share the passes over the weights, --max-windows\n"
              "applies to each, and --out holds a run folder for each",
      .parse = parse_plan, FIELD(base.eval),
      .expected = "PROTOCOL:CONTEXT, strided:CONTEXT:STRIDE, wikitext:CONTEXT or lines:CONTEXT" },
    { .name = "out", .value = "DIR",
      .help = "new folder for summary.json and tokens.safetensors",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(base.eval.out) },
    { .name = "resume", .help = "continue the interrupted run of the same --out, if there is one",
      .parse = parse_switch, FIELD(base.eval.resume) },
    { .name = "hidden", .value = "bf16|f32", .alone = "f32",
      .help = "keep final hidden states in the folder; without a value: f32",
      .parse = parse_choice, .expected = "bf16 or f32", .choices = eval_options_hidden,
      FIELD(base.eval.hidden) },
    { .name = "mtp", .value = "N",
      .help = "score N drafts of the checkpoint's MTP layer, one after the other: how often\n"
              "the model's best token is theirs, and sampling would accept them",
      .parse = parse_drafts, .expected = "a whole number from 1 to 8", FIELD(base.eval.mtp) },
    OPTION_SKIP_NONFINITE(FIELD(base.eval.skip_nonfinite)),
    { .name = "part", .value = "I/N",
      .help = "score the I-th of N parts of the windows, on any machine: --out becomes a\n"
              "part of the run, and `surprisal merge` joins all N",
      .parse = parse_part, .expected = "I/N, two whole numbers, I from 1 to N",
      FIELD(base.eval.part) },
    { .name = "mixed",
      .help = "ranks of mpirun may have different instruction sets, which need not agree\n"
              "in the last bits; the summary names all of them",
      .parse = parse_switch, FIELD(mixed) },
    { .name = "json", .help = "print only the summary, as JSON; with --plan a list of summaries",
      .parse = parse_switch,
      FIELD(json) },
};

const struct command command_eval = {
    .name = "eval", .ranks = true,
    .arguments = "CHECKPOINT (--text FILE | --ids FILE) [options]",
    .summary = "Score a text: mean negative log-likelihood and perplexity, with standard errors.",
    .options = eval_options, .n_options = EVAL_OPTIONS,
    .more_options = options, .n_more_options = sizeof options / sizeof *options,
    .operand = "CHECKPOINT", .operand_field = offsetof(struct settings, base.eval.checkpoint),
    .operands_required = 1, .run = run,
};
