/* numbers_host MODE LOCALE DEMO [bench] - a program with a locale of its own that uses the library:
 * all of the public API that formats or parses numbers, on the demo checkpoints in the folder DEMO.
 * Writes its results into the working folder, where test_numbers.py compares them with those of
 * another locale.  MODE: "program" sets the locale by setlocale, "thread" only for its thread by
 * uselocale.  With "bench" it only measures the machine.
 *
 * Exit status 0: everything worked, and the locale is unchanged. */
#include <locale.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "surprisal.h"

#define CONTEXT 128
#define WINDOWS 4

static struct surprisal_error err;
static char bf16[1024], mxfp4[1024], text[1024];

static void expect(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %s\n", what, err.message);
    exit(1);
}

/* ---- results as files --------------------------------------------------------------- */

static void save(const char *name, const char *content)
{
    FILE *f = fopen(name, "w");
    bool ok = f && fputs(content ? content : "(none)", f) >= 0;
    expect(f && fclose(f) == 0 && ok, name);
}

/* Also frees them. */
static void save_pair(const char *name, char *json, char *plain)
{
    char path[64];
    snprintf(path, sizeof path, "%s.json", name);
    save(path, json);
    snprintf(path, sizeof path, "%s.txt", name);
    save(path, plain);
    free(json);
    free(plain);
}

/* The message of what was refused. */
static void save_refusal(const char *name, bool ok)
{
    expect(!ok, name);
    save(name, err.message);
}

/* Bits, so that the host's own printf has no part in it. */
static void save_figures(const char *name, const struct surprisal_result *r)
{
    const double figures[] = { r->mean_nll, r->perplexity, r->nll_stderr, r->perplexity_stderr,
                               r->word_perplexity, r->byte_perplexity, r->bits_per_byte };
    FILE *f = fopen(name, "w");
    expect(f, name);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        uint64_t bits;
        memcpy(&bits, &figures[i], sizeof bits);
        fprintf(f, "%016llx\n", (unsigned long long)bits);
    }
    expect(fclose(f) == 0, name);
}

static void save_plan(void *user, const char *plan)
{
    save(user, plan);
}

/* ---- what is called ------------------------------------------------------------------ */

static struct surprisal_eval_options eval_options(const char *checkpoint)
{
    struct surprisal_eval_options o = surprisal_eval_defaults();
    o.checkpoint = checkpoint;
    o.text = text;
    o.context = CONTEXT;
    o.max_windows = WINDOWS;
    o.machine.threads = 2;
    return o;
}

static void evaluate(const char *checkpoint, const char *out, enum surprisal_compute compute)
{
    struct surprisal_eval_options o = eval_options(checkpoint);
    struct surprisal_result r;
    char name[64];
    o.out = out;
    o.hidden = SURPRISAL_HIDDEN_F32;
    o.machine.compute = compute;
    expect(surprisal_eval(&o, &r, &err), "eval");
    snprintf(name, sizeof name, "%s.figures", out);
    save_figures(name, &r);
    snprintf(name, sizeof name, "%s.json", out);
    save(name, r.summary_json);
    surprisal_result_free(&r);
}

static bool stop_in_the_layers(void *user, const char *stage, double done, double total,
                               const char *unit)
{
    (void)user, (void)done, (void)total, (void)unit;
    return strncmp(stage, "layer 3", 7) != 0;
}

static void evaluate_interrupted(void)
{
    struct surprisal_eval_options o = eval_options(bf16);
    struct surprisal_result r;
    o.out = "resumed";
    o.machine.progress.report = stop_in_the_layers;
    expect(!surprisal_eval(&o, &r, &err) && err.interrupted, "an interrupted eval");
    o.machine.progress.report = NULL;
    o.resume = true;
    expect(surprisal_eval(&o, &r, &err), "eval, resumed");
    surprisal_result_free(&r);
}

static void evaluate_plans(const char *checkpoint, const char *out)
{
    const struct surprisal_protocol_plan plans[] = {
        { .protocol = SURPRISAL_DISJOINT, .context = CONTEXT },
        { .protocol = SURPRISAL_STRIDED, .context = CONTEXT, .stride = CONTEXT / 2 },
    };
    struct surprisal_eval_options o = eval_options(checkpoint);
    struct surprisal_result r[2];
    o.context = 0;
    o.plans = plans;
    o.n_plans = 2;
    o.out = out;
    expect(surprisal_eval(&o, r, &err), "eval of plans");
    surprisal_result_free(&r[0]);
    surprisal_result_free(&r[1]);
}

/* The comparison's JSON is left in *json, to be freed. */
static void compare(struct surprisal_compare_options *o, const char *name, char **json)
{
    struct surprisal_comparison c;
    expect(surprisal_compare(o, &c, &err), name);
    *json = strdup(c.json);
    save_pair(name, c.json, c.text);
}

static void compare_runs(char **json)
{
    struct surprisal_compare_options o = surprisal_compare_defaults();
    o.a = "a";
    o.b = "b";
    o.floor = true;
    o.floor_run = "floor";
    o.eval.machine.threads = 2;
    compare(&o, "comparison", json);
}

static void compare_plans(void)
{
    struct surprisal_compare_options o = surprisal_compare_defaults();
    char *json;
    evaluate_plans(bf16, "plans-a");
    evaluate_plans(mxfp4, "plans-b");
    o.a = "plans-a";
    o.b = "plans-b";
    o.eval.machine.threads = 2;
    compare(&o, "comparisons", &json);
    free(json);
}

