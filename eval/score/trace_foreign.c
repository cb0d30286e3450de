#include "eval/score/trace_foreign.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"

bool trace_foreign_open(struct trace_foreign *t, const char *path, struct error *err)
{
    *t = (struct trace_foreign){ .path = path };
    if (!safetensors_open(&t->file, path, err))
        return false;
    t->ids = safetensors_find(&t->file, "ids");
    t->residual = safetensors_find(&t->file, "residual");
    t->routing = safetensors_find(&t->file, "routing");
    t->hidden = safetensors_find(&t->file, "hidden");
    t->logits = safetensors_find(&t->file, "logits");
    return true;
}

void trace_foreign_close(struct trace_foreign *t)
{
    if (t->path)
        safetensors_close(&t->file);
    *t = (struct trace_foreign){ 0 };
}

/* ---- elements ------------------------------------------------------------------ */

static float f16_value(uint16_t bits)
{
    int exponent = bits >> 10 & 31, fraction = bits & 1023;
    double size = exponent == 0    ? ldexp(fraction, -24)
                  : exponent == 31 ? (fraction ? NAN : INFINITY)
                                   : ldexp(1024 + fraction, exponent - 25);
    return (float)(bits & 0x8000 ? -size : size);
}

static float float_at(const struct tensor *s, size_t i)
{
    const uint8_t *at = s->data + i * dtype_bytes(s->dtype);
    uint16_t half;
    float single = 0;
    double twice;
    switch (s->dtype) {
    case DTYPE_F64:
        memcpy(&twice, at, sizeof twice);
        return (float)twice;
    case DTYPE_BF16:
        memcpy(&half, at, sizeof half);
        return bf16_value(half);
    case DTYPE_F16:
        memcpy(&half, at, sizeof half);
        return f16_value(half);
    default:
        memcpy(&single, at, sizeof single);
        return single;
    }
}

static int64_t integer_at(const struct tensor *s, size_t i)
{
    int32_t narrow;
    int64_t wide;
    if (s->dtype == DTYPE_I64) {
        memcpy(&wide, s->data + i * sizeof wide, sizeof wide);
        return wide;
    }
    memcpy(&narrow, s->data + i * sizeof narrow, sizeof narrow);
    return narrow;
}

/* What is touched is read here first: a file that is cut meanwhile is an error, not a crash. */
static bool bring(const struct trace_foreign *t, const struct tensor *s, size_t i, size_t n,
                  struct error *err)
{
    size_t bytes = dtype_bytes(s->dtype);
    return file_populate(&t->file.map, (size_t)(s->data - t->file.map.data) + i * bytes, n * bytes,
                         err);
}

bool trace_foreign_rows(const struct trace_foreign *t, float *out, const struct tensor *states,
                        size_t row, size_t n, struct error *err)
{
    size_t columns = states->shape[states->ndim - 1];
    if (!bring(t, states, row * columns, n * columns, err))
        return false;
    for (size_t i = 0; i < n * columns; i++)
        out[i] = float_at(states, row * columns + i);
    return true;
}

bool trace_foreign_experts(const struct trace_foreign *t, int32_t *out, size_t row,
                           struct error *err)
{
    size_t k = t->routing->shape[2];
    if (!bring(t, t->routing, row * k, k, err))
        return false;
    for (size_t i = 0; i < k; i++) {
        int64_t expert = integer_at(t->routing, row * k + i);
        out[i] = expert < 0 || expert > INT32_MAX ? -1 : (int32_t)expert;
    }
    return true;
}

/* ---- checks -------------------------------------------------------------------- */

static bool is_integer(const struct tensor *s)
{
    return s->dtype == DTYPE_I32 || s->dtype == DTYPE_I64;
}

static bool is_state(const struct tensor *s)
{
    return dtype_is_float(s->dtype) || s->dtype == DTYPE_F64;
}

bool trace_foreign_ids(const struct trace_foreign *t, int32_t **ids, size_t *n_ids,
                       struct error *err)
{
    const struct tensor *s = t->ids;
    if (!s)
        return error_set(err, "%s: holds no ids, so they must be given by --ids", t->path);
    if (!is_integer(s) || s->ndim != 1)
        return error_set(err, "%s: 'ids' has %zu dimensions of %s, expected one of I32 or I64",
                         t->path, s->ndim, dtype_name(s->dtype));
    *n_ids = s->shape[0];
    *ids = mem_array(*n_ids, sizeof **ids, "token ids", err);
    if (!*ids || !bring(t, s, 0, *n_ids, err))
        return false;
    for (size_t i = 0; i < *n_ids; i++) {
        int64_t id = integer_at(s, i);
        if (id < 0 || id > INT32_MAX)
            return error_set(err, "%s: id %zu is %lld", t->path, i, (long long)id);
        (*ids)[i] = (int32_t)id;
    }
    return true;
}

