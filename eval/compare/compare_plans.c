#include "eval/compare/compare_plans.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/format.h"
#include "eval/compare/comparable.h"
#include "eval/compare/compare.h"
#include "eval/compare/comparison_json.h"
#include "eval/score/model.h"
#include "eval/run/plan_folders.h"
#include "eval/compare/verdict.h"
#include "eval/compare/warned.h"

#define DASH_OR_NUMBER_BYTES 32

/* ---- the pairs --------------------------------------------------------------------- */

static size_t warn_single(const struct plan_pairs *pairs, const struct surprisal_compare_options *o)
{
    size_t common = 0;
    for (const struct plan_pair *p = pairs->list; p < pairs->list + pairs->n; p++) {
        common += p->in_a && p->in_b;
        if (p->in_a != p->in_b)
            model_warn(&o->eval.machine.progress, "%s: is in %s alone, left out", p->name,
                       p->in_a ? o->a : o->b);
    }
    return common;
}

/* The table names checkpoints and text once, for all of its lines. */
static bool check_same(const cJSON *first, const cJSON *document,
                       const struct surprisal_compare_options *o, struct error *err)
{
    static const char *const paths[] = { "checkpoint.digest", "text.sha256", "compute" };
    for (int side = 0; side < 2; side++) {
        const char *key = side ? "b" : "a";
        for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
            char x[512], y[512];
            comparable_value(x, sizeof x, json_get(first, key), paths[i]);
            comparable_value(y, sizeof y, json_get(document, key), paths[i]);
            if (strcmp(x, y) != 0)
                return error_set(err, "%s: the runs %s and %s in it differ in %s: %.12s against "
                                 "%.12s, expected one run's plans", side ? o->b : o->a,
                                 cJSON_GetStringValue(json_get(first, "plan")),
                                 cJSON_GetStringValue(json_get(document, "plan")), paths[i], x, y);
        }
    }
    return true;
}

/* list NULL: only checks whether the memory budget is enough. */
static bool add_pair(cJSON *list, const char *name, const struct surprisal_compare_options *o,
                     struct error *err)
{
    struct surprisal_compare_options pair = *o;
    char *a = file_join(o->a, name, err), *b = a ? file_join(o->b, name, err) : NULL;
    char *floor_run = b && o->floor_run ? file_join(o->floor_run, name, err) : NULL;
    pair.a = a;
    pair.b = b;
    pair.floor_run = floor_run;
    bool ok = b && (floor_run || !o->floor_run) && (list || compare_check_memory(&pair, err));
    cJSON *document = ok && list ? compare_runs(&pair, name, NULL, err) : NULL;
    free(a);
    free(b);
    free(floor_run);
    if (!list)
        return ok;
    if (document && check_same(list->child ? list->child : document, document, o, err)
        && (cJSON_AddItemToArray(list, document) || error_set(err, "out of memory: comparisons")))
        return true;
    cJSON_Delete(document);
    return false;
}

/* ---- the table --------------------------------------------------------------------- */

static void put(char out[DASH_OR_NUMBER_BYTES], const char *format, const cJSON *item)
{
    double value = cJSON_GetNumberValue(item);          /* NaN when it is none */
    if (isfinite(value))
        format_text(out, DASH_OR_NUMBER_BYTES, format, value);
    else
        format_text(out, DASH_OR_NUMBER_BYTES, "-");
}

