#include "verify/verify_levels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "formats/merged.h"
#include "formats/quantization.h"
#include "kernels/stored.h"
#include "verify/verify_extremes.h"

#define LEAST_SIZE 64                   /* rows and columns of a linear that is compared with */
#define LEAST_ELEMENTS 1024             /* of one of the same name */
#define LEAST_LINEARS 2
#define LAYER_OCTAVES 1
#define LARGEST_BITS 0x49800000u        /* of 2^20 as f32 */

/* ---- RMS of each kind in each layer ------------------------------------------------------ */

/* Of RMS. */
struct range {
    double least, most, sum_log;
};

struct cell {
    const struct verify_labelled *first;
    bool is_packed;
    const struct matrix *view;          /* of the first */
    struct tally sum;
    double rms;
    /* The linears of this layer that are not quantized, those of its own name among them. */
    size_t n_linears, n_alike;
    struct range all, alike, scaled;    /* scaled: RMS times sqrt(columns) */
    double ratio;                       /* to those of its name, else to all; NaN: too few */
};

struct cells {
    struct cell *list;                  /* owned [n]: by kind, then by layer */
    size_t n;
};

double verify_levels_rms(const struct tally *t)
{
    return t->elements ? sqrt(t->sum_q2 / (double)t->elements) : 0;
}

static bool is_compared_with(const struct listed_weight *w)
{
    return !w->stored.is_packed && w->is_linear && w->stored.ndim == 2 && w->kind != WEIGHT_ROUTER
        && w->stored.view.rows * w->stored.view.cols >= LEAST_ELEMENTS;
}

static bool is_large(const struct matrix *m)
{
    return m->rows >= LEAST_SIZE && m->cols >= LEAST_SIZE;
}

/* A cell for the quantized weights of a kind and layer, and one for the others. */
static void add_weight(struct cells *c, const struct verify_labelled *x,
                       const struct listed_weight *w, const struct tally *t)
{
    bool is_packed = w->stored.is_packed;
    struct cell *cell = NULL;
    for (size_t i = c->n; !cell && i-- > 0 && c->n - i <= 2;) {
        struct cell *last = &c->list[i];
        if (last->is_packed == is_packed && strcmp(last->first->kind.text, x->kind.text) == 0
            && strcmp(last->first->layer.text, x->layer.text) == 0)
            cell = last;
    }
    if (!cell) {
        cell = &c->list[c->n++];
        *cell = (struct cell){ .first = x, .is_packed = is_packed, .view = &w->stored.view };
    }
    tally_add(&cell->sum, t);
    cell->rms = verify_levels_rms(&cell->sum);
}

static bool make_cells(struct cells *c, const struct tally *tallies, const struct weight_list *w,
                       const struct verify_labels *labels, struct error *err)
{
    *c = (struct cells){ .list = mem_array(labels->n, sizeof *c->list, "values", err) };
    for (size_t i = 0; c->list && i < labels->n; i++) {
        const struct verify_labelled *x = &labels->list[i];
        const struct listed_weight *listed = &w->list[x->weight];
        /* What verify_extremes names would be named once more. */
        if (tallies[x->weight].elements && tallies[x->weight].peaks.largest < LARGEST_BITS
            && strcmp(x->layer.text, "-") != 0
            && (listed->stored.is_packed || is_compared_with(listed)))
            add_weight(c, x, listed, &tallies[x->weight]);
    }
    return c->list;
}

/* ---- against the linears of the layer ---------------------------------------------------- */

static int compare_layers(const void *a, const void *b)
{
    const struct cell *x = *(struct cell *const *)a, *y = *(struct cell *const *)b;
    return strcmp(x->first->layer.text, y->first->layer.text);
}

static void widen(struct range *r, double rms, size_t n)
{
    r->least = n ? fmin(r->least, rms) : rms;
    r->most = n ? fmax(r->most, rms) : rms;
    r->sum_log += log(rms);
}

/* "down_proj": what an expert, the shared expert and a dense MLP call the same. */
static bool same_name(const struct cell *x, const struct cell *y)
{
    return strcmp(merged_last_part(x->first->kind.text), merged_last_part(y->first->kind.text))
        == 0;
}

/* A cell against the others of its layer. */
static void compare_cell(struct cell *x, struct cell **list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct cell *y = list[i];
        if (y->is_packed || !(y->rms > 0))
            continue;
        if (same_name(x, y))
            widen(&x->alike, y->rms, x->n_alike++);
        if (!is_large(y->view))
            continue;
        widen(&x->scaled, y->rms * sqrt((double)y->view->cols), x->n_linears);
        widen(&x->all, y->rms, x->n_linears++);
    }
    x->ratio = x->n_linears < LEAST_LINEARS || !(x->rms > 0) ? NAN
             : x->n_alike ? x->rms / exp(x->alike.sum_log / (double)x->n_alike)
                          : x->rms / exp(x->all.sum_log / (double)x->n_linears);
}

static bool compare_cells(struct cells *c, struct error *err)
{
    struct cell **list = mem_array(c->n, sizeof *list, "values", err);
    for (size_t i = 0; list && i < c->n; i++)
        list[i] = &c->list[i];
    if (list && c->n)
        qsort(list, c->n, sizeof *list, compare_layers);
    for (size_t i = 0, end; list && i < c->n; i = end) {
        for (end = i + 1; end < c->n && compare_layers(&list[i], &list[end]) == 0; end++)
            ;
        for (size_t j = i; j < end; j++)
            compare_cell(list[j], list + i, end - i);
    }
    free(list);
    return list;
}

