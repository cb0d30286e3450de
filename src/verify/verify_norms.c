#include "verify/verify_norms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "kernels/kernels.h"

#define LEAST_ELEMENTS 8
#define MOST_ELEMENTS  ((size_t)1 << 20)
#define STEP 0.6                        /* between layers; see the header */

enum look { LOOKS_RIGHT, LOOKS_ADDED, LOOKS_TAKEN };

struct norm {
    size_t weight;
    double middle;
    enum look look;
};

struct norms {
    const struct verify_folder *f;
    const struct weight_list *w;
    const struct row_kernels *rows;
    struct findings *found;
    struct error *err;
    struct norm *list;                  /* owned [n]: of one kind, by layer */
    size_t n;
    bool is_factor;                     /* the kind stores its factor */
    struct norm *single;                /* owned [n_single]: the only ones of their kinds */
    size_t n_single, n_kinds;           /* n_kinds: suspect as a whole */
};

/* ---- one norm -------------------------------------------------------------------------- */

bool verify_norms_are_sums(const float *x, size_t n, enum dtype dtype)
{
    const int bits = dtype == DTYPE_BF16 ? 8 : dtype == DTYPE_F16 ? 11 : 24;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++)
        ok = fmod(ldexp(x[i], bits), 1) == 0;
    return ok;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static enum look look_of(double middle, bool is_sum, bool is_factor)
{
    if (is_factor)
        return middle > 1.4 ? LOOKS_ADDED : middle < 0.25 ? LOOKS_TAKEN : LOOKS_RIGHT;
    return middle > 0.5 && is_sum ? LOOKS_ADDED : middle < -0.75 ? LOOKS_TAKEN : LOOKS_RIGHT;
}

/* Short vectors tell nothing; a container that says that it stores 1 + w is believed. */
static bool can_tell(const struct listed_weight *w)
{
    const struct stored_weight *s = &w->stored;
    return s->is_whole && s->is_float && !s->is_packed && !s->view.one_added
        && s->view.rows == 1 && s->view.cols >= LEAST_ELEMENTS && s->view.cols <= MOST_ELEMENTS;
}

static bool read_norm(struct norms *m, size_t weight)
{
    const struct matrix *view = &m->w->list[weight].stored.view;
    const struct mapped_file *file = checkpoint_file_of(&m->f->ck, view->data);
    size_t n = view->cols;
    float *x = mem_array(n, sizeof *x, "a norm", m->err);
    bool ok = x && (!file || file_populate(file, (size_t)(view->data - file->data),
                                           m->w->list[weight].stored.n_bytes, m->err));
    if (ok) {
        bool finite = true;
        m->rows->expand(x, view, 0, 0, n);
        for (size_t i = 0; i < n; i++)
            finite &= isfinite(x[i]) != 0;
        bool is_sum = finite && verify_norms_are_sums(x, n, view->dtype);
        if (finite) {
            qsort(x, n, sizeof *x, compare_floats);
            m->list[m->n++] = (struct norm){ weight, x[n / 2],
                                             look_of(x[n / 2], is_sum, m->is_factor) };
        }
    }
    free(x);
    return ok;
}

/* ---- one kind ---------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5)))
static bool add(struct norms *m, const struct norm *x, bool is_factor, const char *format, ...)
{
    const struct listed_weight *w = &m->w->list[x->weight];
    char text[256];
    va_list args;
    va_start(args, format);
    format_text_v(text, sizeof text, format, args);
    va_end(args);
    return findings_add(m->found, SUSPECT_NORM, w->stored.parts[0]->file, w->name, m->err,
                        "%s: 1 %s by a converter? This norm stores %s", text,
                        x->look == LOOKS_ADDED ? "added once more" : "taken away",
                        is_factor ? "its factor" : "w, and scales by 1 + w");
}

/* All layers that look so, as one. */
static bool say_kind(struct norms *m, enum look look, size_t n_such)
{
    const struct norm *first = NULL;
    double least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < m->n; i++) {
        const struct norm *x = &m->list[i];
        if (x->look != look)
            continue;
        first = first ? first : x;
        least = fmin(least, x->middle);
        most = fmax(most, x->middle);
    }
    m->n_kinds++;
    return add(m, first, m->is_factor, "middle values of %.2f to %.2f in %zu of %zu layers", least,
               most, n_such, m->n);
}

