/* The part of the comparison document that says where the demo pair differs: against the float64
 * truth (tests/conformance/make_layers.py), on identical checkpoints, on dense ones; and
 * refusals. */
#include "eval/compare/layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check.h"

#define TRUTH "tests/fixtures/goldens/layers.json"

enum { MAX_IDS = 64 };

static int32_t ids[MAX_IDS];
static struct engine_window window = { .begin = 0, .first = 1 };

static double number(const cJSON *o, const char *key)
{
    const cJSON *item = json_get(o, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static const cJSON *layer_of(const cJSON *document, const char *group, int layer)
{
    const cJSON *list = strcmp(group, "experts") ? json_get(document, group)
                                                 : json_get(json_get(document, group), "layers");
    return cJSON_GetArrayItem(list, layer);
}

/* Gives the document as its readers see it: printed and parsed. */
static cJSON *compare(const char *a, const char *b, struct error *err)
{
    const struct layers_options o = { .a.path = a, .b.path = b, .ids = ids, .n_ids = window.end,
                                      .windows = &window, .n_windows = 1, .machine.threads = 1 };
    cJSON *document = cJSON_CreateObject(), *parsed = NULL;
    if (layers_compare(document, NULL, &o, err)) {
        char *text = cJSON_Print(document);
        parsed = cJSON_Parse(text);
        free(text);
    }
    cJSON_Delete(document);
    return parsed;
}

/* The load of a side's experts adds up to the choices, and its ends and the experts that nobody
 * chose are as the other members say. */
static bool is_load(const cJSON *layer, const char *side, size_t choices)
{
    static const char *const names[] = { "load", "never_used", "unused", "least", "most" };
    char keys[5][32];
    for (int i = 0; i < 5; i++)
        snprintf(keys[i], sizeof keys[i], "%s_%s", names[i], side);
    const cJSON *load = json_get(layer, keys[0]), *never = json_get(layer, keys[1])->child;
    double sum = 0, least = INFINITY, most = 0;
    int unused = 0;
    for (int e = 0; e < cJSON_GetArraySize(load); e++) {
        double tokens = cJSON_GetArrayItem(load, e)->valuedouble;
        sum += tokens;
        least = fmin(least, tokens);
        most = fmax(most, tokens);
        if (tokens > 0)
            continue;
        unused++;
        if (!never || never->valueint != e)
            return false;
        never = never->next;
    }
    return sum == (double)choices && !never && unused == (int)number(layer, keys[2])
        && least == number(layer, keys[3]) && most == number(layer, keys[4]);
}

static void test_truth(const cJSON *truth)
{
    static const struct { const char *name; double tolerance;
    } figures[] = {
        { "residual_error", 1e-5 },
        { "output_error", 1e-5 }, /* of differences of rounded streams */
        { "same_experts", 1e-15 },
        { "changed_experts", 1e-15 },
    };
    struct error err = { 0 };
    cJSON *document = compare("data/demo/bf16", "data/demo/mxfp4", &err);
    if (!check(document != NULL, "the demo pair", "%s", err.message))
        return;
    int n = cJSON_GetArraySize(json_get(truth, "layers"));
    check(n == 8 && cJSON_GetArraySize(json_get(document, "layers")) == n, "a row a layer", "%d",
          n);
    for (int i = 0; i < n; i++) {
        const cJSON *row = layer_of(document, "layers", i),
                    *expected = layer_of(truth, "layers", i);
        for (size_t f = 0; f < sizeof figures / sizeof *figures; f++) {
            double x = number(row, figures[f].name), y = number(expected, figures[f].name);
            check(fabs(x - y) <= figures[f].tolerance * fabs(y), figures[f].name,
                  "layer %d: %.9g, the truth is %.9g", i, x, y);
        }
        const cJSON *load = layer_of(document, "experts", i);
        check(number(load, "most_b") > 4 * 45 / 16 && is_load(load, "a", 4 * (window.end - 1))
              && is_load(load, "b", 4 * (window.end - 1)), "expert load", "layer %d", i);
    }
    check(strcmp(json_get(layer_of(document, "layers", 3), "type")->valuestring, "full_attention")
                  == 0
              && strcmp(json_get(layer_of(document, "layers", 4), "type")->valuestring,
                        "linear_attention")
                     == 0,
          "types of layers", "-");
    const cJSON *cost = json_get(document, "layers_cost");
    check(number(cost, "tokens") == (double)(window.end - 1) && number(cost, "windows") == 1
          && number(cost, "passes") == 1 && number(cost, "bytes_read") > 1e6, "what it took", "-");
    cJSON_Delete(document);
}

static void test_identical(void)
{
    struct error err = { 0 };
    cJSON *document = compare("data/demo/bf16", "data/demo/bf16", &err);
    bool ok = document != NULL;
    for (int i = 0; ok && i < 8; i++) {
        const cJSON *row = layer_of(document, "layers", i);
        ok = number(row, "residual_error") == 0 && number(row, "output_error") == 0
          && number(row, "same_experts") == 1 && number(row, "changed_experts") == 0;
    }
    check(ok, "identical checkpoints: zeros and 100 %", "%s", err.message);
    cJSON_Delete(document);
}

/* Of a window's one token nothing goes through the layers. */
static void test_no_tokens(void)
{
    struct error err = { 0 };
    size_t end = window.end;
    window.end = 1;
    cJSON *document = compare("data/demo/bf16", "data/demo/mxfp4", &err);
    const cJSON *row = layer_of(document, "layers", 7);
    check(row && number(row, "residual_error") == 0 && number(row, "output_error") == 0
          && cJSON_IsNull(json_get(row, "same_experts"))
          && cJSON_IsNull(json_get(row, "changed_experts"))
          && number(layer_of(document, "experts", 7), "unused_b") == 16, "no tokens: no NaN", "%s",
          err.message);
    cJSON_Delete(document);
    window.end = end;
}

static void test_dense(void)
{
    struct error err = { 0 };
    for (size_t i = 0; i < window.end; i++)
        ids[i] = (int32_t)(i % 20);
    cJSON *document = compare("tests/fixtures/dense-tied", "tests/fixtures/dense-tied", &err);
    const cJSON *row = layer_of(document, "layers", 0);
    check(row && cJSON_IsNull(json_get(row, "same_experts"))
          && cJSON_IsNull(json_get(row, "changed_experts")) && number(row, "output_error") == 0
          && !json_get(document, "experts"), "a dense model has no figures of experts", "%s",
          err.message);
    cJSON_Delete(document);
}

static void test_refusals(void)
{
    static const struct { const char *name, *a, *b, *why; } cases[] = {
        { "another architecture", "data/demo/bf16", "tests/fixtures/mini", "num_hidden_layers" },
        { "no checkpoint", "data/demo/bf16", "tests/nothing", "tests/nothing" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct error err = { 0 };
        cJSON *document = compare(cases[i].a, cases[i].b, &err);
        check(!document && strstr(err.message, cases[i].why), cases[i].name, "%s", err.message);
        cJSON_Delete(document);
    }
}

int main(void)
{
    struct error err = { 0 };
    cJSON *truth = json_read(TRUTH, &err);
    const cJSON *list = json_get(truth, "ids"), *id;
    /* A window's last token is only a target: one more than went into the truth. */
    window.end = (size_t)cJSON_GetArraySize(list) + 1;
    if (check(truth && window.end <= MAX_IDS, "the truth is there", "%s", err.message)) {
        size_t n = 0;
        cJSON_ArrayForEach(id, list)
            ids[n++] = (int32_t)id->valuedouble;
        test_truth(truth);
        test_identical();
        test_refusals();
        test_no_tokens();
        test_dense();
    }
    cJSON_Delete(truth);
    return check_done();
}