/* ---- one kind ----------------------------------------------------------------------------- */

/* Above all linears of its layer by the factor, or below them. */
static bool is_beyond_range(double rms, const struct range *r, double factor, bool above)
{
    return above ? rms >= r->most * factor : rms <= r->least / factor;
}

/* And the same of those of its own name; without any, of what does not depend on the columns. */
static bool is_beyond(const struct cell *x, double factor, bool above)
{
    return is_beyond_range(x->rms, &x->all, factor, above)
        && (x->n_alike ? is_beyond_range(x->rms, &x->alike, factor, above)
                       : is_beyond_range(x->rms * sqrt((double)x->view->cols), &x->scaled, factor,
                                         above));
}

static bool add(const struct cell *x, const struct weight_list *w, struct findings *found,
                struct error *err, const char *text)
{
    const struct listed_weight *first = &w->list[x->first->weight];
    return findings_add(found, SUSPECT_SCALE, first->stored.parts[0]->file, first->name, err, "%s",
                        text);
}

/* where: the other layers, and what they have. */
static bool say(const struct cell *x, double ratio, const char *where, const struct weight_list *w,
                struct findings *found, struct error *err)
{
    double power = round(log2(ratio));
    char text[512];
    format_text(text, sizeof text, "RMS of %.80s %.3g, of the linears of this layer that are not"
                " quantized %.3g to %.3g, %s: scales off by 2^%.0f%s?", x->first->kind.text, x->rms,
                x->all.least, x->all.most, where, power,
                power == -2 ? ", bias 125 instead of 127" : "");
    return add(x, w, found, err, text);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double ratio_of(const struct cell *x)
{
    return x->ratio;
}

static double bulk_of(const struct cell *x)
{
    return verify_extremes_bulk(&x->sum.peaks);
}

/* What the middle layer has. */
static bool middle_of(double *out, double (*value)(const struct cell *x), const struct cell *list,
                      size_t n, struct error *err)
{
    double *values = mem_array(n, sizeof *values, "values", err);
    for (size_t i = 0; values && i < n; i++)
        values[i] = value(&list[i]);
    if (values) {
        qsort(values, n, sizeof *values, compare_doubles);
        *out = values[n / 2];
    }
    free(values);
    return values;
}

static bool is_layer_beyond(const struct cell *x, double middle, double bulk)
{
    bool above = x->ratio > middle;
    double away = above ? x->ratio / middle : middle / x->ratio;
    double octaves = above ? bulk_of(x) - bulk : bulk - bulk_of(x);
    return away >= VERIFY_LEVEL_LAYER && octaves >= LAYER_OCTAVES
        && is_beyond(x, VERIFY_LEVEL_LAYER, above);
}

/* The quantized cells of a kind that can be compared, [n]. */
static bool judge_kind(const struct cell *list, size_t n, const struct weight_list *w,
                       struct findings *found, struct error *err)
{
    char where[64];
    double middle, bulk;
    if (!middle_of(&middle, ratio_of, list, n, err) || !middle_of(&bulk, bulk_of, list, n, err))
        return false;
    bool above = middle > 1, ok = true;
    size_t n_beyond = 0;
    for (size_t i = 0; i < n; i++)
        n_beyond += is_beyond(&list[i], VERIFY_LEVEL_KIND, above);
    snprintf(where, sizeof where, "and alike in %zu of %zu layers", n_beyond, n);
    if (3 * n_beyond >= 2 * n)
        return say(list, middle, where, w, found, err);
    for (size_t i = 0; ok && i < n; i++)
        if (is_layer_beyond(&list[i], middle, bulk))
            ok = say(&list[i], list[i].ratio / middle, "unlike in other layers", w, found, err);
    return ok;
}

/* Keeps the quantized cells that have something to be compared with. */
static void drop_others(struct cells *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].is_packed && !isnan(c->list[i].ratio))
            c->list[n++] = c->list[i];
    c->n = n;
}

/* ---- the version --------------------------------------------------------------------------- */

static bool judge_version(const struct verify_folder *f, const struct weight_list *w,
                          struct findings *found, struct error *err)
{
    const char *version = f->ck.config_json ? quantization_off_version(&f->ck) : NULL;
    size_t n = 0;
    for (size_t i = 0; version && i < w->n; i++)
        n += w->list[i].stored.is_packed && stored_largest_code(&w->list[i].stored.view) > 0;
    return n == 0
        || findings_add(found, SUSPECT_VERSION, "config.json", NULL, err,
                        "quantization_config.version is %.40s: this release of compressed-tensors"
                        " wrote scales with bias 125 instead of 127, so that %zu weights here would"
                        " be a quarter of what they should be", version, n);
}

bool verify_levels(const struct tally *tallies, const struct verify_folder *f,
                   const struct weight_list *w, const struct verify_labels *labels,
                   struct findings *found, struct error *err)
{
    struct cells c;
    bool ok = judge_version(f, w, found, err) && make_cells(&c, tallies, w, labels, err);
    if (!ok)
        return false;
    ok = compare_cells(&c, err);
    drop_others(&c);
    for (size_t i = 0, end; ok && i < c.n; i = end) {
        for (end = i + 1; end < c.n && strcmp(c.list[i].first->kind.text,
                                              c.list[end].first->kind.text) == 0; end++)
            ;
        ok = judge_kind(&c.list[i], end - i, w, found, err);
    }
    free(c.list);
    return ok;
}