static bool same_ids(const struct trace_foreign *t, const int32_t *ids, size_t n_ids,
                     struct error *err)
{
    int32_t *theirs = NULL;
    size_t n = 0, i = 0;
    bool ok = trace_foreign_ids(t, &theirs, &n, err);
    while (ok && i < n && i < n_ids && theirs[i] == ids[i])
        i++;
    if (ok && (i < n || i < n_ids))
        ok = i < n && i < n_ids
           ? error_set(err, "%s: id %zu is %d, expected %d", t->path, i, (int)theirs[i],
                       (int)ids[i])
           : error_set(err, "%s: holds %zu ids, expected %zu", t->path, n, n_ids);
    free(theirs);
    return ok;
}

/* s NULL: not in the file. */
static bool has_shape(const struct trace_foreign *t, const struct tensor *s, bool integer,
                      size_t ndim, const size_t shape[3], struct error *err)
{
    char found[128], expected[128];
    if (!s)
        return true;
    if (integer ? !is_integer(s) : !is_state(s))
        return error_set(err, "%s: '%s' is %s, expected %s", t->path, s->name,
                         dtype_name(s->dtype), integer ? "I32 or I64" : "F32, F64, BF16 or F16");
    struct tensor wanted = { .ndim = ndim };
    memcpy(wanted.shape, shape, ndim * sizeof *shape);
    return (s->ndim == ndim && memcmp(s->shape, shape, ndim * sizeof *shape) == 0)
        || error_set(err, "%s: '%s' is %s, expected %s%s", t->path, s->name,
                     tensor_shape_text(s, found, sizeof found),
                     tensor_shape_text(&wanted, expected, sizeof expected),
                     s == t->residual && s->ndim == 3 && s->shape[0] == shape[0] + 1
                         ? " (without the embedding, which is no layer's output)" : "");
}

bool trace_foreign_check(const struct trace_foreign *t, const struct config *c, const int32_t *ids,
                         size_t n_ids, struct error *err)
{
    size_t L = c->num_hidden_layers, D = c->hidden_size;
    if (t->ids && !same_ids(t, ids, n_ids, err))
        return false;
    if (t->routing && !c->num_experts)
        return error_set(err, "%s: holds 'routing', but the model has no experts", t->path);
    if (!has_shape(t, t->residual, false, 3, (size_t[]){ L, n_ids, D }, err)
        || !has_shape(t, t->routing, true, 3, (size_t[]){ L, n_ids, c->num_experts_per_tok }, err)
        || !has_shape(t, t->hidden, false, 2, (size_t[]){ n_ids, D, 0 }, err)
        || !has_shape(t, t->logits, false, 2, (size_t[]){ n_ids, c->vocab_size, 0 }, err))
        return false;
    return t->residual || t->hidden || t->logits || t->routing
        || error_set(err, "%s: holds none of residual, routing, hidden and logits", t->path);
}

/* ---- rounding ------------------------------------------------------------------ */

static bool is_bf16(const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (bf16_value(bf16_of(x[i])) != x[i])
            return false;
    return true;
}

bool trace_foreign_rounding(const struct trace_foreign *t, enum dtype *rounding, struct error *err)
{
    const struct tensor *all[] = { t->residual, t->hidden, t->logits };
    *rounding = DTYPE_F32;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const struct tensor *s = all[i];
        if (!s || s->shape[s->ndim - 1] == 0)
            continue;
        size_t n = s->shape[s->ndim - 1];
        float *row = mem_array(n, sizeof *row, "a row of a trace", err);
        bool ok = row && trace_foreign_rows(t, row, s, 0, 1, err);
        if (ok && (s->dtype == DTYPE_BF16 || is_bf16(row, n)))
            *rounding = DTYPE_BF16;
        else if (ok && s->dtype == DTYPE_F16 && *rounding == DTYPE_F32)
            *rounding = DTYPE_F16;
        free(row);
        if (!ok)
            return false;
    }
    return true;
}
