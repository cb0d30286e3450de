#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <surprisal.h>

#include "commands.h"
#include "eval_options.h"
#include "report.h"

struct settings {
    struct eval_settings base;
    struct surprisal_compare_options compare;
    struct surprisal_report_options report;     /* owns the list of gates */
    struct operand_list more;                   /* candidates after the first: a ranking */
    bool json;
};

static void show_plan(void *user, const struct surprisal_comparison_plan *plan)
{
    struct progress_line *p = user;
    struct surprisal_error folder = { 0 };
    if (p->shown)
        fprintf(stderr, "%zu evaluations; their runs take %.3g GB of disk in %s (%.3g GB free)\n",
                plan->runs, (double)plan->disk_bytes / 1e9,
                surprisal_printable(&folder, plan->folder), (double)plan->free_bytes / 1e9);
    progress_plan(p, plan->stages, plan->n_stages);
}

static bool is_plain(const char *word)
{
    return *word && strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                           "_-+./:,=@%") == strlen(word);
}

/* The arguments as a shell takes them: quoted where they need it, ' as '\''.  Gives the line. */
static char *command_line(const struct command *c, int argc, char **argv)
{
    char *line = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&line, &n);
    if (!f)
        return NULL;
    fprintf(f, "surprisal %s", c->name);
    for (int i = 0; i < argc; i++) {
        if (is_plain(argv[i])) {
            fprintf(f, " %s", argv[i]);
            continue;
        }
        fputs(" '", f);
        for (const char *s = argv[i]; *s; s++)
            fputs(*s == '\'' ? "'\\''" : (char[]){ *s, '\0' }, f);
        fputc('\'', f);
    }
    if (fclose(f) == 0)
        return line;
    free(line);
    return NULL;
}

/* Gates and files.  The comparison is printed first, so that it is not lost if a file cannot be
 * written. */
static int report(const struct settings *s, const char *json, const char *text)
{
    struct surprisal_error err = { 0 };
    struct surprisal_report report;
    if (s->json)
        puts(json);
    else
        fputs(text, stdout);
    if (!surprisal_report(json, &s->report, &report, &err))
        return options_fail("%s", err.message);
    if (report.baseline && !s->json)
        printf("\n%s", report.baseline);
    fflush(stdout);
    fputs(report.failed, stderr);
    int status = report.n_failed ? GATE_FAILED : DONE;
    surprisal_report_free(&report);
    return status;
}

/* Callbacks and progress, before the work. */
static void begin(struct settings *s)
{
    struct progress_line *line = &s->base.progress;
    s->report.progress = s->compare.eval.machine.progress = progress_begin(line);
    s->compare.stage = progress_stage;          /* each stage has a peak of memory of its own */
    if (line->shown) {                          /* to estimate the time, it must be measured */
        s->compare.plan = show_plan;
        s->compare.eval.plan = eval_options_show_plan;
    }
}

/* Several candidates against A. */
static int rank(struct settings *s, const struct command *c, const char *const *candidates,
                size_t n)
{
    struct surprisal_error err = { 0 };
    struct surprisal_ranking result;
    struct surprisal_rank_options o = { .candidates = candidates, .n_candidates = n };
    s->compare.b = NULL;
    s->compare.eval = s->base.eval;
    s->report.ranking = true;
    o.compare = s->compare;
    if (!surprisal_report_check(&s->report, &err) || !surprisal_rank_check(&o, &err))
        return options_refuse(c, "%s", err.message);
    if (!surprisal_report_prepare(&s->report, &err))
        return options_fail("%s", err.message);
    begin(s);
    o.compare = s->compare;
    bool ok = surprisal_rank(&o, &result, &err);
    progress_end(&s->base.progress);
    if (!ok)
        return report_failure(&err);
    int status = report(s, result.json, result.text);
    if (status == DONE && result.n_left_out)
        status = FAILED;
    surprisal_ranking_free(&result);
    return status;
}

