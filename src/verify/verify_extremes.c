#include "verify/verify_extremes.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"

#define APART        8                  /* octaves; see the header */
#define VECTOR_APART 10
#define BIAS         127                /* of the exponent of f32 */
#define LEAST        2                  /* 4: smaller values harm nobody */
#define ALONE        4                  /* 16: what the only tensor of a kind may have */
#define LEVEL_APART  10.0               /* of whole tensors */
#define LEVEL_MOST   20.0
#define LEVEL_PEERS  3                  /* a middle tensor needs as many */

double verify_extremes_bulk(const struct tally_peaks *p)
{
    return p->n ? (double)p->sum_bits / (double)p->n / 8388608 - BIAS : -INFINITY;
}

static bool has(const struct tally_peaks *p, int exponent)
{
    return p->exponents[exponent / 64] >> (exponent % 64) & 1;
}

static int apart(bool is_vector)
{
    return is_vector ? VECTOR_APART : APART;
}

int verify_extremes_own(const struct tally_peaks *p, bool is_vector)
{
    int own = p->n ? (int)(p->sum_bits / p->n >> 23) : 0, last = (int)(p->largest >> 23);
    for (int away = 0; away <= last && !has(p, own); away++)
        own = away <= own && has(p, own - away) ? own - away
            : own + away <= last && has(p, own + away) ? own + away : own;
    for (int next = own + 1; next <= last && next <= own + apart(is_vector); next++)
        own = has(p, next) ? next : own;
    return is_vector && own < BIAS ? 0 : own - BIAS;
}

/* ---- one kind -------------------------------------------------------------------------- */

/* What the tensors of a kind have. */
struct kind {
    const struct tally *tallies;
    const struct weight_list *w;
    const struct verify_labelled *list; /* [n] */
    size_t n;
    int own;                            /* the largest of them */
    double level;                       /* bulk of the middle one; NaN: too few */
};

static bool is_vector(const struct listed_weight *w)
{
    return w->stored.view.rows == 1;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static bool measure(struct kind *k, struct error *err)
{
    double *bulks = mem_array(k->n, sizeof *bulks, "values", err);
    if (!bulks)
        return false;
    k->own = -BIAS;
    for (size_t i = 0; i < k->n; i++) {
        const struct listed_weight *w = &k->w->list[k->list[i].weight];
        const struct tally_peaks *p = &k->tallies[k->list[i].weight].peaks;
        int own = verify_extremes_own(p, is_vector(w));
        k->own = own > k->own ? own : k->own;
        bulks[i] = verify_extremes_bulk(p);
    }
    qsort(bulks, k->n, sizeof *bulks, compare_doubles);
    k->level = k->n >= LEVEL_PEERS ? bulks[k->n / 2] : NAN;
    free(bulks);
    return true;
}

static bool is_level_apart(const struct kind *k, const struct tally_peaks *p)
{
    double bulk = verify_extremes_bulk(p);
    return bulk >= LEVEL_MOST || (bulk >= ALONE && bulk - k->level >= LEVEL_APART);
}

static bool say_level(const struct kind *k, const struct listed_weight *w,
                      const struct tally_peaks *p, struct findings *found, struct error *err)
{
    char text[256];
    if (k->level < LEVEL_MOST)
        format_text(text, sizeof text, "values of about %.2g, of about %.2g in the middle tensor of"
                    " this kind (%zu)", exp2(verify_extremes_bulk(p)), exp2(k->level), k->n);
    else
        format_text(text, sizeof text, "values of about %.2g, which no weight should have",
                    exp2(verify_extremes_bulk(p)));
    return findings_add(found, SUSPECT_EXTREME, w->stored.parts[0]->file, w->name, err, "%s", text);
}

static bool say_value(const struct kind *k, const struct listed_weight *w,
                      const struct tally_peaks *p, struct findings *found, struct error *err)
{
    char text[256], others[128] = "", place[VERIFY_PLACE_BYTES];
    float value;
    memcpy(&value, &p->largest, sizeof value);
    format_text(text, sizeof text, "the largest magnitude is %.3g, at %s; the tensor's other values"
                " are below %.3g", (double)value, verify_label_place(place, w, p->at_largest),
                exp2(verify_extremes_own(p, is_vector(w)) + 1));
    if (k->n > 1)
        format_text(others, sizeof others, ", those of %zu more of this kind below %.3g", k->n - 1,
                    exp2(k->own + 1));
    return findings_add(found, SUSPECT_EXTREME, w->stored.parts[0]->file, w->name, err,
                        "%s%s: a flipped bit?", text, others);
}

static bool judge(const struct kind *k, size_t weight, struct findings *found, struct error *err)
{
    const struct listed_weight *w = &k->w->list[weight];
    const struct tally_peaks *p = &k->tallies[weight].peaks;
    int largest = (int)(p->largest >> 23) - BIAS;
    bool is_apart = largest - k->own > apart(is_vector(w)) && largest >= (k->n > 1 ? LEAST : ALONE);
    if (!p->n)
        return true;
    if (is_apart)
        return say_value(k, w, p, found, err);
    return !is_level_apart(k, p) || say_level(k, w, p, found, err);
}

bool verify_extremes(const struct tally *tallies, const struct weight_list *w,
                     const struct verify_labels *labels, struct findings *found,
                     struct error *err)
{
    bool ok = true;
    for (size_t i = 0, end; ok && i < labels->n; i = end) {
        end = verify_labels_end(labels, i);
        struct kind k = { .tallies = tallies, .w = w, .list = &labels->list[i], .n = end - i };
        ok = measure(&k, err);
        for (size_t j = i; ok && j < end; j++)
            ok = judge(&k, labels->list[j].weight, found, err);
    }
    return ok;
}
