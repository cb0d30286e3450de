#include "eval/report/ranking_table.h"

#include <string.h>

#include "eval/report/figure.h"

const char *const ranking_table_headings[RANKING_COLUMNS] = {
    "#", "candidate", "GB", "bits/weight", "mean KL", "front", "GB over front", "tied with",
    "B - A, 95 % interval", "same top token", "median KL", "p99 KL", "p99.9 KL",
};

static const struct key_figure figures[RANKING_COLUMNS] = {
    [RANKING_NUMBER] = { .path = "number", .kind = NUMBER_WHOLE },
    [RANKING_SIZE] = { .path = "bytes", .kind = NUMBER_GIGABYTES },
    [RANKING_BITS] = { .path = "bits_per_weight", .kind = NUMBER_PLAIN },
    [RANKING_KLD] = { .path = "mean_kld", .error = "kld_stderr", .kind = NUMBER_PLAIN },
    [RANKING_MEDIAN] = { .path = "kld.median", .kind = NUMBER_PLAIN },
    [RANKING_P99] = { .path = "kld.p99", .kind = NUMBER_PLAIN },
    [RANKING_P999] = { .path = "kld.p999", .kind = NUMBER_PLAIN },
    [RANKING_TOP1] = { .path = "same_top1", .kind = NUMBER_SHARE },
    [RANKING_DELTA] = { .path = "delta_nll_ci95", .kind = NUMBER_INTERVAL },
    [RANKING_OVER_FRONT] = { .path = "bytes_over_front", .kind = NUMBER_GIGABYTES_MORE },
};

static bool add_front(struct buffer *out, const cJSON *candidate, struct error *err)
{
    const cJSON *by = json_get_value(candidate, "dominated_by");
    if (cJSON_IsTrue(json_get(candidate, "on_front")))
        return buffer_printf(out, err, "yes");
    return by ? buffer_printf(out, err, "below %.0f", by->valuedouble)
              : buffer_printf(out, err, "-");
}

static bool add_tied(struct buffer *out, const cJSON *candidate, struct error *err)
{
    const cJSON *list = json_get(candidate, "tied_with"), *other;
    bool ok = list && list->child ? true : buffer_printf(out, err, "-");
    cJSON_ArrayForEach(other, list)
        ok = ok && buffer_printf(out, err, "%s%.0f", other == list->child ? "" : ", ",
                                 cJSON_GetNumberValue(other));
    return ok;
}

bool ranking_table_cell(struct buffer *out, enum ranking_column column, const cJSON *candidate,
                        struct error *err)
{
    char text[DESCRIBE_BYTES];
    const char *name = cJSON_GetStringValue(json_get(candidate, "candidate"));
    if (column == RANKING_NAME)
        return buffer_append(out, name ? name : "?", name ? strlen(name) : 1, err);
    if (column == RANKING_FRONT)
        return add_front(out, candidate, err);
    if (column == RANKING_TIED)
        return add_tied(out, candidate, err);
    bool found = describe_figure(text, &figures[column], candidate, true);
    return buffer_printf(out, err, "%s", found ? text : "-");
}

bool ranking_table_note(struct buffer *out, const cJSON *ranking, const char *between,
                        struct error *err)
{
    const char path[] = "comparisons.0.unit";
    const cJSON *ties = json_get(ranking, "ties");
    const char *unit = cJSON_GetStringValue(figure_find(ranking, path, strlen(path)));
    unit = unit ? unit : "window";
    return buffer_printf(out, err, "Differences are from the original: KL divergence in nats a "
                         "token, ± one standard error by %s; B - A of mean NLL, paired by %s.%s"
                         "front: no other candidate is smaller and closer to the original.%s"
                         "GB over front: more, or less, than the size at which the front of the "
                         "others has the same mean KL, interpolated.%s", unit, unit, between,
                         between, between)
        && buffer_printf(out, err, "tied with: mean KL does not differ at the %g %% level, paired "
                         "by %s, corrected for %.0f tests by %s's method.",
                         100 * cJSON_GetNumberValue(json_get(ties, "level")), unit,
                         cJSON_GetNumberValue(json_get(ties, "tests")),
                         cJSON_GetStringValue(json_get(ties, "method")));
}