/* Evaluates and compares by layer too. */
static void compare_checkpoints(void)
{
    struct surprisal_compare_options o = surprisal_compare_defaults();
    char *json;
    o.a = bf16;
    o.b = mxfp4;
    o.eval = eval_options(NULL);
    o.temporary = ".";
    o.layer_windows = 1;
    compare(&o, "checkpoints", &json);
    free(json);
}

static void report(const char *json)
{
    static const char *const met[] = { "mean_kld<=0.02", "abs(delta_nll) < 0.5",
                                       "mean_kld <= baseline.mean_kld*1.05" };
    static const char *const failing[] = { "mean_kld<=1e-9", "mean_kld*2.5 < 0.001" };
    static const char *const wrong[] = { "mean_kld<=0,02" };
    struct surprisal_report r;
    struct surprisal_report_options o = {
        .html = "report.html", .markdown = "report.md", .junit = "report.xml",
        .baseline = "comparison.json", .gates = met, .n_gates = 3,
    };
    expect(surprisal_report(json, &o, &r, &err) && r.n_failed == 0, "report");
    save("baseline.txt", r.baseline);
    surprisal_report_free(&r);

    o = (struct surprisal_report_options){ .junit = "failing.xml", .gates = failing, .n_gates = 2 };
    expect(surprisal_report(json, &o, &r, &err) && r.n_failed == 2, "gates that fail");
    save("failing.txt", r.failed);
    surprisal_report_free(&r);

    o = (struct surprisal_report_options){ .gates = wrong, .n_gates = 1 };
    save_refusal("gate.txt", surprisal_report_check(&o, &err));
}

static void quantize(void)
{
    static const char *const include[] = { "*.experts.*" };
    struct surprisal_calibrate_options c = surprisal_calibrate_defaults();
    char *json, *plain;
    c.eval = eval_options(bf16);
    c.out = "statistics";
    expect(surprisal_calibrate(&c, &json, &plain, &err), "calibrate");
    save_pair("calibrate", json, plain);

    struct surprisal_quantize_options q = {
        .checkpoint = bf16, .include = include, .n_include = 1, .dry_run = true,
        .scale_percentile = 97.5, .plan = save_plan,
        .machine = { .threads = 2, .progress.user = "plan.txt" },
    };
    expect(surprisal_quantize(&q, &json, &plain, &err), "quantize, dry run");
    save_pair("dry-run", json, plain);
    q.out = "quantized";
    q.dry_run = false;
    q.activations = "statistics";
    expect(surprisal_quantize(&q, &json, &plain, &err), "quantize");
    save_pair("quantize", json, plain);
    q.scale_percentile = 100.5;
    save_refusal("percentile.txt", surprisal_quantize_check(&q, &err));

    struct surprisal_dequantize_options d = {
        .checkpoint = "quantized", .out = "dequantized", .machine.threads = 2,
    };
    expect(surprisal_dequantize(&d, &json, &plain, &err), "dequantize");
    save_pair("dequantize", json, plain);
}

static void look_inside(void)
{
    struct surprisal_verify_options v = {
        .checkpoint = "quantized", .against = bf16, .html = "verify.html", .machine.threads = 2,
    };
    struct surprisal_verify_result r;
    char *json, *plain;
    const struct surprisal_inspect_options i = { .checkpoint = mxfp4 };
    expect(surprisal_inspect(&i, &json, &plain, &err), "inspect");
    save_pair("inspect", json, plain);
    expect(surprisal_verify(&v, &r, &err), "verify");
    save_pair("verify", r.json, r.text);

    int32_t *ids;
    size_t n;
    save_refusal("missing.txt", surprisal_read_ids("missing", &ids, &n, &err));
}

static void bench(void)
{
    struct surprisal_bench_options b = {
        .checkpoint = mxfp4, .machine.threads = 1, .seconds = 1e-4,
    };
    char *json, *plain;
    expect(surprisal_bench(&b, &json, &plain, &err), "bench");
    save_pair("bench", json, plain);
}

static void all_but_bench(void)
{
    char *json;
    evaluate(bf16, "a", SURPRISAL_COMPUTE_F32);
    evaluate(mxfp4, "b", SURPRISAL_COMPUTE_F32);
    evaluate(bf16, "floor", SURPRISAL_COMPUTE_BF16);
    evaluate_interrupted();
    compare_runs(&json);
    report(json);
    free(json);
    compare_plans();
    compare_checkpoints();
    quantize();
    look_inside();
}

/* ---- the host's locale ---------------------------------------------------------------- */

static void set_locale(const char *mode, const char *name)
{
    if (strcmp(mode, "program") == 0) {
        expect(setlocale(LC_ALL, name), "setlocale");
        return;
    }
    locale_t l = newlocale(LC_ALL_MASK, name, NULL);
    expect(l && uselocale(l), "uselocale");
}

int main(int argc, char **argv)
{
    expect(argc == 4 || argc == 5, "usage: numbers_host program|thread LOCALE DEMO [bench]");
    set_locale(argv[1], argv[2]);
    char before[32], after[32];
    locale_t own = uselocale(NULL);
    snprintf(before, sizeof before, "%.1f", 0.5);
    snprintf(bf16, sizeof bf16, "%s/bf16", argv[3]);
    snprintf(mxfp4, sizeof mxfp4, "%s/mxfp4", argv[3]);
    snprintf(text, sizeof text, "%s/text.txt", argv[3]);

    if (argc == 5)
        bench();
    else
        all_but_bench();

    snprintf(after, sizeof after, "%.1f", 0.5);
    expect(strcmp(before, after) == 0 && uselocale(NULL) == own, "the host's locale was changed");
    printf("%s\n", before);
    return 0;
}
