#include "eval/compare/ranking_ties.h"

#include <math.h>
#include <stdlib.h>

#include "eval/statistics/holm.h"
#include "eval/statistics/paired.h"

struct tie {
    size_t first, second;               /* indices of candidates */
    struct estimate delta;
};

/* The number of units that both documents have, and their differences in divergence. */
static size_t pair_units(struct window_score *out, const cJSON *first, const cJSON *second)
{
    const cJSON *a = json_get(first, "windows"), *b = json_get(second, "windows");
    size_t n = 0;
    a = a ? a->child : NULL;
    b = b ? b->child : NULL;
    while (a && b) {                    /* both by rising number */
        double x = cJSON_GetNumberValue(json_get(a, "window"));
        double y = cJSON_GetNumberValue(json_get(b, "window"));
        double of_a = cJSON_GetNumberValue(json_get(a, "mean_kld"));
        double of_b = cJSON_GetNumberValue(json_get(b, "mean_kld"));
        size_t scored = 0, as_well = 0;
        json_to_size(json_get(a, "scored"), &scored);
        json_to_size(json_get(b, "scored"), &as_well);
        if (x == y && scored == as_well && scored) {
            out[n] = (struct window_score){ .scored = scored };
            compensated_add(&out[n++].nll, (of_b - of_a) * (double)scored);
        }
        a = x <= y ? a->next : a;
        b = y <= x ? b->next : b;
    }
    return n;
}

static bool estimate(struct estimate *out, const cJSON *first, const cJSON *second,
                     struct error *err)
{
    size_t most = (size_t)cJSON_GetArraySize(json_get(first, "windows"));
    struct window_score *units = mem_array(most, sizeof *units, "units of a pair", err);
    if (!units)
        return false;
    size_t n = pair_units(units, first, second);
    *out = (struct estimate){ .value = (double)NAN, .se = (double)NAN, .p = (double)NAN };
    if (n) {
        struct figures f = statistics_figures(units, n);
        *out = paired_estimate(f.mean, f.mean_se, (double)n - 1);
    }
    free(units);
    return true;
}

static bool has_divergence(const cJSON *document)
{
    return cJSON_IsNumber(json_get(document, "mean_kld"));
}

/* Gives the pairs; NULL when memory is out. */
static struct tie *find(size_t *n_ties, const cJSON *const *documents, size_t n, struct error *err)
{
    struct tie *ties = mem_array(n ? n * (n - 1) / 2 : 0, sizeof *ties, "pairs", err);
    bool ok = ties != NULL;
    *n_ties = 0;
    for (size_t i = 0; ok && i < n; i++)
        for (size_t j = i + 1; ok && j < n; j++)
            if (has_divergence(documents[i]) && has_divergence(documents[j])) {
                struct tie *t = &ties[(*n_ties)++];
                *t = (struct tie){ .first = i, .second = j };
                ok = estimate(&t->delta, documents[i], documents[j], err);
            }
    if (ok)
        return ties;
    free(ties);
    return NULL;
}

static void add_number(cJSON *candidates, size_t of, size_t other)
{
    cJSON *list = cJSON_GetObjectItemCaseSensitive(cJSON_GetArrayItem(candidates, (int)of),
                                                   "tied_with");
    cJSON_AddItemToArray(list, cJSON_CreateNumber((double)other + 1));
}

static void add(cJSON *ranking, const struct tie *ties, const double *holm, size_t n)
{
    cJSON *candidates = cJSON_GetObjectItemCaseSensitive(ranking, "candidates"), *candidate;
    cJSON_ArrayForEach(candidate, candidates)
        cJSON_AddArrayToObject(candidate, "tied_with");
    cJSON *o = cJSON_AddObjectToObject(ranking, "ties");
    cJSON_AddStringToObject(o, "method", "Holm");
    json_add_double(o, "level", RANKING_TIES_LEVEL);
    size_t tests = 0;
    for (size_t i = 0; i < n; i++)
        tests += isnan(holm[i]) ? 0 : 1;
    json_add_size(o, "tests", tests);
    cJSON *pairs = cJSON_AddArrayToObject(o, "pairs");
    for (size_t i = 0; i < n; i++) {
        const struct tie *t = &ties[i];
        cJSON *pair = cJSON_CreateObject();
        cJSON_AddItemToArray(pairs, pair);
        json_add_size(pair, "first", t->first + 1);
        json_add_size(pair, "second", t->second + 1);
        json_add_double(pair, "delta_kld", t->delta.value);
        json_add_double(pair, "delta_kld_stderr", t->delta.se);
        json_add_double(pair, "p_value", t->delta.p);
        json_add_double(pair, "p_holm", holm[i]);
        if (holm[i] < RANKING_TIES_LEVEL)
            continue;
        add_number(candidates, t->first, t->second);
        add_number(candidates, t->second, t->first);
    }
}

bool ranking_ties_add(cJSON *ranking, const cJSON *const *documents, size_t n, struct error *err)
{
    size_t n_ties;
    struct tie *ties = find(&n_ties, documents, n, err);
    double *holm = ties ? mem_array(n_ties, sizeof *holm, "p-values of pairs", err) : NULL;
    for (size_t i = 0; holm && i < n_ties; i++)
        holm[i] = ties[i].delta.p;
    bool ok = holm && holm_adjust(holm, n_ties, err);
    if (ok)
        add(ranking, ties, holm, n_ties);
    free(holm);
    free(ties);
    return ok;
}