static bool add_line(struct buffer *text, const cJSON *d, int width, struct error *err)
{
    const struct {
        const char *format;
        int width;
        const cJSON *item;
    } columns[] = {
        { "%.0f", 8, json_get(d, "scored") },
        { "%.4f", 12, json_get(json_get(d, "a"), "perplexity") },
        { "%.4f", 12, json_get(json_get(d, "b"), "perplexity") },
        { "%.6f", 8, json_get(d, "perplexity_ratio") },
        { "%+.6f", 9, json_get(d, "delta_nll") },
        { "± %.6f", 10, json_get(d, "delta_nll_stderr") },
        { NULL, 11, json_get(d, "p_value") },
        { "%.6f", 8, json_get(d, "mean_kld") },
        { "%.4f", 9, json_get(d, "same_top1") },
    };
    char plan[512];
    comparable_value(plan, sizeof plan, d, "plan");
    bool ok = buffer_printf(text, err, "%-*s", width, plan);
    for (size_t i = 0; ok && i < sizeof columns / sizeof *columns; i++) {
        char value[DASH_OR_NUMBER_BYTES] = "-";
        if (columns[i].format)
            put(value, columns[i].format, columns[i].item);
        else if (cJSON_IsNumber(columns[i].item))
            verdict_p(value, columns[i].item->valuedouble);
        /* "±" is two bytes in one column. */
        int wide = columns[i].width + (strstr(value, "±") ? 1 : 0);
        ok = buffer_printf(text, err, "  %*s", wide, value);
    }
    return ok && buffer_printf(text, err, "\n");
}

static bool add_table(struct buffer *text, const cJSON *list, struct error *err)
{
    const cJSON *d = list->child;
    char path[512], sha256[80];
    comparable_value(path, sizeof path, json_get(d, "a"), "text.path");
    comparable_value(sha256, sizeof sha256, json_get(d, "a"), "text.sha256");
    size_t width = strlen("plan");
    for (const cJSON *i = d; i; i = i->next)
        width = size_max(width, strlen(cJSON_GetStringValue(json_get(i, "plan"))));
    bool ok = comparison_text_run(text, "A", json_get(d, "a"), err)
           && comparison_text_run(text, "B", json_get(d, "b"), err)
           && buffer_printf(text, err, "%-16s %s, sha256 %.12s\n\n%-*s  %8s  %12s  %12s  %8s  "
                            "%-21s  %11s  %8s  %9s\n", "text", path, sha256, (int)width, "plan",
                            "scored", "perplexity A", "perplexity B", "B / A",
                            "B - A, nats/token", "", "mean KLD", "same top1");
    for (; ok && d; d = d->next)
        ok = add_line(text, d, (int)width, err);
    return ok;
}

static bool add_warnings(struct buffer *text, const cJSON *list, struct error *err)
{
    cJSON *all = cJSON_CreateObject();
    bool ok = true;
    for (const cJSON *d = list->child; ok && d; d = d->next)
        ok = warned_collect(all, d, err);
    ok = ok && warned_text(text, all, err);
    cJSON_Delete(all);
    return ok;
}

/* A new document holds its numbers as the digits to print: only a parsed one has values. */
static bool tell(struct buffer *text, const cJSON *root, struct error *err)
{
    char *printed = json_print(root);
    cJSON *parsed = printed ? json_parse(printed, strlen(printed), "the comparisons", err) : NULL;
    bool ok = (printed || error_set(err, "out of memory: the comparisons as JSON")) && parsed
           && add_table(text, json_get(parsed, "comparisons"), err)
           && add_warnings(text, json_get(parsed, "comparisons"), err);
    cJSON_Delete(parsed);
    cJSON_free(printed);
    return ok;
}

cJSON *compare_plans(const struct surprisal_compare_options *o, struct buffer *text,
                     struct error *err)
{
    struct plan_pairs pairs;
    if (!compare_check(o, err) || !plan_folders_pair(&pairs, o->a, o->b, err))
        return NULL;
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "comparisons");
    bool ok = list || error_set(err, "out of memory: comparisons");
    if (ok && !warn_single(&pairs, o))
        ok = error_set(err, "%s and %s have no plan in common", o->a, o->b);
    for (int pass = 0; pass < 2; pass++)        /* pass 0 checks all pairs before pass 1 compares
                                                   the first */
        for (size_t i = 0; ok && i < pairs.n; i++)
            if (pairs.list[i].in_a && pairs.list[i].in_b)
                ok = add_pair(pass ? list : NULL, pairs.list[i].name, o, err);
    plan_folders_free(&pairs);
    if (ok && tell(text, root, err))
        return root;
    cJSON_Delete(root);
    return NULL;
}
