#include "formats/weight_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* ---- reading --------------------------------------------------------------------- */

/* Scales of activations and of the cache: no weight is made of them. */
static bool is_for_activations(const char *name)
{
    static const char *const ends[] = { ".input_scale", ".input_global_scale", ".k_scale",
                                        ".v_scale", ".q_scale" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (weight_name_ends_with(name, ends[i]))
            return true;
    return false;
}

/* Outside the text model a matrix is a linear's, unless it is an embedding's. */
static bool take(void *user, const char *name, const struct stored_weight *w, struct error *err)
{
    struct weight_list *l = user;
    if (is_for_activations(name))
        return true;
    if (!mem_grow(&l->list, &l->capacity, l->n + 1, sizeof *l->list, "the list of weights", err))
        return false;
    struct listed_weight *x = &l->list[l->n];
    *x = (struct listed_weight){ .name = mem_string(name, err), .stored = *w,
                                 .kind = weight_kind_outside(name) };
    x->is_linear = w->is_packed || (w->ndim == 2 && w->is_float && !strstr(name, "embed")
                                    && weight_module_length(name) < strlen(name));
    l->n += x->name != NULL;
    return x->name;
}

/* By name; a packed one first, which is the one kept. */
static int compare(const void *a, const void *b)
{
    const struct listed_weight *x = a, *y = b;
    int by_name = strcmp(x->name, y->name);
    return by_name ? by_name : y->stored.is_packed - x->stored.is_packed;
}

static bool drop_repeated(struct weight_list *l, const struct checkpoint *ck,
                          const struct weight_faults *faults, struct error *err)
{
    size_t n = 0;
    bool ok = true;
    for (size_t i = 0; i < l->n; i++) {
        struct listed_weight *x = &l->list[i];
        if (n == 0 || strcmp(l->list[n - 1].name, x->name) != 0) {
            l->list[n++] = *x;
            continue;
        }
        ok = ok && weight_fault_add(faults, ck, WEIGHT_TWICE, x->stored.parts[0],
                                    x->stored.parts[0]->name, err, "holds the same weight as '%s'",
                                    l->list[n - 1].stored.parts[0]->name);
        free(x->name);
    }
    l->n = n;
    return ok;
}

bool weight_list_read(struct weight_list *l, const struct checkpoint *ck,
                      const struct weight_faults *faults, struct error *err)
{
    *l = (struct weight_list){ 0 };
    bool ok = true;
    for (size_t i = 0; ok && i < ck->n_tensors; i++)
        ok = weights_of_tensor(ck, ck->tensors[i], take, l, faults, err);
    if (ok && l->n)
        qsort(l->list, l->n, sizeof *l->list, compare);
    ok = ok && drop_repeated(l, ck, faults, err);
    if (!ok)
        weight_list_free(l);
    return ok;
}

void weight_list_free(struct weight_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->list[i].name);
    free(l->list);
    *l = (struct weight_list){ 0 };
}

static int compare_name(const void *key, const void *element)
{
    return strcmp(key, ((const struct listed_weight *)element)->name);
}

struct listed_weight *weight_list_find(const struct weight_list *l, const char *name)
{
    return l->n ? bsearch(name, l->list, l->n, sizeof *l->list, compare_name) : NULL;
}

/* ---- what the config asks for ------------------------------------------------------- */

struct matching {
    const struct weight_list *list;
    const struct checkpoint *ck;
    const struct weight_faults *faults;
    struct error *err;
};

static bool add_fault(const struct matching *m, enum weight_fault fault,
                      const struct listed_weight *w, const char *text)
{
    const struct tensor *t = w->stored.parts[0];
    return weight_fault_add(m->faults, m->ck, fault, t, w->name, m->err, "%s", text);
}

static bool check_dtype(const struct matching *m, const struct listed_weight *w,
                        const struct model_weight *expected)
{
    const struct stored_weight *s = &w->stored;
    if (s->is_packed && !weight_may_be_packed(expected))
        return add_fault(m, WEIGHT_DTYPE, w, "is packed, but only linears can be");
    return s->is_float
        || weight_fault_add(m->faults, m->ck, WEIGHT_DTYPE, s->parts[0], w->name, m->err,
                            "is %s, expected BF16, F16 or F32", dtype_name(s->parts[0]->dtype));
}

static bool check_shape(const struct matching *m, const struct listed_weight *w,
                        const struct model_weight *expected)
{
    const struct stored_weight *s = &w->stored;
    struct tensor have = { .ndim = s->ndim }, want = { .ndim = expected->ndim };
    memcpy(have.shape, s->shape, sizeof have.shape);
    memcpy(want.shape, expected->shape, sizeof expected->shape);
    bool same = s->ndim == expected->ndim
             && memcmp(have.shape, want.shape, s->ndim * sizeof *have.shape) == 0;
    char found_text[256], expected_text[256];
    if (same || !s->is_whole)           /* a fault that was named already */
        return true;
    return weight_fault_add(m->faults, m->ck, WEIGHT_SHAPE, s->parts[0], w->name, m->err,
                            "makes a weight %s of shape %s, expected %s%s", w->name,
                            tensor_shape_text(&have, found_text, sizeof found_text),
                            tensor_shape_text(&want, expected_text, sizeof expected_text),
                            weight_shape_hint(have.ndim, have.shape, want.ndim, want.shape));
}

static bool match(void *user, const struct model_weight *expected)
{
    const struct matching *m = user;
    struct listed_weight *w = weight_list_find(m->list, expected->name);
    if (!w)
        return expected->may_be_absent
            || weight_fault_add(m->faults, m->ck, WEIGHT_MISSING, NULL, expected->name, m->err,
                                "no file has it, plain%s, but the config asks for it%s",
                                expected->is_linear ? ", packed or fused" : "", expected->hint);
    w->is_expected = true;
    w->is_linear = expected->is_linear;
    w->kind = expected->kind;
    return check_dtype(m, w, expected) && check_shape(m, w, expected);
}

/* Of the text model: "weight_shape" and its like only describe. */
static bool is_text_name(const char *name, const char *prefix)
{
    static const char layers[] = "layers.";
    size_t n = strlen(prefix);
    return ((strncmp(name, prefix, n) == 0 && strncmp(name + n, layers, strlen(layers)) == 0)
            || strncmp(name, "lm_head.", 8) == 0)
        && !weight_name_ends_with(name, "_shape");
}

bool weight_list_match(struct weight_list *l, const struct checkpoint *ck, const char *prefix,
                       const struct weight_faults *faults, struct error *err)
{
    struct matching m = { l, ck, faults, err };
    bool ok = weights_each_of_model(&ck->config, prefix, match, &m);
    for (size_t i = 0; i < l->n; i++) {
        struct listed_weight *w = &l->list[i];
        w->is_unexpected = !w->is_expected && is_text_name(w->name, prefix);
    }
    return ok;
}

/* ---- of a model that is bound ---------------------------------------------------------- */

static bool refuse(void *user, enum weight_fault fault, const struct tensor *t, const char *name,
                   const char *text, struct error *err)
{
    (void)user, (void)name;
    return fault == WEIGHT_ALONE || error_set(err, "%s: '%s' %s", t->file, t->name, text);
}

bool weight_list_of_model(struct weight_list *l, const struct checkpoint *ck,
                          const struct weights *w, struct error *err)
{
    const struct weight_faults faults = { .add = refuse };
    if (!weight_list_read(l, ck, &faults, err))
        return false;
    bool ok = weight_list_match(l, ck, w->prefix, NULL, err);
    if (!ok)
        weight_list_free(l);
    return ok;
}
