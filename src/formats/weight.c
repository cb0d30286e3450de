#include "formats/weight.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/format.h"
#include "base/memory.h"
#include "kernels/ggml_blocks.h"
#include "kernels/stored.h"

#define PLAIN WEIGHT_PLAIN
#define NAME_BYTES 1024             /* of messages; names in files may be longer */

const char *weight_part_suffix(enum dtype format, size_t part)
{
    for (size_t i = 0; i < weight_formats_count; i++)
        if (weight_formats[i].dtype == format)
            return weight_formats[i].parts[part].suffix;
    return "";
}

/* ---- names ------------------------------------------------------------------------ */

size_t weight_module_length(const char *weight_name)
{
    return strlen(weight_name) - (weight_name_ends_with(weight_name, PLAIN) ? strlen(PLAIN) : 0);
}

/* A projection of experts, and the rows of its fused tensor. */
static const struct projection {
    const char *name, *fused;
    size_t part, parts;
} projections[] = {
    { "gate_proj", "gate_up_proj", 0, 2 },
    { "up_proj", "gate_up_proj", 1, 2 },
    { "down_proj", "down_proj", 0, 1 },
};
#define N_PROJECTIONS (sizeof projections / sizeof *projections)

bool weight_fused_place(struct fused_place *place, const char *weight_name, struct error *err)
{
    static const char experts[] = ".mlp.experts.";
    *place = (struct fused_place){ 0 };
    const char *at = strstr(weight_name, experts);
    if (!at)
        return true;
    const char *number = at + strlen(experts), *end = number + strspn(number, "0123456789");
    if (end == number || end - number > 9 || (*number == '0' && end != number + 1) || *end != '.')
        return true;
    for (const struct projection *p = projections; p < projections + N_PROJECTIONS; p++) {
        size_t n = strlen(p->name);
        if (strncmp(end + 1, p->name, n) != 0 || strcmp(end + 1 + n, PLAIN) != 0)
            continue;
        *place = (struct fused_place){ .expert = strtoul(number, NULL, 10), .part = p->part,
                                       .parts = p->parts };
        if (asprintf(&place->tensor, "%.*s%s", (int)(number - weight_name), weight_name,
                     p->fused) < 0) {
            place->tensor = NULL;
            return error_set(err, "out of memory: a tensor's name");
        }
    }
    return true;
}

bool weight_is_in_any(const char *weight_name, bool (*is)(void *user, const char *tensor),
                      void *user)
{
    struct fused_place place;
    int n_module = (int)weight_module_length(weight_name);
    bool found = is(user, weight_name);
    for (size_t i = 0; !found && i < weight_formats_count && weight_name[n_module]; i++) {
        char *name;
        if (asprintf(&name, "%.*s%s", n_module, weight_name, weight_formats[i].parts[0].suffix) < 0)
            break;
        found = is(user, name);
        free(name);
    }
    if (!found && weight_fused_place(&place, weight_name, NULL) && place.tensor) {
        found = is(user, place.tensor);
        free(place.tensor);
    }
    return found;
}

/* ---- faults ----------------------------------------------------------------------- */

/* Of one weight. */
struct finder {
    struct stored_weight *out;
    const struct checkpoint *ck;
    const struct model_weight *expected;            /* NULL: not known */
    const char *name;                               /* of the weight */
    size_t n_module;
    struct weight_tensors there;                    /* its tensors */
    const struct weight_faults *faults;
    struct error *err;
};

bool weight_fault_refuse(const struct checkpoint *ck, const struct tensor *t, const char *name,
                         const char *text, struct error *err)
{
    return t ? error_set(err, "%s: '%s' %s", t->file, t->name, text)
             : error_set(err, "%s: missing tensor '%s'%s", ck->path, name, text);
}

bool weight_fault_add(const struct weight_faults *faults, const struct checkpoint *ck,
                      enum weight_fault fault, const struct tensor *t, const char *name,
                      struct error *err, const char *format, ...)
{
    char text[2 * NAME_BYTES];
    va_list args;
    va_start(args, format);
    format_text_v(text, sizeof text, format, args);
    va_end(args);
    if (faults)
        return faults->add(faults->user, fault, t, name, text, err);
    return weight_fault_refuse(ck, t, name, text, err);
}

