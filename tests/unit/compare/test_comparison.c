/* Records in memory: units, ranges, worst lists, divergence by unit, and what the verdict says. */
#include "eval/compare/comparison.h"

#include <math.h>
#include <string.h>

#include "eval/compare/comparable.h"
#include "eval/compare/comparison_json.h"
#include "eval/compare/verdict.h"
#include "tests/check.h"

enum { MOST = 12 };

struct made_up {
    size_t rows, windows;
    int32_t position[MOST], window[MOST], id[MOST], index[MOST], top1[MOST];
    double nll[MOST];
};

static struct record as_record(struct made_up *m)
{
    static char folder[] = "made-up";
    return (struct record){
        .folder = folder, .scored = m->rows, .windows = m->windows, .tokens = 100, .context = 5,
        .stride = 5, .position = m->position, .window = m->window, .id = m->id, .top1 = m->top1,
        .index_in_window = m->index, .nll = m->nll,
    };
}

/* Windows of 5, all but the first token scored. */
static struct made_up make(size_t windows, const double *nll)
{
    struct made_up m = { .rows = 4 * windows, .windows = windows };
    for (size_t i = 0; i < m.rows; i++) {
        m.window[i] = (int32_t)i / 4;
        m.index[i] = (int32_t)i % 4 + 1;
        m.position[i] = 5 * m.window[i] + m.index[i];
        m.id[i] = 7;
        m.nll[i] = nll[i];
    }
    return m;
}

static const struct bootstrap some = { .samples = 20, .seed = 1 };

static void test_places(void)
{
    struct made_up x = make(3, (double[MOST]){ 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3 });
    struct made_up y = make(3, (double[MOST]){ 1, 1.5, 1, 1, 2, 1, 2, 2, 3, 4, 3, 3 });
    struct record a = as_record(&x), b = as_record(&y);
    struct divergence_row rows[MOST] = { 0 };
    struct comparison c;
    struct error err = { 0 };
    for (int i = 0; i < MOST; i++)
        rows[i].kld = i;
    y.top1[3] = 9;
    if (!check(comparison_make(&c, &a, &b, rows, &some, &err), "records compare", "%s",
               err.message))
        return;
    check(c.n_units == 3 && !c.by_document && c.units[1].begin == 4 && c.units[1].end == 8
          && c.unit[7] == 1 && c.sums[2].scored == 4, "windows are units", "%zu", c.n_units);
    check(fabs(c.same_top1 - 11.0 / 12) < 1e-15, "share of equal top-1", "%g", c.same_top1);
    check(c.n_ranges == 4 && c.ranges[1].from == 2 && c.ranges[1].to == 2 && c.ranges[1].scored == 3
          && fabs(c.ranges[1].delta.value - 0.5 / 3) < 1e-15 && c.ranges[0].delta.value == 0,
          "ranges by the index in the window", "%zu, %g", c.n_ranges, c.ranges[1].delta.value);
    check(c.n_worst_rows == 3 && c.worst_rows[0] == 5 && c.worst_rows[1] == 9
              && c.worst_rows[2] == 1,
          "worst tokens by size, the earlier of equals first, those that are equal left out", "%zu",
          c.n_worst_rows);
    check(c.n_worst_units == 3 && c.worst_units[0] == 1 && c.worst_units[2] == 0, "worst windows",
          "%zu", c.n_worst_units);
    check(comparison_mean_kld(&c, 4, 8) == 5.5, "divergence by window", "%g",
          comparison_mean_kld(&c, 4, 8));

    const struct comparison_view view = { .comparison = &c };
    cJSON *tree = comparison_json(&view, &err);
    char *text = tree ? cJSON_Print(tree) : NULL;
    cJSON *d = text ? cJSON_Parse(text) : NULL;
    const cJSON *window = cJSON_GetArrayItem(json_get(d, "windows"), 1);
    const cJSON *token = cJSON_GetArrayItem(json_get(d, "worst_tokens"), 0);
    check(cJSON_GetNumberValue(json_get(window, "mean_kld")) == 5.5
              && cJSON_GetNumberValue(json_get(token, "kld")) == 5
              && cJSON_IsNull(json_get(token, "token")),
          "the document has it by window and token", "%s", text ? text : err.message);
    cJSON_Delete(d);
    cJSON_free(text);
    cJSON_Delete(tree);
    comparison_free(&c);
}

