/* What a plan counts, in JSON and as a table. */
#include "convert/packing_plan.h"

#include "tests/check.h"
#include "tests/unit/formats/fake.h"

/* A path into the plan, and its number there. */
struct number {
    const char *array, *is, *of,
        *key; /* the row of `array` whose member `is` is `of`; NULL: the plan itself */
    double value;
};

static const struct {
    const char *name;
    struct surprisal_quantize_options options;
    const char *pattern;                /* of --include */
    struct number numbers[6];
    const char *line;                   /* of the text */
} cases[] = {
    { "experts: 4 bits and a byte for 32", { 0 }, NULL,
      { { NULL, NULL, NULL, "count", 52 }, { NULL, NULL, NULL, "packed", 18 },
        /* 15 modules of 2048 BF16 elements, 3 of F32; 2048 / 2 + 2048 / 32 for each */
        { "modules", "module", "routed experts", "bytes_before", 15 * 4096 + 3 * 8192 },
        { "modules", "module", "routed experts", "bytes_after", 18 * 1088 },
        { "modules", "module", "norms", "packed", 0 }, { "modules", "module", "norms", "count",
          8 } },
      "routed experts                    18        18            0.1            0.0\n" },
    { "a pattern and what it matches", { 0 }, "k_proj",
      { { "patterns", "pattern", "k_proj", "matched", 1 }, { NULL, NULL, NULL, "packed", 1 },
        { NULL, NULL, NULL, "merged_in_part", 1 } },
      "--include 'k_proj' matches 1: 1 self_attn projections\n" },
    { "modules that vLLM merges, in part", { 0 }, "up_proj",
      { { NULL, NULL, NULL, "merged_in_part", 4 } },
      "4 modules that vLLM merges are packed in part: it cannot load them (" },
    { "qstream's percentile has a default", { 0 }, NULL, { { NULL, NULL, NULL, "scale_percentile",
      99.5 } }, NULL },
    { "or is the one that was asked for", { .scale_percentile = 98.25 }, NULL,
      { { NULL, NULL, NULL, "scale_percentile", 98.25 } }, NULL },
    { "the exact rule has none", { .scale = SURPRISAL_SCALE_EXACT }, NULL,
      { { NULL, NULL, NULL, "scale_percentile", 0 } }, NULL },
};

static const cJSON *row_of(const cJSON *plan, const struct number *n)
{
    const cJSON *row;
    if (!n->array)
        return plan;
    cJSON_ArrayForEach(row, json_get(plan, n->array)) {
        const char *is = cJSON_GetStringValue(json_get(row, n->is));
        if (is && strcmp(is, n->of) == 0)
            return row;
    }
    return NULL;
}

static void check_numbers(const char *name, const struct number *numbers, const cJSON *plan)
{
    for (size_t i = 0; i < 6 && numbers[i].key; i++) {
        double value = packing_plan_number(row_of(plan, &numbers[i]), numbers[i].key);
        char title[160];
        snprintf(title, sizeof title, "%s: %s%s%s", name, numbers[i].of ? numbers[i].of : "",
                 numbers[i].of ? ", " : "", numbers[i].key);
        check(value == numbers[i].value, title, "%g, expected %g", value, numbers[i].value);
    }
}

static void test_case(size_t i, const struct weight_list *m)
{
    struct surprisal_quantize_options options = cases[i].options;
    options.checkpoint = "from";
    options.include = &cases[i].pattern;
    options.n_include = cases[i].pattern != NULL;
    const struct importance none = { 0 };
    struct selection s;
    struct error err = { 0 };
    struct buffer text = { 0 };
    bool ok = selection_make(&s, m, &options, &err);
    cJSON *plan = ok ? packing_plan_make(m, &s, &options, &none, &err) : NULL;
    ok = plan && packing_plan_text(&text, plan, &err);
    check(ok && (!cases[i].line || strstr(text.data, cases[i].line)), cases[i].name, "%s %s",
          err.message, error_clean(&(struct error){ 0 }, ok ? text.data : ""));
    check_numbers(cases[i].name, cases[i].numbers, plan);
    check(cJSON_IsNull(json_get(plan, "out"))
              && strcmp(cJSON_GetStringValue(json_get(plan, "scale")),
                        packing_plan_scale_name(options.scale))
                     == 0
              && !json_get(plan, "unweighted"),
          "and what was asked for, and nothing else", "otherwise");
    cJSON_Delete(plan);
    buffer_free(&text);
    selection_free(&s);
}

/* A file of importances that names one module of those to pack, or none. */
static void test_unweighted(const struct weight_list *m)
{
    static const struct {
        const char *name, *tensor; double unweighted; const char *message;
    } files[] = {
        { "modules that a file does not name are counted",
          FAKE_PREFIX "layers.0.mlp.experts.0.up_proj", 17, NULL },
        { "a file that names none is refused", FAKE_PREFIX "layers.0.mlp.gate", 0,
          "x: names none of the modules to quantize" },
    };
    for (size_t i = 0; i < 2; i++) {
        struct folder f = folder_make();
        struct safetensors_writer w;
        struct error err = { 0 };
        const struct safetensors_entry entry = { files[i].tensor, DTYPE_F32, 1, { 64 } };
        char path[128];
        snprintf(path, sizeof path, "%s/x", f.path);
        const struct surprisal_quantize_options options = { .checkpoint = "from", .gamma = path };
        struct importance im = { 0 };
        struct selection s = { 0 };
        struct buffer text = { 0 };
        const float ones[64] = { 1 };
        bool ok = safetensors_create(&w, path, &entry, 1, &err)
               && safetensors_write(&w, 0, 0, ones, sizeof ones, &err)
               && safetensors_commit(&w, &err) && importance_open(&im, &options, &err)
               && selection_make(&s, m, &options, &err);
        cJSON *plan = ok ? packing_plan_make(m, &s, &options, &im, &err) : NULL;
        if (files[i].message)
            check(ok && !plan && strstr(err.message, files[i].message), files[i].name, "'%s'",
                  err.message);
        else
            check(plan && packing_plan_number(plan, "unweighted") == files[i].unweighted
                      && packing_plan_text(&text, plan, &err)
                      && strstr(text.data, "17 of the 18 to MXFP4 have no importances"),
                  files[i].name, "%s %s", err.message,
                  error_clean(&(struct error){ 0 }, plan ? text.data : ""));
        cJSON_Delete(plan);
        buffer_free(&text);
        selection_free(&s);
        importance_close(&im);
        folder_remove(&f);
    }
}

int main(void)
{
    struct fake f = fake_moe();
    struct opened *o = open_fake(&f);
    struct weight_list m;
    if (check(o->ok && weight_list_of_model(&m, &o->ck, &o->w, &o->err), "the fake checkpoint",
              "%s", o->err.message)) {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            test_case(i, &m);
        test_unweighted(&m);
        weight_list_free(&m);
    }
    close_fake(o);
    return check_done();
}