/* Any fault of a part means that the view cannot be read. */
#define part_fault(f, fault, t, ...) \
    ((f)->out->is_whole = false, \
     weight_fault_add((f)->faults, (f)->ck, fault, t, (f)->name, (f)->err, __VA_ARGS__))

/* [C, 1, K] is a convolution of each channel.  MLX stores [C, K, 1]; its converter transposes where
 * it adds 1 to the norms (mlx_lm, models/qwen3_5.py: sanitize). */
const char *weight_shape_hint(size_t ndim, const size_t *shape, size_t expected_ndim,
                              const size_t *expected)
{
    if (expected_ndim != 3 || expected[1] != 1 || ndim < 2 || shape[0] != expected[0])
        return "";
    if (ndim == 3 && shape[1] == expected[2] && shape[2] == 1)
        return ": the layout of MLX, whose converters also add 1 to the norms";
    return ndim == 2 && shape[1] == expected[2] ? ": without the dimension of 1" : "";
}

static bool expect_shape(struct finder *f, const struct tensor *t, const size_t *shape, size_t ndim)
{
    struct tensor expected = { .ndim = ndim };
    char found_text[256], expected_text[256];
    memcpy(expected.shape, shape, ndim * sizeof *shape);
    if (t->ndim == ndim && memcmp(t->shape, shape, ndim * sizeof *shape) == 0)
        return true;
    return part_fault(f, WEIGHT_SHAPE, t, "has shape %s, expected %s%s",
                      tensor_shape_text(t, found_text, sizeof found_text),
                      tensor_shape_text(&expected, expected_text, sizeof expected_text),
                      weight_shape_hint(t->ndim, t->shape, ndim, shape));
}

/* "BF16, F16 or F32", the others after them. */
static const char *dtypes_text(char text[NAME_BYTES], uint64_t dtypes)
{
    size_t left = 0, used = 0;
    for (uint64_t i = dtypes; i; i &= i - 1)
        left++;
    for (size_t i = 0, n = left; i < DTYPE_COUNT; i++) {
        enum dtype dtype = (enum dtype)(i <= DTYPE_BF16 ? DTYPE_BF16 - i : i);
        if (!(dtypes & WEIGHT_DTYPE(dtype)))
            continue;
        used += (size_t)snprintf(text + used, NAME_BYTES - used, "%s%s",
                                 left == n ? "" : left > 1 ? ", " : " or ", dtype_name(dtype));
        left--;
    }
    return text;
}

/* What values or codes of this suffix may be; types of GGUF are known when its header is read. */
static uint64_t dtypes_of(const char *suffix, bool only_plain)
{
    uint64_t dtypes = 0;
    for (size_t i = 0; i < weight_formats_count; i++)
        if (strcmp(weight_formats[i].parts[0].suffix, suffix) == 0
            && !(only_plain && dtype_is_packed(weight_formats[i].dtype))
            && !ggml_block_type(weight_formats[i].dtype))
            dtypes |= weight_formats[i].parts[0].dtypes;
    return dtypes;
}

/* ---- plain, packed, fused --------------------------------------------------------- */

/* rows: the product of all dimensions but the last, which does not overflow, since the tensor's
 * bytes were counted (0 of them when a dimension is 0). */
static void fill_view(struct stored_weight *w, enum dtype dtype, const uint8_t *data,
                      size_t n_bytes)
{
    size_t cols = w->ndim ? w->shape[w->ndim - 1] : 1, rows = n_bytes ? 1 : 0;
    for (size_t i = 0; n_bytes && i + 1 < w->ndim; i++)
        rows *= w->shape[i];
    w->view = (struct matrix){ .dtype = dtype, .data = data, .rows = rows, .cols = cols };
    w->n_bytes = n_bytes;
    w->view.row_order = w->parts[0]->row_order;
    w->view.col_order = w->parts[0]->col_order;
    w->view.one_added = w->parts[0]->one_added;
    w->view.is_rate = w->parts[0]->is_rate;
    w->is_float = dtype_is_float(dtype) || dtype_is_packed(dtype);
}

