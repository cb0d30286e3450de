#include "verify/verify_layout.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES 1024         /* a module's name takes less than 256 (weights.c) */

struct walk {
    struct verify_folder *f;
    struct verify_weights *w;
    struct findings *found;
    struct error *err;
};

static bool check_dtype(struct walk *k, const struct verify_weight *w)
{
    const struct tensor *t = w->tensor;
    return w->scale || dtype_is_weight(t->dtype)
        || findings_add(k->found, FOUND_DTYPE, t->file, t->name, k->err,
                        "is %s, expected BF16, F16 or F32", dtype_name(t->dtype));
}

static bool check_shape(struct walk *k, const struct verify_weight *w,
                        const struct weight_expected *expected)
{
    const struct tensor *t = w->tensor;
    bool same = w->ndim == expected->ndim;
    for (size_t i = 0; same && i < w->ndim; i++)
        same = w->shape[i] == expected->shape[i];
    if (same || !w->is_whole)           /* a fault that was named already */
        return true;
    struct tensor have = { .ndim = w->ndim }, want = { .ndim = expected->ndim };
    memcpy(have.shape, w->shape, sizeof have.shape);
    memcpy(want.shape, expected->shape, sizeof expected->shape);
    char found_text[256], expected_text[256];
    return findings_add(k->found, FOUND_SHAPE, t->file, t->name, k->err,
                        "makes a weight %s of shape %s, expected %s", w->name,
                        tensor_shape_text(&have, found_text, sizeof found_text),
                        tensor_shape_text(&want, expected_text, sizeof expected_text));
}

static bool is_lost(const struct walk *k, const char *module, const char *suffix)
{
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", module, suffix);
    return verify_folder_is_lost(k->f, name);
}

/* A fused tensor loses all its experts at once. */
static bool is_lost_fused(const struct walk *k, const char *module)
{
    const char *experts = strstr(module, ".experts."), *last = strrchr(module, '.');
    if (!experts)
        return false;
    char parent[NAME_BYTES / 2];
    snprintf(parent, sizeof parent, "%.*s", (int)(experts - module) + 9, module);
    return is_lost(k, parent, strcmp(last, ".down_proj") == 0 ? "down_proj" : "gate_up_proj");
}

static bool miss(struct walk *k, const struct weight_expected *expected)
{
    if (expected->may_be_absent || is_lost(k, expected->module, expected->suffix)
        || is_lost(k, expected->module, ".weight_packed") || is_lost_fused(k, expected->module))
        return true;
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", expected->module, expected->suffix);
    return findings_add(k->found, FOUND_MISSING, NULL, name, k->err,
                        "no file has it, plain%s, but the config asks for it",
                        expected->is_linear ? ", packed or fused" : "")
        && verify_folder_lose(k->f, name, k->err)
        && k->found->n < FINDINGS_KEPT;         /* a config may ask for more than can be listed */
}

static bool meet(void *user, const struct weight_expected *expected)
{
    struct walk *k = user;
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "%s%s", expected->module, expected->suffix);
    struct verify_weight *w = verify_weights_find(k->w, name);
    if (!w)
        return miss(k, expected);
    w->is_expected = true;
    w->is_linear = expected->is_linear;
    w->kind = expected->kind;
    if (w->scale && !w->is_linear
        && !findings_add(k->found, FOUND_DTYPE, w->tensor->file, w->tensor->name, k->err,
                         "is packed, but only linears can be"))
        return false;
    return check_dtype(k, w) && check_shape(k, w, expected);
}

/* Of the text model: "weight_shape" and its like only describe. */
static bool is_text_tensor(const struct walk *k, const char *name)
{
    char layers[64];
    snprintf(layers, sizeof layers, "%slayers.", k->f->prefix);
    return (strncmp(name, layers, strlen(layers)) == 0 || strncmp(name, "lm_head.", 8) == 0)
        && !name_ends_with(name, "_shape");
}

bool verify_layout(struct verify_folder *f, struct verify_weights *w, struct findings *found,
                   struct error *err)
{
    struct walk k = { .f = f, .w = w, .found = found, .err = err };
    struct error none = { .message = "" };
    if (!f->has_config)
        return true;
    k.err = &none;
    bool ok = weights_expect(&f->ck.config, f->prefix, meet, &k);
    if (!ok && none.message[0])
        return error_set(err, "%s", none.message);
    verify_folder_sort_lost(f);
    k.err = err;
    ok = true;
    for (size_t i = 0; ok && i < w->n; i++) {
        struct verify_weight *x = &w->list[i];
        x->is_unexpected = !x->is_expected && is_text_tensor(&k, x->name);
        if (x->is_unexpected)
            ok = findings_add(found, FOUND_UNEXPECTED, x->tensor->file, x->tensor->name, err,
                              "is not part of the model that the config describes");
    }
    return ok;
}
