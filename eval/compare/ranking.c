#include "eval/compare/ranking.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/compare/ranking_ties.h"
#include "eval/statistics/front.h"
#include "eval/statistics/holm.h"

struct entry {
    cJSON *document;                    /* as it will be printed; borrowed */
    const cJSON *parsed;                /* the same with the values of its numbers; borrowed */
};

/* NaN when it is absent, null or no number. */
static double number(const cJSON *object, const char *key)
{
    return cJSON_GetNumberValue(json_get(object, key));
}

static const cJSON *checkpoint_of(const cJSON *document)
{
    return json_get(json_get(document, "b"), "checkpoint");
}

/* NaN comes last. */
static int order(double x, double y)
{
    if (isnan(x) || isnan(y))
        return isnan(x) - isnan(y);
    return (x > y) - (x < y);
}

static int by_rank(const void *a, const void *b)
{
    const cJSON *x = ((const struct entry *)a)->parsed, *y = ((const struct entry *)b)->parsed;
    int by = order(number(x, "mean_kld"), number(y, "mean_kld"));
    by = by ? by : order(number(checkpoint_of(x), "bytes"), number(checkpoint_of(y), "bytes"));
    return by ? by : strcmp(cJSON_GetStringValue(json_get(x, "candidate")),
                            cJSON_GetStringValue(json_get(y, "candidate")));
}

/* ---- the candidates ----------------------------------------------------------------- */

/* A member of `from`, as a member `as`; null where there is none. */
static void copy_as(cJSON *to, const char *as, const cJSON *from, const char *key)
{
    const cJSON *item = json_get(from, key);
    cJSON_AddItemToObject(to, as, item ? json_exact_copy(item) : cJSON_CreateNull());
}

static void copy(cJSON *to, const cJSON *from, const char *key)
{
    copy_as(to, key, from, key);
}

static void add_size_and_figures(cJSON *row, const cJSON *d, double p_holm)
{
    static const char *const of_checkpoint[] = { "bytes", "quantized_bytes", "parameters" };
    static const char *const of_pair[] = {
        "units", "scored", "mean_kld", "kld_stderr", "kld", "same_top1", "delta_nll",
        "delta_nll_stderr", "delta_nll_ci95", "p_value",
    };
    const cJSON *checkpoint = checkpoint_of(d);
    copy(row, d, "candidate");
    copy_as(row, "checkpoint", checkpoint, "path");
    for (size_t i = 0; i < sizeof of_checkpoint / sizeof *of_checkpoint; i++)
        copy(row, checkpoint, of_checkpoint[i]);
    json_add_double(row, "bits_per_weight",
                    8 * number(checkpoint, "bytes") / number(checkpoint, "parameters"));
    copy(row, json_get(d, "b"), "perplexity");
    copy_as(row, "left_out", json_get(d, "left_out"), "windows");
    for (size_t i = 0; i < sizeof of_pair / sizeof *of_pair; i++)
        copy(row, d, of_pair[i]);
    json_add_double(row, "p_holm", p_holm);
}

static void add_front(cJSON *row, const struct front_point *points, size_t n, size_t of)
{
    size_t dominator = front_dominator(points, n, of);
    double bytes = front_bytes(points, n, of);
    cJSON_AddBoolToObject(row, "on_front", front_holds(points, n, of));
    if (dominator < n)
        json_add_size(row, "dominated_by", dominator + 1);
    else
        cJSON_AddNullToObject(row, "dominated_by");
    json_add_double(row, "front_bytes", bytes);
    json_add_double(row, "bytes_over_front", points[of].bytes - bytes);
}

static bool add_candidates(cJSON *ranking, const cJSON *const *documents, size_t n,
                           struct error *err)
{
    struct front_point *points = mem_array(n, sizeof *points, "candidates", err);
    double *holm = points ? mem_array(n, sizeof *holm, "p-values of candidates", err) : NULL;
    for (size_t i = 0; holm && i < n; i++) {
        points[i] = (struct front_point){ number(checkpoint_of(documents[i]), "bytes"),
                                          number(documents[i], "mean_kld") };
        holm[i] = number(documents[i], "p_value");
    }
    bool ok = holm && holm_adjust(holm, n, err);
    cJSON *list = ok ? cJSON_AddArrayToObject(ranking, "candidates") : NULL;
    for (size_t i = 0; ok && i < n; i++) {
        cJSON *row = cJSON_CreateObject();
        cJSON_AddItemToArray(list, row);
        json_add_size(row, "number", i + 1);
        add_size_and_figures(row, documents[i], holm[i]);
        add_front(row, points, n, i);
    }
    free(holm);
    free(points);
    return ok;
}

/* ---- the ranking -------------------------------------------------------------------- */

static void sort(cJSON *list, struct entry *entries, const cJSON *parsed, size_t n)
{
    const cJSON *of = parsed ? parsed->child : NULL;
    for (size_t i = 0; i < n; i++, of = of->next)
        entries[i] = (struct entry){ cJSON_DetachItemFromArray(list, 0), of };
    qsort(entries, n, sizeof *entries, by_rank);
    for (size_t i = 0; i < n; i++)
        cJSON_AddItemToArray(list, entries[i].document);
}

static bool complete(cJSON *ranking, const cJSON *parsed, struct error *err)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(ranking, "comparisons");
    size_t n = (size_t)cJSON_GetArraySize(list);
    struct entry *entries = mem_array(n, sizeof *entries, "comparisons", err);
    const cJSON **documents = entries ? mem_array(n, sizeof *documents, "comparisons", err) : NULL;
    if (documents)
        sort(list, entries, json_get(parsed, "comparisons"), n);
    for (size_t i = 0; documents && i < n; i++)
        documents[i] = entries[i].parsed;
    bool ok = documents && add_candidates(ranking, documents, n, err)
           && ranking_ties_add(ranking, documents, n, err);
    free(documents);
    free(entries);
    return ok;
}

bool ranking_complete(cJSON *ranking, struct error *err)
{
    /* A new document holds its numbers as the digits to print: only a parsed one has values. */
    char *printed = json_print(ranking);
    cJSON *parsed = printed ? json_parse(printed, strlen(printed), "the ranking", err) : NULL;
    bool ok = (printed || error_set(err, "out of memory: the ranking as JSON")) && parsed
           && complete(ranking, parsed, err);
    cJSON_Delete(parsed);
    cJSON_free(printed);
    return ok;
}