static void test_documents(void)
{
    struct made_up x = make(3, (double[MOST]){ 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3 }), y = x;
    struct record a = as_record(&x), b = as_record(&y);
    int32_t document[3] = { 0, 0, 1 };
    a.document = b.document = document;
    struct comparison c;
    struct error err = { 0 };
    bool ok = comparison_make(&c, &a, &b, NULL, &some, &err);
    check(ok && c.by_document && c.n_units == 2 && c.units[0].end == 8 && c.sums[1].scored == 4,
          "documents are units", "%s", err.message);
    check(ok && isnan(comparison_mean_kld(&c, 0, 4)),
          "divergence that was not measured is no number", "it is");
    comparison_free(&c);
}

static void test_refusal(void)
{
    const double nll[MOST] = { 0 };
    struct made_up x = make(3, nll), y = make(3, nll);
    struct record a = as_record(&x), b = as_record(&y);
    struct error err = { 0 };
    y.id[3] = 8;
    y.position[6] = 9;
    check(!comparable_check(&a, &b, &(struct surprisal_progress){ 0 }, &err)
          && strstr(err.message, "position of scored token 6: 8 against 9")
          && strstr(err.message, "token id of scored token 3: 7 against 8"),
          "other rows are named, all in one message", "'%s'", err.message);
}

static void test_verdict(void)
{
    static const struct {
        const char *name, *says, *says_too;
        size_t windows;
        double change[3];               /* of every token, by window */
        bool divergence;
    } cases[] = {
        { "worse", "worse than A: ", "higher by 11 %", 3, { 0.1, 0.11, 0.1 }, false },
        { "better", "better than A: ", "real at the 5 % level", 3, { -0.1, -0.11, -0.1 }, false },
        { "no reliable difference",
          "no reliably better or worse than A",
          "may be chance",
          3,
          { 0.5, -0.4, 0.1 },
          false },
        { "no difference", "the same NLL as A", "no difference", 3, { 0, 0, 0 }, false },
        { "one window", "B has perplexity", "cannot be said", 1, { 0.1 }, false },
        { "better, but away from A",
          "better than A",
          "so closer to the text is not closer to the original",
          3,
          { -0.1, -0.11, -0.1 },
          true },
        { "worse and away from A",
          "worse than A",
          "0.25 nats a token away from A's (mean KL divergence).",
          3,
          { 0.1, 0.11, 0.1 },
          true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double nll[2][MOST];
        for (int j = 0; j < MOST; j++) {
            nll[0][j] = 1;
            nll[1][j] = 1 + cases[i].change[j / 4];
        }
        struct made_up x = make(cases[i].windows, nll[0]), y = make(cases[i].windows, nll[1]);
        struct record a = as_record(&x), b = as_record(&y);
        struct divergence_row rows[MOST] = { 0 };
        for (int j = 0; j < MOST; j++)
            rows[j].kld = 0.25;
        struct comparison c;
        struct error err = { 0 };
        struct buffer sentence = { 0 };
        bool ok = comparison_make(&c, &a, &b, cases[i].divergence ? rows : NULL, &some, &err)
               && verdict_append(&sentence, &c, &err);
        check(ok && strstr(sentence.data, cases[i].says) && strstr(sentence.data, cases[i].says_too)
              && sentence.data[sentence.size - 1] == '.', cases[i].name, "'%s'",
              ok ? sentence.data : err.message);
        buffer_free(&sentence);
        comparison_free(&c);
    }
}

int main(void)
{
    test_places();
    test_documents();
    test_refusal();
    test_verdict();
    return check_done();
}