static bool check_float(struct finder *f, const struct tensor *t, const char *suffix)
{
    char text[NAME_BYTES];
    return dtype_is_float(t->dtype)
        || part_fault(f, WEIGHT_DTYPE, t, "has dtype %s, expected %s", dtype_name(t->dtype),
                      dtypes_text(text, dtypes_of(suffix, !f->expected->is_linear)));
}

/* Outside the model any dtype is fine. */
static bool take_plain(struct finder *f, const struct tensor *t)
{
    struct stored_weight *w = f->out;
    *w = (struct stored_weight){ .parts = { t }, .n_parts = 1, .is_whole = true, .ndim = t->ndim };
    memcpy(w->shape, t->shape, sizeof w->shape);
    fill_view(w, t->dtype, t->data, t->n_bytes);
    return !f->expected
        || (check_float(f, t, PLAIN)
            && expect_shape(f, t, f->expected->shape, f->expected->ndim));
}

/* [rows, cols] by the model, else by the codes. */
static bool take_shape(struct finder *f, const struct weight_view *v)
{
    struct stored_weight *w = f->out;
    char text[256];
    w->ndim = 2;
    if (f->expected) {
        w->shape[0] = f->expected->rows;
        w->shape[1] = f->expected->cols;
    } else if (!weight_format_shape(w->shape, v->format, v->parts))
        return part_fault(f, WEIGHT_SHAPE, w->parts[0], "has shape %s, expected a matrix",
                          tensor_shape_text(w->parts[0], text, sizeof text));
    return true;
}

/* A part of a format, against the shape of the weight. */
static bool take_part(struct finder *f, struct weight_view *v, size_t i)
{
    struct stored_weight *w = f->out;
    const struct weight_part *p = &v->format->parts[i];
    const struct tensor *t = v->parts[i];
    char text[NAME_BYTES];
    if (t && i > 0)
        w->parts[w->n_parts++] = t;
    if (!t && p->may_be_absent)
        return true;
    if (!t) {
        w->is_whole = false;
        snprintf(text, sizeof text, "%.*s%s", (int)f->n_module, f->name, p->suffix);
        return weight_fault_add(f->faults, f->ck, WEIGHT_INCOMPLETE, w->parts[0], text, f->err,
                                "has no '%s' beside it", text);
    }
    if (!(p->dtypes & WEIGHT_DTYPE(t->dtype)))
        return part_fault(f, WEIGHT_DTYPE, t, "has dtype %s, expected %s", dtype_name(t->dtype),
                          dtypes_text(text, p->dtypes));
    return !w->is_whole || weight_format_take(v, i, text, sizeof text)
        || part_fault(f, WEIGHT_SHAPE, t, "%s", text);
}

static bool take_packed(struct finder *f, const struct weight_format *format,
                        const struct tensor *codes)
{
    struct stored_weight *w = f->out;
    struct weight_view v = { .ck = f->ck, .format = format, .matrix = &w->view };
    *w = (struct stored_weight){ .parts = { codes }, .n_parts = 1, .is_packed = true,
                                 .is_whole = true };
    for (size_t i = 0; i < weight_format_parts(format); i++)
        v.parts[i] = weight_format_tensor(&f->there, f->n_module, format->parts[i].suffix);
    if (!take_shape(f, &v))
        return false;
    if (!w->is_whole)
        return true;
    fill_view(w, format->dtype, codes->data, codes->n_bytes);
    v.rows = w->shape[0];
    v.cols = w->shape[1];
    bool ok = true;
    for (size_t i = 0; ok && i < weight_format_parts(format); i++)
        ok = take_part(f, &v, i);
    return ok;
}

