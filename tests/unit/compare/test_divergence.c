/* Figures of KL divergence by known answers, and heads that are or are not a run's own.
 *
 * With arguments CHECKPOINT_A RUN_A CHECKPOINT_B RUN_B no test: the two run folders' KL divergence,
 * a line a token (both directions, A's top probability, overlap, same first choice) and the figures
 * as JSON, for tests/conformance/test_divergence.py. */
#include "eval/compare/divergence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "eval/statistics/divergence_figures.h"
#include "tests/check.h"
#include "tests/random.h"
#include "formats/weights.h"
#include "kernels/kernels.h"

/* ---- figures by known answers ------------------------------------------------------- */

static bool near(double a, double b)
{
    return fabs(a - b) <= 1e-14 * fabs(b) || (isnan(a) && isnan(b));
}

static void test_figures(void)
{
    static const struct divergence_row rows[] = {
        { 0,   0.5, 0.1f, 5, true,  0.125 }, { 1e-10, 0.5, 0.25f, 4, true, 0.125 },
        { 0.5, 0.5, 0.3f, 3, false, 0.375 }, { 1.5,   0.5, 1,     0, true, 0.375 },
    };
    static const int32_t two[] = { 0, 0, 1, 1 }, one[] = { 1, 1, 1, 1 };
    struct divergence_figures f;
    struct error err = { 0 };
    bool ok = divergence_figures(&f, rows, two, 4, 2, &err);
    double mean = (2 + 1e-10) / 4;
    /* Units of two tokens with sums 1e-10 and 2: stderr = sqrt(2 (1 - 5e-11)^2 * 2) / 4. */
    check(ok && near(f.forward.mean, mean) && near(f.forward.se, (1 - 5e-11) / 2)
          && f.reverse.mean == 0.5 && f.reverse.se == 0, "means and errors by unit", "%g %g %g %g",
          f.forward.mean, f.forward.se, f.reverse.mean, f.reverse.se);
    check(f.same_head.mean == 0.25 && f.same_head.se == 0.125
          && near(divergence_figures_of_head(&f), mean - 0.25), "the head's part", "%g %g %g",
          f.same_head.mean, f.same_head.se, divergence_figures_of_head(&f));
    check(near(f.forward.quantiles[0], 0.5 * (0.5 + 1e-10))
              && near(f.forward.quantiles[1], 0.5 + 0.7) && f.forward.quantiles[5] == 1.5
              && f.reverse.quantiles[3] == 0.5,
          "percentiles", "median %g, p90 %g, max %g", f.forward.quantiles[0],
          f.forward.quantiles[1], f.forward.quantiles[5]);
    check(near(f.top5_overlap, 12.0 / 20), "overlap of the first five", "%g", f.top5_overlap);
    const struct divergence_bin *b = f.bins;
    check(b[0].scored == 1 && b[0].mean == 0 && isnan(b[0].se) && b[0].same_top1 == 1
          && b[1].scored == 2 && near(b[1].mean, 0.25 + 5e-11) && near(b[1].se, 0.25 - 5e-11)
          && b[1].same_top1 == 0.5, "bins: from is in, to is not", "%zu %zu, %g +- %g", b[0].scored,
          b[1].scored, b[1].mean, b[1].se);
    check(b[2].scored == 0 && isnan(b[2].mean) && isnan(b[2].same_top1) && b[4].scored == 1
              && b[4].to == 1,
          "an empty bin has no mean; certainty is in the last", "%zu %g", b[2].scored, b[2].mean);
    check(f.histogram[0] == 1 && f.histogram[1] == 1 && f.histogram[39] == 1
              && f.histogram[41] == 1,
          "an edge begins its range", "%zu %zu %zu %zu", f.histogram[0], f.histogram[1],
          f.histogram[39], f.histogram[41]);
    ok = divergence_figures(&f, rows, one, 4, 3, &err);
    check(ok && near(f.forward.mean, mean) && isnan(f.forward.se) && isnan(b[1].se),
          "one unit has no error", "%g +- %g", f.forward.mean, f.forward.se);

    static const struct divergence_row same[] = { { 0, 0, 0.7f, 5, true, NAN },
                                                  { 0, 0, 0.9f, 5, true, NAN } };
    cJSON *o = cJSON_CreateObject();
    ok = divergence_figures(&f, same, two + 1, 2, 2, &err);
    divergence_figures_add(o, &f);
    divergence_figures_add_distribution(o, &f);
    char *text = cJSON_PrintUnformatted(o);
    check(
        ok && strstr(text, "\"mean_kld\":0,\"kld_stderr\":0,")
            && strstr(text, "\"top5_overlap\":1,") && strstr(text, "\"kld_of_head\":null,")
            && strstr(
                text,
                "{\"from\":0,\"to\":0.25,\"scored\":0,\"mean_kld\":null,"
                "\"kld_stderr\":null,\"same_top1\":null}")
            && strstr(text, "\"from\":100,\"to\":null,\"scored\":0}]") && !strstr(text, "nan"),
        "identical runs: zero, and null where there is nothing", "%s", text);
    cJSON_free(text);
    cJSON_Delete(o);
}

/* ---- measuring ------------------------------------------------------------------------ */

enum { N = 40, HIDDEN = 128 };

static bool head_of(char hex[2 * DIGEST_BYTES + 1], const char *path, struct error *err)
{
    struct checkpoint ck = { 0 };
    struct weights w = { 0 };
    struct digest d;
    bool ok = checkpoint_open(&ck, path, err) && weights_bind(&w, &ck, err)
           && weights_head_digest(&d, &ck, &w, NULL, err);
    if (ok)
        digest_hex(hex, &d);
    weights_free(&w);
    checkpoint_close(&ck);
    return ok;
}