/* The names as they are found in the hub's cache, and what the files must not overwrite. */
static int rank_all(struct settings *s, const struct command *c)
{
    const struct surprisal_eval_options *e = &s->base.eval;
    const char *const others[] = { s->compare.a, s->compare.floor_run, e->text, e->ids,
                                   e->tokenizer };
    size_t n = s->more.n + 1, n_others = sizeof others / sizeof *others;
    const char **inputs = calloc(n + n_others, sizeof *inputs);
    char **found = calloc(n, sizeof *found);
    int status = inputs && found ? GO_ON : options_fail("out of memory: the candidates");
    if (status == GO_ON) {
        inputs[0] = s->compare.b;
        memcpy(inputs + 1, s->more.words, s->more.n * sizeof *inputs);
        hub_find_list(&s->base.hub, inputs, found, n);
        memcpy(inputs + n, others, sizeof others);
        s->report.inputs = inputs;
        s->report.n_inputs = n + n_others;
        status = rank(s, c, inputs, n);
    }
    for (size_t i = 0; found && i < n; i++)
        free(found[i]);
    free(found);
    free((void *)inputs);
    return status;
}

static int compare(struct settings *s, const struct command *c)
{
    struct surprisal_error err = { 0 };
    struct surprisal_comparison result;
    const char *const inputs[] = {
        s->compare.a, s->compare.b, s->compare.floor_run, s->base.eval.text, s->base.eval.ids,
        s->base.eval.tokenizer,
    };
    s->report.inputs = inputs;
    s->report.n_inputs = sizeof inputs / sizeof *inputs;
    s->compare.eval = s->base.eval;
    s->report.plans = surprisal_compare_takes_plans(&s->compare);
    if (!surprisal_report_check(&s->report, &err) || !surprisal_compare_check(&s->compare, &err))
        return options_refuse(c, "%s", err.message);
    if (!surprisal_report_prepare(&s->report, &err))
        return options_fail("%s", err.message);
    begin(s);
    bool ok = surprisal_compare(&s->compare, &result, &err);
    progress_end(&s->base.progress);
    if (!ok)
        return report_failure(&err);
    int status = report(s, result.json, result.text);
    surprisal_comparison_free(&result);
    return status;
}

static int run(const struct command *c, int argc, char **argv)
{
    struct settings s = { .base.eval = surprisal_eval_defaults(),
                          .compare = surprisal_compare_defaults() };
    int status = options_parse(c, &s, argc, argv);
    if (status == GO_ON)
        status = hub_find(&s.base.hub, &s.compare.a, s.more.n ? NULL : &s.compare.b);
    if (status == GO_ON) {
        const char *temporary = getenv("TMPDIR");
        if (temporary && *temporary)
            s.compare.temporary = temporary;
        char *line = command_line(c, argc, argv);
        s.compare.command = line;
        status = s.more.n ? rank_all(&s, c) : compare(&s, c);
        free(line);
    }
    free((void *)s.report.gates);
    free((void *)s.more.words);
    return status;
}

/* One more gate; the settings own the list as long as the command runs. */
static bool parse_gate(void *field, const char *value, const struct option *o)
{
    (void)o;
    struct surprisal_report_options *report = field;
    const char **gates = realloc((void *)report->gates, (report->n_gates + 1) * sizeof *gates);
    if (!gates)
        return false;
    gates[report->n_gates++] = value;
    report->gates = gates;
    return true;
}

static bool parse_layers(void *field, const char *value, const struct option *o)
{
    if (strcmp(value, "none") != 0)
        return parse_count(field, value, o);
    *(size_t *)field = 0;
    return true;
}

static bool parse_floor(void *field, const char *value, const struct option *o)
{
    struct surprisal_compare_options *compare = field;
    compare->floor = true;
    compare->floor_run = value == o->alone ? NULL : value;
    return value == o->alone || *value != '\0';
}

