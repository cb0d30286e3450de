#include "verify/verify_weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct listing {
    struct verify_weights *out;
    const struct verify_folder *f;
    struct findings *found;             /* NULL: not wanted */
    struct error *err;
};

/* Gives the first n bytes of name and then end. */
static char *name_with(const char *name, size_t n, const char *end, struct error *err)
{
    char *out = NULL;
    if (asprintf(&out, "%.*s%s", (int)n, name, end) >= 0)
        return out;
    error_set(err, "out of memory: a tensor's name");
    return NULL;
}

/* Takes the name. */
static bool add(struct listing *l, struct verify_weight w)
{
    struct verify_weights *out = l->out;
    if (w.name && mem_grow(&out->list, &out->capacity, out->n + 1, sizeof *out->list, "weights",
                           l->err)) {
        out->list[out->n++] = w;
        return true;
    }
    free(w.name);
    return false;
}

/* rows: the product of all dimensions but the last; no product overflows, the tensor's bytes were
 * counted (0 of them when a dimension is 0). */
static void fill_view(struct verify_weight *w, enum dtype dtype, const uint8_t *data, size_t n_bytes)
{
    size_t cols = w->ndim ? w->shape[w->ndim - 1] : 1, rows = n_bytes ? 1 : 0;
    for (size_t i = 0; n_bytes && i + 1 < w->ndim; i++)
        rows *= w->shape[i];
    w->view = (struct matrix){ .dtype = dtype, .data = data, .rows = rows, .cols = cols };
    w->n_bytes = n_bytes;
    w->is_float = dtype_is_weight(dtype) || dtype == DTYPE_MXFP4;
}

static bool add_plain(struct listing *l, const struct tensor *t)
{
    struct verify_weight w = { .name = mem_string(t->name, l->err), .tensor = t, .is_whole = true,
                               .ndim = t->ndim };
    memcpy(w.shape, t->shape, sizeof w.shape);
    fill_view(&w, t->dtype, t->data, t->n_bytes);
    return add(l, w);
}

/* ---- pairs ------------------------------------------------------------------------ */

static bool pair_fault(struct listing *l, enum finding_code code, const struct tensor *t,
                       const char *text)
{
    char shape[256];
    return !l->found
        || findings_add(l->found, code, t->file, t->name, l->err, "%s %s: %s", dtype_name(t->dtype),
                        tensor_shape_text(t, shape, sizeof shape), text);
}

/* Both U8 [rows, cols / 2] and [rows, cols / 32]: else findings, and the weight is not whole. */
static bool check_pair(bool *whole, struct listing *l, const struct tensor *codes,
                       const struct tensor *scale)
{
    const struct tensor *both[] = { codes, scale };
    bool ok = true;
    *whole = true;
    for (size_t i = 0; ok && i < 2; i++) {
        if (both[i]->dtype == DTYPE_U8 && both[i]->ndim == 2)
            continue;
        *whole = false;
        ok = pair_fault(l, both[i]->ndim == 2 ? FOUND_DTYPE : FOUND_SHAPE, both[i],
                        "expected a U8 matrix");
    }
    if (!ok || !*whole)
        return ok;
    size_t half = MXFP4_BLOCK / 2;
    *whole = codes->shape[0] == scale->shape[0] && codes->shape[1] % half == 0
          && codes->shape[1] / half == scale->shape[1];
    char text[128];
    snprintf(text, sizeof text, "expected [rows, 16 n] beside the scales' [rows, n], which are"
             " [%zu, %zu]", scale->shape[0], scale->shape[1]);
    return *whole || pair_fault(l, FOUND_SHAPE, codes, text);
}

static bool add_packed(struct listing *l, const struct tensor *codes)
{
    size_t n = strlen(codes->name) - strlen(STORED_PACKED);
    char *scale_name = name_with(codes->name, n, STORED_SCALE, l->err);
    const struct tensor *scale = scale_name ? checkpoint_find(&l->f->ck, scale_name) : NULL;
    bool ok = scale_name != NULL, whole = false;
    if (ok && scale)
        ok = check_pair(&whole, l, codes, scale);
    else if (ok && !verify_folder_is_lost(l->f, scale_name))
        ok = pair_fault(l, FOUND_PAIR, codes, "has no .weight_scale beside it");
    free(scale_name);
    if (!ok)
        return false;
    struct verify_weight w = { .name = name_with(codes->name, n, STORED_WEIGHT, l->err),
                               .tensor = codes, .scale = scale ? scale : codes,
                               .is_whole = whole, .ndim = 2 };
    if (whole) {
        w.shape[0] = codes->shape[0];
        w.shape[1] = 2 * codes->shape[1];
        fill_view(&w, DTYPE_MXFP4, codes->data, codes->n_bytes);
        w.view.scale = scale->data;
    }
    return add(l, w);
}