static void test_measure(void)
{
    static float hidden[2][N * HIDDEN];
    static struct divergence_row rows[N], other[N];
    struct random r = { 3 };
    struct error err = { 0 };
    char head[2 * DIGEST_BYTES + 1], tiny[2 * DIGEST_BYTES + 1];
    if (!check(head_of(head, "data/demo/bf16", &err) && head_of(tiny, "data/demo/mxfp4", &err)
               && strcmp(head, tiny) == 0, "the demo pair has one head", "%s", err.message))
        return;
    for (size_t i = 0; i < N * HIDDEN; i++) {
        hidden[0][i] = random_normal(&r);
        hidden[1][i] = hidden[0][i] + 0.1f * random_normal(&r);
    }
    struct divergence_source a = {
        { "data/demo/bf16", NULL },
        head,
        COMPUTE_F32,
        { .states = { .dtype = DTYPE_F32, .data = (const uint8_t *)hidden[0], .rows = N,
                      .cols = HIDDEN } }
    };
    struct divergence_source b = {
        { "data/demo/mxfp4", NULL },
        head,
        COMPUTE_F32,
        { .states = { .dtype = DTYPE_F32, .data = (const uint8_t *)hidden[1], .rows = N,
                      .cols = HIDDEN } }
    };
    struct divergence_options options = { .machine.threads = 1 };
    bool ok = divergence_measure(rows, &a, &a, &options, &err);
    check(ok && rows[7].kld == 0 && rows[7].same_top1, "a run against itself is exactly 0", "%s %g",
          err.message, rows[7].kld);
    ok = divergence_measure(rows, &a, &b, &options, &err)
      && divergence_measure(other, &b, &a, &options, &err);
    bool turned = ok;
    for (size_t i = 0; turned && i < N; i++)
        turned = rows[i].kld > 0 && fabs(rows[i].kld - other[i].kld_reverse) < 1e-12;
    check(turned, "B from A is the reverse of A from B", "%s", err.message);
    struct divergence_source bf16 = a;
    bf16.compute = COMPUTE_BF16;
    ok = divergence_measure(rows, &a, &bf16, &options, &err);
    check(ok && rows[7].kld > 0 && rows[7].kld < 1e-3, "logits rounded to BF16 are near", "%s %g",
          err.message, rows[7].kld);
    head[5] = head[5] == '0' ? '1' : '0';
    check(!divergence_measure(rows, &a, &b, &options, &err)
              && strstr(err.message, "the head has SHA-256") && strstr(err.message, head)
              && strstr(err.message, tiny),
          "another head is refused", "%s", err.message);
    head[5] = tiny[5];
    options.machine.memory_bytes = (size_t)4 << 20;
    check(!divergence_measure(rows, &a, &b, &options, &err) && strstr(err.message, "too small"),
          "a budget that is too small", "%s", err.message);
}

/* ---- of two run folders ----------------------------------------------------------------- */

struct run {
    cJSON *summary;
    struct safetensors_file tokens;
    struct divergence_source source;
};

static bool open_run(struct run *r, const char *checkpoint, const char *folder, struct error *err)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/summary.json", folder);
    if (!(r->summary = json_read(path, err)))
        return false;
    snprintf(path, sizeof path, "%s/tokens.safetensors", folder);
    if (!safetensors_open(&r->tokens, path, err))
        return false;
    const struct tensor *hidden = safetensors_find(&r->tokens, "hidden");
    const char *compute = json_get(r->summary, "compute")->valuestring;
    r->source = (struct divergence_source){
        .checkpoint.path = checkpoint,
        .head_sha256 = json_get(json_get(r->summary, "checkpoint"), "head_sha256")->valuestring,
        .compute = strcmp(compute, "bf16") == 0 ? COMPUTE_BF16 : COMPUTE_F32,
        .hidden = { .states = { hidden->dtype, hidden->data, NULL, hidden->shape[0],
                                hidden->shape[1] },
                    .file = &r->tokens.map },
    };
    return true;
}

static bool print_divergence(const struct run *a, const struct run *b, struct error *err)
{
    size_t n = a->source.hidden.states.rows;
    struct divergence_row *rows = calloc(n, sizeof *rows);
    struct divergence_figures f;
    const int32_t *window = (const void *)safetensors_find(&a->tokens, "window")->data;
    const struct divergence_options options = { .machine.threads = 1 };
    bool ok = divergence_measure(rows, &a->source, &b->source, &options, err)
           && divergence_figures(&f, rows, window, n, (size_t)window[n - 1] + 1, err);
    for (size_t i = 0; ok && i < n; i++)
        printf("%.17g %.17g %.9g %d %d\n", rows[i].kld, rows[i].kld_reverse, (double)rows[i].top_a,
               rows[i].overlap5, rows[i].same_top1);
    if (ok) {
        cJSON *o = cJSON_CreateObject();
        divergence_figures_add(o, &f);
        divergence_figures_add_distribution(o, &f);
        char *text = cJSON_PrintUnformatted(o);
        printf("%s\n", text);
        cJSON_free(text);
        cJSON_Delete(o);
    }
    free(rows);
    return ok;
}

static int of_runs(char **args)
{
    struct run a = { 0 }, b = { 0 };
    struct error err = { 0 };
    bool ok = open_run(&a, args[0], args[1], &err) && open_run(&b, args[2], args[3], &err)
           && print_divergence(&a, &b, &err);
    if (!ok)
        fprintf(stderr, "%s\n", err.message);
    cJSON_Delete(a.summary);
    cJSON_Delete(b.summary);
    safetensors_close(&a.tokens);
    safetensors_close(&b.tokens);
    return !ok;
}

int main(int argc, char **argv)
{
    if (argc == 5)
        return of_runs(argv + 1);
    test_figures();
    test_measure();
    return check_done();
}