#define FIELD(name) .field = offsetof(struct settings, name)

static const struct option options[] = {
    OPTION_JSON(FIELD(json)),
    { .name = "gate", .value = "EXPR",
      .help = "exit with status 3 if the figures do not meet it; may be repeated:\n"
              "'mean_kld<=0.02', 'abs(delta_nll) < 0.005', 'kld.p99/floor.kld.p99<=20',\n"
              "'mean_kld<=baseline.mean_kld*1.05'; the names are those of --json",
      .parse = parse_gate, .expected = "a gate", FIELD(report) },
    { .name = "baseline", .value = "FILE",
      .help = "the JSON of an earlier comparison with the same original and text: shows\n"
              "its figures beside the new ones, and gates can use them",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(report.baseline) },
    { .name = "html", .value = "FILE",
      .help = "write one HTML page with plots; it loads nothing from the network",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(report.html) },
    { .name = "markdown", .value = "FILE", .help = "write the quality section of a model card",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(report.markdown) },
    { .name = "csv", .value = "FILE", .help = "for several B: write their table, with all digits",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(report.csv) },
    { .name = "junit", .value = "FILE", .help = "write the gates as JUnit XML",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(report.junit) },
    { .name = "bootstrap", .value = "N", .help = "samples of the bootstrap over windows (2000)",
      .parse = parse_count, .expected = EXPECTED_COUNT, FIELD(compare.bootstrap) },
    { .name = "seed", .value = "N", .help = "seed of the bootstrap (1)", .parse = parse_seed,
      .expected = EXPECTED_SEED, FIELD(compare.seed) },
    { .name = "floor", .value = "=DIR", .alone = "",
      .help = "a noise floor: A compared with itself in bf16 compute.  For checkpoints:\n"
              "--floor evaluates A once more; for run folders: --floor=DIR names such a run",
      .parse = parse_floor, .expected = EXPECTED_TEXT, FIELD(compare) },
    { .name = "layers", .value = "N|none",
      .help = "for checkpoints: compare figures by layer in the first N windows (16)",
      .parse = parse_layers, .expected = EXPECTED_COUNT ", or none", FIELD(compare.layer_windows) },
    { .name = "out", .value = "DIR",
      .help = "for checkpoints: new folder that keeps the runs, as a, b and floor (of\n"
              "several B: original, b1, b2 and so on, and floor)\n"
              "(default: a temporary folder in $TMPDIR or /tmp)",
      .parse = parse_text, .expected = EXPECTED_TEXT, FIELD(base.eval.out) },
    { .name = "resume", .help = "for several B: continue the interrupted ranking of the same --out",
      .parse = parse_switch, FIELD(base.eval.resume) },
    { .name = "hidden", .value = "bf16|f32", .alone = "f32",
      .help = "for checkpoints: type of the final hidden states that are kept (f32);\n"
              "bf16 takes half the disk space",
      .parse = parse_choice, .expected = "bf16 or f32", .choices = eval_options_hidden,
      FIELD(base.eval.hidden) },
    OPTION_SKIP_NONFINITE(FIELD(base.eval.skip_nonfinite)),
};

const struct command command_compare = {
    .name = "compare",
    .arguments = "A B [B ...] [options]      A, B: run folders, folders of plans, or checkpoints "
                 "with eval's options;\n"
                 "several B are ranked against A by size and divergence",
    .summary = "Compare two checkpoints: is the difference real, and where do they differ?",
    .options = options, .n_options = sizeof options / sizeof *options,
    .more_options = eval_options, .n_more_options = EVAL_OPTIONS,
    .operand = "A", .operand_field = offsetof(struct settings, compare.a),
    .second_operand = "B", .second_field = offsetof(struct settings, compare.b),
    .further_operands = "another B", .further_field = offsetof(struct settings, more),
    .operands_required = 2, .run = run,
};