static bool check_lone_scale(struct listing *l, const struct tensor *scale)
{
    char *codes = name_with(scale->name, strlen(scale->name) - strlen(STORED_SCALE), STORED_PACKED,
                            l->err);
    bool ok = codes != NULL;
    if (ok && !checkpoint_find(&l->f->ck, codes) && !verify_folder_is_lost(l->f, codes))
        ok = pair_fault(l, FOUND_PAIR, scale, "has no .weight_packed beside it");
    free(codes);
    return ok;
}

/* ---- fused experts ------------------------------------------------------------------ */

/* One part of each expert's slab, rows [part * n, (part + 1) * n). */
static bool add_parts(struct listing *l, const struct tensor *t, const char *name, size_t part,
                      size_t parts)
{
    const char *end = strrchr(t->name, '.') + 1;
    size_t rows = t->shape[1] / parts, n_bytes = t->n_bytes / t->shape[0] / parts;
    bool ok = true;
    for (size_t e = 0; ok && e < t->shape[0]; e++) {
        char tail[64];
        snprintf(tail, sizeof tail, "%zu.%s" STORED_WEIGHT, e, name);
        struct verify_weight w = { .tensor = t, .is_fused = true, .is_whole = true, .ndim = 2,
                                   .shape = { rows, t->shape[2] } };
        w.name = name_with(t->name, (size_t)(end - t->name), tail, l->err);
        fill_view(&w, t->dtype, t->data + (e * parts + part) * n_bytes, n_bytes);
        ok = add(l, w);
    }
    return ok;
}

static bool add_tensor(struct listing *l, const struct tensor *t)
{
    if (name_ends_with(t->name, STORED_PACKED))
        return add_packed(l, t);
    if (name_ends_with(t->name, STORED_SCALE))
        return check_lone_scale(l, t);
    const char *const *parts;
    size_t n_parts = fused_projections(&parts, t);
    if (!n_parts || t->shape[1] % n_parts)
        return add_plain(l, t);
    bool ok = true;
    for (size_t i = 0; ok && i < n_parts; i++)
        ok = add_parts(l, t, parts[i], i, n_parts);
    return ok;
}

/* ---- the list ------------------------------------------------------------------------ */

/* By name; a packed one first, which is the one kept. */
static int compare_weights(const void *a, const void *b)
{
    const struct verify_weight *x = a, *y = b;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : (y->scale != NULL) - (x->scale != NULL);
}

static bool drop_repeated(struct listing *l)
{
    struct verify_weights *w = l->out;
    size_t n = 0;
    bool ok = true;
    for (size_t i = 0; i < w->n; i++) {
        struct verify_weight *x = &w->list[i];
        if (n == 0 || strcmp(w->list[n - 1].name, x->name) != 0) {
            w->list[n++] = *x;
            continue;
        }
        if (l->found && ok)
            ok = findings_add(l->found, FOUND_TWICE, x->tensor->file, x->tensor->name, l->err,
                              "the same weight stands in '%s' too", w->list[n - 1].tensor->name);
        free(x->name);
    }
    w->n = n;
    return ok;
}

bool verify_weights_list(struct verify_weights *out, const struct verify_folder *f,
                         struct findings *found, struct error *err)
{
    struct listing l = { .out = out, .f = f, .found = found, .err = err };
    *out = (struct verify_weights){ 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < f->ck.n_tensors; i++)
        ok = add_tensor(&l, f->ck.tensors[i]);
    if (ok && out->n)
        qsort(out->list, out->n, sizeof *out->list, compare_weights);
    ok = ok && drop_repeated(&l);
    if (!ok)
        verify_weights_free(out);
    return ok;
}

void verify_weights_free(struct verify_weights *w)
{
    for (size_t i = 0; i < w->n; i++)
        free(w->list[i].name);
    free(w->list);
    *w = (struct verify_weights){ 0 };
}

static int compare_name(const void *key, const void *element)
{
    return strcmp(key, ((const struct verify_weight *)element)->name);
}

struct verify_weight *verify_weights_find(const struct verify_weights *w, const char *name)
{
    return w->n ? bsearch(name, w->list, w->n, sizeof *w->list, compare_name) : NULL;
}