/* From its codes.  An embedding with nothing beside it is taken for a plain one. */
static bool take_codes(struct finder *f, const struct tensor *t)
{
    bool knows = f->expected;
    bool may_be_packed = !knows || f->expected->is_linear
                      || (weight_may_be_packed(f->expected)
                          && (f->there.n > 1 || ggml_block_type(t->dtype)));
    const size_t model[] = { knows ? f->expected->rows : 0, knows ? f->expected->cols : 0 };
    const struct weight_format *format =
        may_be_packed
            ? weight_format_choose(f->ck, &f->there, f->n_module, t, knows ? model : NULL) : NULL;
    return format && dtype_is_packed(format->dtype) ? take_packed(f, format, t) : take_plain(f, t);
}

/* One projection of an expert: rows of a tensor [E, parts * rows, cols]. */
static void take_slab(struct stored_weight *w, const struct tensor *t, size_t expert, size_t part,
                      size_t parts)
{
    size_t n_bytes = t->n_bytes / t->shape[0] / parts;
    *w = (struct stored_weight){ .parts = { t }, .n_parts = 1, .is_fused = true, .is_whole = true,
                                 .ndim = 2, .shape = { t->shape[1] / parts, t->shape[2] } };
    fill_view(w, t->dtype, t->data + (expert * parts + part) * n_bytes, n_bytes);
}

static bool take_fused(struct finder *f, const struct fused_place *place, const struct tensor *t)
{
    const struct model_weight *x = f->expected;
    const size_t shape[] = { x->num_experts, place->parts * x->rows, x->cols };
    *f->out = (struct stored_weight){ .parts = { t }, .n_parts = 1, .is_whole = true };
    if (!check_float(f, t, PLAIN) || !expect_shape(f, t, shape, 3))
        return false;
    if (f->out->is_whole)
        take_slab(f->out, t, place->expert, place->part, place->parts);
    return true;
}

/* ---- a weight of the model -------------------------------------------------------- */

/* Tensors any of which would be the weight. */
struct candidates {
    const struct tensor *codes[WEIGHT_SUFFIXES], *fused;
    size_t n;
};

/* The suffix of a format's codes, if no row before it has the same. */
static const char *new_suffix(size_t format)
{
    const char *suffix = weight_formats[format].parts[0].suffix;
    for (size_t i = 0; i < format; i++)
        if (strcmp(weight_formats[i].parts[0].suffix, suffix) == 0)
            return NULL;
    return suffix;
}

static void find_codes(struct candidates *c, const struct finder *f)
{
    for (size_t i = 0; i < weight_formats_count; i++) {
        const char *suffix = new_suffix(i);
        if (!suffix || (!weight_may_be_packed(f->expected) && strcmp(suffix, PLAIN) != 0))
            continue;
        c->codes[c->n] = weight_format_tensor(&f->there, f->n_module, suffix);
        c->n += c->codes[c->n] != NULL;
    }
}

/* The row of a suffix that is no codes', and not only a description. */
static const struct weight_format *format_of_companion(const char *suffix)
{
    for (size_t i = 0; i < weight_formats_count; i++)
        for (size_t p = 1; p < weight_format_parts(&weight_formats[i]); p++)
            if (weight_formats[i].parts[p].role != ROLE_SHAPE
                && strcmp(weight_formats[i].parts[p].suffix, suffix) == 0)
                return &weight_formats[i];
    return NULL;
}

/* A scale beside a plain weight would mean that its values are not the weights. */
static bool refuse_companions(struct finder *f, const struct tensor *codes)
{
    for (size_t i = 0; i < f->there.n; i++) {
        const struct tensor *t = f->there.list[i];
        const struct weight_format *format = format_of_companion(t->name + f->n_module);
        bool is_part = false;
        for (size_t j = 0; j < f->out->n_parts; j++)
            is_part |= f->out->parts[j] == t;
        if (format && !is_part
            && !weight_fault_add(f->faults, f->ck, WEIGHT_ALONE, t, t->name, f->err,
                                 "is beside '%s', expected only beside a '%s'", codes->name,
                                 format->parts[0].suffix))
            return false;
    }
    return true;
}

