#include "eval/compare/comparison.h"

#include <math.h>
#include <stdlib.h>

/* ---- units ---------------------------------------------------------------------- */

static int32_t unit_number(const struct record *r, size_t row)
{
    return r->document ? r->document[r->window[row]] : r->window[row];
}

static void add_row(struct paired_unit *sum, const struct comparison *c, size_t row)
{
    compensated_add(&sum->a, c->a->nll[row]);
    compensated_add(&sum->b, c->b->nll[row]);
    compensated_add(&sum->delta, c->b->nll[row] - c->a->nll[row]);
    sum->scored++;
}

/* Rows come by window, and windows by document. */
static bool find_units(struct comparison *c, struct error *err)
{
    const struct record *r = c->a;
    size_t most = size_min(r->windows, r->scored);
    c->by_document = r->document != NULL;
    c->units = mem_array(most, sizeof *c->units, "units", err);
    c->sums = mem_array(most, sizeof *c->sums, "units", err);
    c->unit = mem_array(r->scored, sizeof *c->unit, "units", err);
    if (!c->units || !c->sums || !c->unit)
        return false;
    for (size_t row = 0; row < r->scored; row++) {
        int32_t number = unit_number(r, row);
        if (row == 0 || number != c->units[c->n_units - 1].number)
            c->units[c->n_units++] = (struct comparison_unit){ .number = number, .begin = row };
        c->units[c->n_units - 1].end = row + 1;
        c->unit[row] = (int32_t)c->n_units - 1;
        add_row(&c->sums[c->n_units - 1], c, row);
    }
    return true;
}

double comparison_mean_kld(const struct comparison *c, size_t begin, size_t end)
{
    struct compensated sum = { 0 };
    if (!c->divergence)
        return (double)NAN;
    for (size_t i = begin; i < end; i++)
        compensated_add(&sum, c->divergence[i].kld);
    return compensated_value(&sum) / (double)(end - begin);
}

/* ---- NLL by index in the window --------------------------------------------------- */

struct range_sums {
    struct compensated a, b;
    struct window_score *deltas;        /* [n_units] */
};

static void end_range(struct comparison *c, const struct range_sums *s, int32_t from, int32_t to)
{
    size_t scored = 0, units = 0;
    for (size_t u = 0; u < c->n_units; u++) {
        scored += s->deltas[u].scored;
        units += s->deltas[u].scored > 0;
    }
    if (scored == 0)
        return;
    struct figures delta = statistics_figures(s->deltas, c->n_units);
    c->ranges[c->n_ranges++] = (struct comparison_range){
        .from = from, .to = to, .scored = scored,
        .nll_a = compensated_value(&s->a) / (double)scored,
        .nll_b = compensated_value(&s->b) / (double)scored,
        .delta = paired_estimate(delta.mean, delta.mean_se, (double)units - 1),
    };
}

/* Equal widths from the lowest index that is scored to the highest. */
static bool find_ranges(struct comparison *c, struct error *err)
{
    const struct record *r = c->a;
    int32_t low = r->index_in_window[0], high = low;
    for (size_t i = 1; i < r->scored; i++) {
        low = r->index_in_window[i] < low ? r->index_in_window[i] : low;
        high = r->index_in_window[i] > high ? r->index_in_window[i] : high;
    }
    int32_t width = (high - low) / COMPARISON_RANGES + 1;
    struct window_score *deltas = mem_array(c->n_units, sizeof *deltas, "units", err);
    if (!deltas)
        return false;
    for (int64_t from = low; from <= high; from += width) {
        struct range_sums s = { .deltas = deltas };
        int64_t to = from + width - 1 < high ? from + width - 1 : high;
        for (size_t u = 0; u < c->n_units; u++)
            deltas[u] = (struct window_score){ .scored = 0 };
        for (size_t i = 0; i < r->scored; i++)
            if (r->index_in_window[i] >= from && r->index_in_window[i] <= to) {
                compensated_add(&s.a, c->a->nll[i]);
                compensated_add(&s.b, c->b->nll[i]);
                compensated_add(&deltas[c->unit[i]].nll, c->b->nll[i] - c->a->nll[i]);
                deltas[c->unit[i]].scored++;
            }
        end_range(c, &s, (int32_t)from, (int32_t)to);
    }
    free(deltas);
    return true;
}

/* ---- where they differ most --------------------------------------------------------- */

/* Keeps the `most` items of largest size, by falling size; of equals the earlier one. */
static void keep_worst(size_t *items, double *sizes, size_t *n, size_t most, size_t item,
                       double size)
{
    if (!(size > 0) || (*n == most && size <= sizes[most - 1]))
        return;
    size_t at = *n < most ? (*n)++ : most - 1;
    for (; at > 0 && sizes[at - 1] < size; at--) {
        items[at] = items[at - 1];
        sizes[at] = sizes[at - 1];
    }
    items[at] = item;
    sizes[at] = size;
}

static void find_worst(struct comparison *c)
{
    double sizes[COMPARISON_WORST_WINDOWS + COMPARISON_WORST_TOKENS];
    for (size_t u = 0; u < c->n_units; u++)
        keep_worst(c->worst_units, sizes, &c->n_worst_units, COMPARISON_WORST_WINDOWS, u,
                   fabs(compensated_value(&c->sums[u].delta)) / (double)c->sums[u].scored);
    for (size_t i = 0; i < c->a->scored; i++)
        keep_worst(c->worst_rows, sizes, &c->n_worst_rows, COMPARISON_WORST_TOKENS, i,
                   fabs(c->b->nll[i] - c->a->nll[i]));
}

/* ---- the comparison ----------------------------------------------------------------- */

static double share_of_same_top1(const struct record *a, const struct record *b)
{
    size_t same = 0;
    for (size_t i = 0; i < a->scored; i++)
        same += a->top1[i] == b->top1[i];
    return (double)same / (double)a->scored;
}

bool comparison_make(struct comparison *c, const struct record *a, const struct record *b,
                     const struct divergence_row *divergence, const struct bootstrap *bootstrap,
                     struct error *err)
{
    *c = (struct comparison){ .a = a, .b = b, .divergence = divergence };
    c->paired.bootstrap = *bootstrap;
    bool ok = find_units(c, err)
           && paired_compute(&c->paired, c->sums, c->n_units, a->nll, b->nll, a->scored, err)
           && delta_p_compute(&c->delta_p, a->nll, b->nll, a->scored, err) && find_ranges(c, err)
           && (!divergence
               || divergence_figures(&c->kl, divergence, c->unit, a->scored, c->n_units, err));
    if (!ok) {
        comparison_free(c);
        return false;
    }
    c->same_top1 = share_of_same_top1(a, b);
    find_worst(c);
    return true;
}

size_t comparison_kept_bytes(size_t scored, size_t windows)
{
    const struct comparison *c = NULL;
    return scored * sizeof *c->unit + windows * (sizeof *c->units + sizeof *c->sums);
}

/* In addition to the memory that is kept: an array to sort probability changes or divergences, and
 * the sums of units. */
size_t comparison_bytes(size_t scored, size_t windows)
{
    return comparison_kept_bytes(scored, windows) + scored * sizeof(double)
         + windows * (2 * sizeof(double) + sizeof(struct window_score));
}

void comparison_free(struct comparison *c)
{
    free(c->units);
    free(c->sums);
    free(c->unit);
    *c = (struct comparison){ 0 };
}
