#include "formats/modules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lister {
    struct modules *out;
    const struct checkpoint *ck;
    const struct weights *w;
    struct error *err;
};

/* ---- kinds --------------------------------------------------------------------- */

static int compare_bound(const void *a, const void *b)
{
    const struct bound_tensor *x = a, *y = b;
    return strcmp(x->tensor->name, y->tensor->name);
}

static bool is_text_linear(enum weight_kind kind)
{
    return kind == WEIGHT_LM_HEAD || kind == WEIGHT_ATTENTION || kind == WEIGHT_DELTA_NET
        || kind == WEIGHT_ROUTER || kind == WEIGHT_SHARED_EXPERT || kind == WEIGHT_SHARED_EXPERT_GATE
        || kind == WEIGHT_EXPERTS || kind == WEIGHT_DENSE_MLP;
}

/* Outside the text model a matrix named ".weight" is a linear's, unless it is an embedding's. */
static void set_kind(struct module *m, const struct weights *w)
{
    const struct bound_tensor key = { .tensor = m->tensor };
    const struct bound_tensor *bound = bsearch(&key, w->tensors, w->n_tensors, sizeof key,
                                               compare_bound);
    m->kind = bound ? bound->kind : weight_kind_outside(m->tensor->name);
    m->is_linear = bound ? is_text_linear(m->kind)
                 : m->ndim == 2 && name_ends_with(m->name, STORED_WEIGHT)
                   && !strstr(m->name, "embed");
    m->is_linear = m->is_linear && (dtype_is_weight(m->view.dtype) || m->view.scale);
}

/* ---- adding ---------------------------------------------------------------------- */

/* Takes m->name; NULL when memory was out. */
static bool add(struct lister *l, struct module m)
{
    struct modules *out = l->out;
    if (!m.name || !mem_grow(&out->list, &out->capacity, out->n + 1, sizeof m, "modules", l->err)) {
        free(m.name);
        return error_set(l->err, "out of memory: modules");
    }
    set_kind(&m, l->w);
    out->list[out->n++] = m;
    return true;
}

static bool add_plain(struct lister *l, const struct tensor *t)
{
    struct module m = { .name = mem_string(t->name, l->err), .tensor = t, .ndim = t->ndim,
                        .view = { .dtype = t->dtype, .data = t->data }, .n_bytes = t->n_bytes };
    memcpy(m.shape, t->shape, sizeof m.shape);
    if (t->ndim == 2) {
        m.view.rows = t->shape[0];
        m.view.cols = t->shape[1];
    }
    return add(l, m);
}

static bool add_packed(struct lister *l, const struct tensor *t, const struct tensor *scale)
{
    size_t rows = t->ndim == 2 ? t->shape[0] : 0, cols = t->ndim == 2 ? 2 * t->shape[1] : 0;
    bool fits = scale && t->dtype == DTYPE_U8 && scale->dtype == DTYPE_U8 && t->ndim == 2
             && scale->ndim == 2 && scale->shape[0] == rows && cols % MXFP4_BLOCK == 0
             && scale->shape[1] == cols / MXFP4_BLOCK;
    if (!fits)
        return error_set(l->err, "%s: '%s' is not U8 [out, in / 2] with a '%s' U8 [out, in / 32]"
                         " beside it", t->file, t->name, &STORED_SCALE[1]);
    struct module m = {
        .tensor = t, .ndim = 2, .shape = { rows, cols }, .n_bytes = t->n_bytes,
        .view = { DTYPE_MXFP4, t->data, scale->data, rows, cols },
    };
    m.name = strndup(t->name, strlen(t->name) - strlen("_packed"));
    return add(l, m);
}

static bool add_fused(struct lister *l, const struct tensor *t, const char *const *parts,
                      size_t n_parts)
{
    size_t n_parent = (size_t)(strrchr(t->name, '.') - t->name);
    size_t rows = t->shape[1] / n_parts, cols = t->shape[2];
    size_t n_bytes = rows * cols * dtype_bytes(t->dtype);       /* a share of what the file has */
    if (t->shape[1] % n_parts)
        return error_set(l->err, "%s: '%s' has %zu rows an expert, expected gate and up of one size",
                         t->file, t->name, t->shape[1]);
    for (size_t i = 0; i < t->shape[0] * n_parts; i++) {
        struct module m = {
            .tensor = t, .ndim = 2, .shape = { rows, cols }, .n_bytes = n_bytes, .is_part = true,
            .view = { t->dtype, t->data + i * n_bytes, NULL, rows, cols },
        };
        if (asprintf(&m.name, "%.*s.%zu.%s" STORED_WEIGHT, (int)n_parent, t->name, i / n_parts,
                     parts[i % n_parts]) < 0)
            m.name = NULL;
        if (!add(l, m))
            return false;
    }
    return true;
}

static const struct tensor *sibling(const struct lister *l, const struct tensor *t,
                                    const char *suffix, const char *other)
{
    char *name;
    if (asprintf(&name, "%.*s%s", (int)(strlen(t->name) - strlen(suffix)), t->name, other) < 0)
        return NULL;
    const struct tensor *found = checkpoint_find(l->ck, name);
    free(name);
    return found;
}

static bool add_tensor(struct lister *l, const struct tensor *t)
{
    const char *const *parts;
    if (name_ends_with(t->name, STORED_SCALE) && sibling(l, t, STORED_SCALE, STORED_PACKED))
        return true;
    if (name_ends_with(t->name, STORED_PACKED))
        return add_packed(l, t, sibling(l, t, STORED_PACKED, STORED_SCALE));
    size_t n_parts = dtype_is_weight(t->dtype) ? fused_projections(&parts, t) : 0;
    return n_parts ? add_fused(l, t, parts, n_parts) : add_plain(l, t);
}

bool modules_list(struct modules *out, const struct checkpoint *ck, const struct weights *w,
                  struct error *err)
{
    *out = (struct modules){ 0 };
    struct lister l = { out, ck, w, err };
    for (size_t i = 0; i < ck->n_tensors; i++)
        if (!add_tensor(&l, ck->tensors[i])) {
            modules_free(out);
            return false;
        }
    return true;
}

void modules_free(struct modules *m)
{
    for (size_t i = 0; i < m->n; i++)
        free(m->list[i].name);
    free(m->list);
    *m = (struct modules){ 0 };
}