static bool miss(struct finder *f, const struct fused_place *place)
{
    char text[NAME_BYTES] = "";
    size_t used = 0;
    bool first = true;
    *f->out = (struct stored_weight){ .n_parts = 0 };
    if (f->expected->may_be_absent)
        return true;
    for (size_t i = 0; weight_may_be_packed(f->expected) && i < weight_formats_count; i++) {
        const char *suffix = new_suffix(i);
        if (!suffix || strcmp(suffix, PLAIN) == 0)
            continue;
        used += (size_t)snprintf(text + used, sizeof text - used, "%s'%s'",
                                 first ? " (or " : ", or ", suffix);
        first = false;
    }
    if (place->tensor && used < sizeof text)
        used += (size_t)snprintf(text + used, sizeof text - used, ", or '%s'", place->tensor);
    return weight_fault_add(f->faults, f->ck, WEIGHT_MISSING, NULL, f->name, f->err, "%s%s%s", text,
                            first ? "" : ")", f->expected->hint);
}

static bool choose(struct finder *f, const struct candidates *c, const struct fused_place *place)
{
    size_t n = c->n + (c->fused != NULL);
    const struct tensor *first = c->n ? c->codes[0] : c->fused;
    if (n == 0)
        return miss(f, place);
    if (n > 1
        && !part_fault(f, WEIGHT_TWICE, first, "and '%s' are both there, expected one of them",
                       c->fused ? c->fused->name : c->codes[1]->name))
        return false;
    if (c->n == 0)
        return take_fused(f, place, c->fused);
    return take_codes(f, first)
        && (!weight_may_be_packed(f->expected) || refuse_companions(f, first));
}

bool weight_find(struct stored_weight *out, const struct checkpoint *ck,
                 const struct model_weight *expected, const struct weight_faults *faults,
                 struct error *err)
{
    struct finder f = { .out = out,
                        .ck = ck,
                        .expected = expected,
                        .name = expected->name,
                        .n_module = weight_module_length(expected->name),
                        .faults = faults,
                        .err = err };
    struct candidates c = { .n = 0 };
    struct fused_place place = { .tensor = NULL };
    if (expected->num_experts && !weight_fused_place(&place, expected->name, err))
        return false;
    if (weight_name_ends_with(f.name, PLAIN)) {
        weight_format_tensors(&f.there, ck, f.name, f.n_module);
        find_codes(&c, &f);
    } else if ((c.codes[0] = checkpoint_find(ck, f.name)))
        c.n = 1;
    if (place.tensor)
        c.fused = checkpoint_find(ck, place.tensor);
    bool ok = choose(&f, &c, &place);
    free(place.tensor);
    return ok;
}

/* ---- the weights of a file -------------------------------------------------------- */

/* Fused projections, in order of rows; 0 when t is not fused, or is empty. */
static size_t fused_projections(const struct projection *out[N_PROJECTIONS], const struct tensor *t)
{
    const char *last = strrchr(t->name, '.');
    size_t n = 0, n_name = last ? (size_t)(last - t->name) : 0;
    static const char experts[] = ".experts";
    if (t->ndim != 3 || !t->n_bytes || !dtype_is_float(t->dtype) || n_name < strlen(experts)
        || memcmp(t->name + n_name - strlen(experts), experts, strlen(experts)) != 0)
        return 0;
    for (const struct projection *p = projections; p < projections + N_PROJECTIONS; p++)
        if (strcmp(last + 1, p->fused) == 0)
            out[n++] = p;
    return n;
}

/* Gives name[0, n) and then end. */
static char *joined(const char *name, size_t n, const char *end, struct error *err)
{
    char *out = NULL;
    if (asprintf(&out, "%.*s%s", (int)n, name, end) >= 0)
        return out;
    error_set(err, "out of memory: a tensor's name");
    return NULL;
}

struct taker {
    bool (*take)(void *user, const char *name, const struct stored_weight *w, struct error *err);
    void *user;
};

