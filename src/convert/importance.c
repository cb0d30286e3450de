#include "convert/importance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HESSIAN ".hessian"
#define MEAN_SQUARE ".input_mean_square"

bool importance_open(struct importance *im, const struct surprisal_quantize_options *options,
                     struct error *err)
{
    const char *path = options->gamma ? options->gamma : options->activations;
    *im = (struct importance){ .is_activations = options->activations != NULL };
    im->is_open = path && safetensors_open(&im->file, path, err);
    return !path || im->is_open;
}

void importance_close(struct importance *im)
{
    if (im->is_open)
        safetensors_close(&im->file);
    free(im->channels);
    *im = (struct importance){ 0 };
}

/* *found: NULL when there is none. */
static bool find(const struct tensor **found, const struct importance *im,
                 const struct listed_weight *m, const char *suffix, size_t ndim, struct error *err)
{
    size_t block = mxfp4_block_size();
    const size_t blocks[] = { m->stored.view.cols / block, block, block };
    const size_t *shape = ndim == 3 ? blocks : &m->stored.view.cols;
    char *name, text[128];
    *found = NULL;
    if (asprintf(&name, "%.*s%s", (int)weight_module_length(m->name), m->name, suffix) < 0)
        return error_set(err, "out of memory: a module's name");
    const struct tensor *t = safetensors_find(&im->file, name);
    free(name);
    *found = t;
    if (!t)
        return true;
    bool fits = t->dtype == DTYPE_F32 && t->ndim == ndim;
    for (size_t i = 0; fits && i < ndim; i++)
        fits = t->shape[i] == shape[i];
    return fits || error_set(err, "%s: '%s' is %s %s, expected F32 with %zu dimensions for %zu"
                             " channels", t->file, t->name, dtype_name(t->dtype),
                             tensor_shape_text(t, text, sizeof text), ndim, m->stored.view.cols);
}

/* The one or two tensors that may say something. */
static bool find_either(const struct tensor **channels, const struct tensor **hessian,
                        const struct importance *im, const struct listed_weight *m,
                        struct error *err)
{
    *channels = *hessian = NULL;
    if (!im->is_open)
        return true;
    if (!find(channels, im, m, im->is_activations ? MEAN_SQUARE : "", 1, err)
        || (!im->is_activations && !find(hessian, im, m, HESSIAN, 3, err)))
        return false;
    return !*channels || !*hessian
        || error_set(err, "%s: '%s' and '%s' are both there, expected one of them",
                     im->file.map.path, (*channels)->name, (*hessian)->name);
}

bool importance_has(bool *has, const struct importance *im, const struct listed_weight *m,
                    struct error *err)
{
    const struct tensor *channels, *hessian;
    bool ok = find_either(&channels, &hessian, im, m, err);
    *has = ok && (channels || hessian);
    return ok;
}

static bool check_number(const struct tensor *t, size_t i, float x, bool may_be_negative,
                         struct error *err)
{
    return (isfinite(x) && (may_be_negative || x >= 0))
        || error_set(err, "%s: '%s' has %g at %zu, expected a finite number%s", t->file, t->name,
                     (double)x, i, may_be_negative ? "" : " from 0");
}

/* A block without any weight would be decided by nothing. */
static void fill_empty_blocks(float *channels, size_t n)
{
    size_t block = mxfp4_block_size();
    for (size_t at = 0; at < n; at += block) {
        bool empty = true;
        for (size_t i = at; i < at + block; i++)
            empty = empty && channels[i] == 0;
        for (size_t i = at; empty && i < at + block; i++)
            channels[i] = 1;
    }
}

bool importance_of(struct mxfp4_importance *out, struct importance *im,
                   const struct listed_weight *m, struct error *err)
{
    const struct tensor *channels, *hessian;
    *out = (struct mxfp4_importance){ 0 };
    if (!find_either(&channels, &hessian, im, m, err))
        return false;
    const struct tensor *t = channels ? channels : hessian;
    if (!t)
        return true;
    size_t n = tensor_elements(t);
    size_t offset = (size_t)(t->data - im->file.map.data);
    if (!mem_grow(&im->channels, &im->capacity, n, sizeof *im->channels, "importance", err)
        || !file_populate(&im->file.map, offset, t->n_bytes, err))
        return false;
    memcpy(im->channels, t->data, t->n_bytes);
    file_release(&im->file.map, offset, t->n_bytes, false);
    bool is_gamma = channels && !im->is_activations;
    for (size_t i = 0; i < n; i++) {
        if (!check_number(t, i, im->channels[i], !im->is_activations, err))
            return false;
        if (!is_gamma)
            continue;
        im->channels[i] *= im->channels[i];
        if (!isfinite(im->channels[i]))
            return error_set(err, "%s: '%s' has a number at %zu whose square is not finite",
                             t->file, t->name, i);
    }
    if (im->is_activations)
        fill_empty_blocks(im->channels, n);
    *(channels ? &out->channels : &out->hessian) = im->channels;
    return true;
}