/* Does it differ by a step from the next layer, in a direction, that looks otherwise? */
static bool is_step(const struct norms *m, size_t i, int direction, bool *any)
{
    const struct norm *x = &m->list[i];
    for (size_t j = i + (size_t)direction; j < m->n; j += (size_t)direction) {
        const struct norm *y = &m->list[j];
        if (y->look == x->look)
            continue;
        *any = true;
        return x->look == LOOKS_ADDED ? x->middle - y->middle >= STEP
                                      : y->middle - x->middle >= STEP;
    }
    return true;
}

static bool say_layers(struct norms *m)
{
    bool ok = true;
    for (size_t i = 0; ok && i < m->n; i++) {
        bool any = false;
        if (m->list[i].look != LOOKS_RIGHT && is_step(m, i, -1, &any) && is_step(m, i, 1, &any)
            && any)
            ok = add(m, &m->list[i], m->is_factor, "a middle value of %.2f, unlike the layers"
                     " before and after", m->list[i].middle);
    }
    return ok;
}

static bool judge_kind(struct norms *m)
{
    size_t n_such[3] = { 0 };
    for (size_t i = 0; i < m->n; i++)
        n_such[m->list[i].look]++;
    if (m->n == 1 && m->list[0].look != LOOKS_RIGHT && !m->is_factor)
        m->single[m->n_single++] = m->list[0];
    if (m->n < 2)
        return true;
    for (enum look look = LOOKS_ADDED; look <= LOOKS_TAKEN; look++)
        if (3 * n_such[look] >= 2 * m->n)
            return say_kind(m, look, n_such[look]);
    return say_layers(m);
}

static bool judge_single(struct norms *m)
{
    bool ok = true;
    for (size_t i = 0; ok && (m->n_kinds || m->n_single > 2) && i < m->n_single; i++)
        ok = add(m, &m->single[i], false, "a middle value of %.2f", m->single[i].middle);
    return ok;
}

/* ---- all ----------------------------------------------------------------------------------- */

/* Weights [first, end) of the labels are a kind. */
static bool take_kind(struct norms *m, const struct verify_labels *labels, size_t first, size_t end)
{
    bool is_norm = false, ok = true;
    for (size_t i = first; i < end; i++) {
        const struct listed_weight *w = &m->w->list[labels->list[i].weight];
        is_norm |= w->is_expected && w->kind == WEIGHT_NORM;
    }
    m->n = 0;
    m->is_factor = strcmp(labels->list[first].kind.text, "linear_attn.norm") == 0;
    for (size_t i = first; is_norm && ok && i < end; i++)
        if (can_tell(&m->w->list[labels->list[i].weight]))
            ok = read_norm(m, labels->list[i].weight);
    return ok && judge_kind(m);
}

bool verify_norms(const struct verify_folder *f, const struct weight_list *w,
                  const struct verify_labels *labels, struct findings *found, struct error *err)
{
    const struct kernels *kernels = kernels_find(NULL, err);
    struct norms m = { .f = f, .w = w, .found = found, .err = err };
    m.list = mem_array(w->n, sizeof *m.list, "norms", err);
    m.single = mem_array(w->n, sizeof *m.single, "norms", err);
    bool ok = kernels && m.list && m.single;
    m.rows = ok ? kernels->rows : NULL;
    for (size_t i = 0, end; ok && i < labels->n; i = end) {
        end = verify_labels_end(labels, i);
        ok = take_kind(&m, labels, i, end);
    }
    ok = ok && judge_single(&m);
    free(m.list);
    free(m.single);
    return ok;
}