static bool take_experts(struct finder *f, const struct tensor *t,
                         const struct projection *const *of, size_t n, const struct taker *taker)
{
    size_t n_parent = (size_t)(strrchr(t->name, '.') - t->name);
    bool ok = true;
    for (size_t i = 0; ok && i < t->shape[0] * n; i++) {
        char end[64];
        snprintf(end, sizeof end, ".%zu.%s" PLAIN, i / n, of[i % n]->name);
        char *name = joined(t->name, n_parent, end, f->err);
        take_slab(f->out, t, i / n, i % n, n);
        ok = name && taker->take(taker->user, name, f->out, f->err);
        free(name);
    }
    return ok;
}

/* The suffix of the table that a name ends with, and whether it is one of codes. */
static const char *suffix_of(bool *is_codes, const char *name)
{
    for (size_t i = 0; i < weight_formats_count; i++)
        for (size_t p = 0; p < weight_format_parts(&weight_formats[i]); p++)
            if (dtype_is_packed(weight_formats[i].dtype)
                && weight_name_ends_with(name, weight_formats[i].parts[p].suffix)) {
                *is_codes = p == 0;
                return weight_formats[i].parts[p].suffix;
            }
    return NULL;
}

/* A scale, say: it belongs to codes that are taken by themselves; without them it is an odd
 * tensor. */
static bool take_companion(struct finder *f, const char *suffix, const struct tensor *t,
                           const struct taker *taker)
{
    const char *codes = NULL;
    char missing[NAME_BYTES];
    for (size_t i = 0; i < weight_formats_count; i++)
        for (size_t p = 1; p < weight_format_parts(&weight_formats[i]); p++) {
            const struct weight_part *of = &weight_formats[i].parts[0];
            if (strcmp(weight_formats[i].parts[p].suffix, suffix) != 0)
                continue;
            const struct tensor *found = weight_format_tensor(&f->there, f->n_module, of->suffix);
            if (found
                && (strcmp(of->suffix, PLAIN) != 0 || of->dtypes & WEIGHT_DTYPE(found->dtype)))
                return true;
            codes = codes ? codes : of->suffix;
        }
    snprintf(missing, sizeof missing, "%.*s%s", (int)f->n_module, f->name, codes);
    return weight_fault_add(f->faults, f->ck, WEIGHT_ALONE, t, missing, f->err,
                            "has no '%s' beside it", missing)
        && take_plain(f, t) && (f->out->is_alone = true)
        && taker->take(taker->user, t->name, f->out, f->err);
}

static bool take_named(struct finder *f, const struct tensor *t, const struct taker *taker)
{
    char *name = joined(t->name, f->n_module, PLAIN, f->err);
    bool ok = name && take_codes(f, t) && taker->take(taker->user, name, f->out, f->err);
    free(name);
    return ok;
}

bool weights_of_tensor(const struct checkpoint *ck, const struct tensor *t,
                       bool (*take)(void *user, const char *name, const struct stored_weight *w,
                                    struct error *err),
                       void *user, const struct weight_faults *faults, struct error *err)
{
    struct stored_weight w;
    struct finder f = { .out = &w, .ck = ck, .name = t->name, .faults = faults, .err = err };
    const struct taker taker = { take, user };
    const struct projection *of[N_PROJECTIONS];
    size_t n = fused_projections(of, t);
    bool is_codes;
    const char *suffix = suffix_of(&is_codes, t->name);
    if (n && t->shape[1] % n == 0)
        return take_experts(&f, t, of, n, &taker);
    if (n && !weight_fault_add(faults, ck, WEIGHT_SHAPE, t, t->name, err, "has %zu rows an expert,"
                               " expected gate and up of one size", t->shape[1]))
        return false;
    if (suffix) {
        f.n_module = strlen(t->name) - strlen(suffix);
        weight_format_tensors(&f.there, ck, t->name, f.n_module);
        return is_codes ? take_named(&f, t, &taker) : take_companion(&f, suffix, t, &taker);
    }
    return take_plain(&f, t) && take(user, t->name, &w, err);
}
