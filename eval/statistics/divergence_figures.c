#include "eval/statistics/divergence_figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/statistics/statistics.h"

const struct divergence_quantile divergence_figures_quantiles[DIVERGENCE_QUANTILES] = {
    { "median", 0.5 }, { "p90", 0.9 }, { "p95", 0.95 }, { "p99", 0.99 }, { "p999", 0.999 },
    { "max", 1 },
};

static const double confidence[DIVERGENCE_BINS + 1] = { 0, 0.25, 0.5, 0.75, 0.95, 1 };

static double edge(size_t i)
{
    return pow(10, -10 + (double)i / 4);
}

/* ---- computing ------------------------------------------------------------------ */

struct work {
    const struct divergence_row *rows;
    const int32_t *unit;
    size_t n, n_units;
    struct window_score *sums;          /* owned [n_units]: sums of KL instead of NLL */
    double *values;                     /* owned [n] */
};

enum measure { FORWARD, REVERSE, SAME_HEAD };

static double kld_of(const struct divergence_row *row, enum measure measure)
{
    return measure == REVERSE ? row->kld_reverse : measure == SAME_HEAD ? row->kld_same_head
         : row->kld;
}

static void direction(struct divergence_direction *d, const struct work *w, enum measure measure)
{
    memset(w->sums, 0, w->n_units * sizeof *w->sums);
    for (size_t i = 0; i < w->n; i++) {
        struct window_score *sum = &w->sums[w->unit[i]];
        w->values[i] = kld_of(&w->rows[i], measure);
        compensated_add(&sum->nll, w->values[i]);
        sum->scored++;
    }
    struct figures mean = statistics_figures(w->sums, w->n_units);
    d->mean = mean.mean;
    d->se = mean.mean_se;
    statistics_sort(w->values, w->n);
    for (size_t i = 0; i < DIVERGENCE_QUANTILES; i++)
        d->quantiles[i] = statistics_quantile(w->values, w->n,
                                              divergence_figures_quantiles[i].share);
}

/* A head fits the hidden states of all tokens, or of none. */
static void same_head(struct divergence_figures *f, const struct work *w)
{
    const double none = (double)NAN;
    f->same_head = (struct divergence_direction){ .mean = none, .se = none };
    if (w->n && !isnan(w->rows[0].kld_same_head))
        direction(&f->same_head, w, SAME_HEAD);
}

double divergence_figures_of_head(const struct divergence_figures *f)
{
    return f->forward.mean - f->same_head.mean;
}

static void bin(struct divergence_bin *b, const struct work *w, size_t index)
{
    bool last = index + 1 == DIVERGENCE_BINS;
    size_t same = 0;
    *b = (struct divergence_bin){ .from = confidence[index], .to = confidence[index + 1] };
    memset(w->sums, 0, w->n_units * sizeof *w->sums);
    for (size_t i = 0; i < w->n; i++) {
        const struct divergence_row *row = &w->rows[i];
        double top = (double)row->top_a;
        if (top < b->from || (top >= b->to && !last))
            continue;
        compensated_add(&w->sums[w->unit[i]].nll, row->kld);
        w->sums[w->unit[i]].scored++;
        b->scored++;
        same += row->same_top1;
    }
    struct figures mean = statistics_figures(w->sums, w->n_units);
    b->mean = mean.mean;
    b->se = mean.mean_se;
    b->same_top1 = (double)same / (double)b->scored;
}

static void histogram(struct divergence_figures *f, const struct work *w)
{
    double edges[DIVERGENCE_EDGES];
    for (size_t i = 0; i < DIVERGENCE_EDGES; i++)
        edges[i] = edge(i);
    for (size_t i = 0; i < w->n; i++) {
        size_t at = 0;
        while (at < DIVERGENCE_EDGES && w->rows[i].kld >= edges[at])
            at++;
        f->histogram[at]++;
    }
}

bool divergence_figures(struct divergence_figures *f, const struct divergence_row *rows,
                        const int32_t *unit, size_t n, size_t n_units, struct error *err)
{
    struct work w = { .rows = rows, .unit = unit, .n = n, .n_units = n_units };
    size_t overlap = 0;
    *f = (struct divergence_figures){ 0 };
    w.sums = mem_array(n_units, sizeof *w.sums, "KL divergence by unit", err);
    w.values = mem_array(n, sizeof *w.values, "KL divergence by token", err);
    bool ok = w.sums && w.values;
    if (ok) {
        direction(&f->forward, &w, FORWARD);
        direction(&f->reverse, &w, REVERSE);
        same_head(f, &w);
        for (size_t i = 0; i < DIVERGENCE_BINS; i++)
            bin(&f->bins[i], &w, i);
        histogram(f, &w);
        for (size_t i = 0; i < n; i++)
            overlap += (size_t)rows[i].overlap5;
        f->top5_overlap = (double)overlap / (double)n / DIVERGENCE_TOP;
    }
    free(w.sums);
    free(w.values);
    return ok;
}

/* ---- writing --------------------------------------------------------------------- */

static void add_quantiles(cJSON *to, const char *key, const struct divergence_direction *d)
{
    cJSON *o = cJSON_AddObjectToObject(to, key);
    for (size_t i = 0; i < DIVERGENCE_QUANTILES; i++)
        json_add_double(o, divergence_figures_quantiles[i].name, d->quantiles[i]);
}

void divergence_figures_add(cJSON *to, const struct divergence_figures *f)
{
    json_add_double(to, "mean_kld", f->forward.mean);
    json_add_double(to, "kld_stderr", f->forward.se);
    add_quantiles(to, "kld", &f->forward);
    json_add_double(to, "mean_kld_reverse", f->reverse.mean);
    json_add_double(to, "kld_reverse_stderr", f->reverse.se);
    add_quantiles(to, "kld_reverse", &f->reverse);
    json_add_double(to, "mean_kld_same_head", f->same_head.mean);
    json_add_double(to, "kld_same_head_stderr", f->same_head.se);
    json_add_double(to, "kld_of_head", divergence_figures_of_head(f));
    json_add_double(to, "top5_overlap", f->top5_overlap);
}

static cJSON *add_range(cJSON *list, double from, double to, size_t scored)
{
    cJSON *o = cJSON_CreateObject();
    cJSON_AddItemToArray(list, o);
    json_add_double(o, "from", from);
    json_add_double(o, "to", to);
    json_add_size(o, "scored", scored);
    return o;
}

void divergence_figures_add_distribution(cJSON *to, const struct divergence_figures *f)
{
    cJSON *list = cJSON_AddArrayToObject(to, "kld_by_confidence");
    for (size_t i = 0; i < DIVERGENCE_BINS; i++) {
        const struct divergence_bin *b = &f->bins[i];
        cJSON *o = add_range(list, b->from, b->to, b->scored);
        json_add_double(o, "mean_kld", b->mean);
        json_add_double(o, "kld_stderr", b->se);
        json_add_double(o, "same_top1", b->same_top1);
    }
    list = cJSON_AddArrayToObject(to, "kld_histogram");
    for (size_t i = 0; i <= DIVERGENCE_EDGES; i++)
        add_range(list, i ? edge(i - 1) : 0, i < DIVERGENCE_EDGES ? edge(i) : (double)INFINITY,
                  f->histogram[i]);
}
