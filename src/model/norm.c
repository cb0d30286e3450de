#include "model/norm.h"

static float *first_row(const struct compute *cm, const struct matrix *w, float offset)
{
    float *v = arena_take(cm->arena, w->cols, sizeof *v);
    if (!v)
        return NULL;
    compute_rows(cm)->expand(v, w, 0, 0, w->cols);
    if (!w->one_added)                          /* w was rounded, 1 + w is not */
        compute_rows(cm)->round(v, w->cols);
    for (size_t i = 0; i < w->cols; i++)
        v[i] += offset;
    return v;
}

float *norm_weight(const struct compute *cm, const struct matrix *w)
{
    return first_row(cm, w, w->one_added ? 0 : 1);
}

float *norm_weight_plain(const struct compute *cm, const struct matrix *w)
{
    return first_row(cm, w, 0);
}

float *vector_take(const struct compute *cm, const struct matrix *w)
{
    return first_row(cm, w, 0);
}

void rms_norm_rows(const struct compute *cm, float *out, const float *x, size_t n,
                   const float *weight)
{
    size_t D = cm->config->hidden_size;
    if (!out)
        return;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        compute_rows(cm)->rms_norm(out + t * D, x + t * D, weight, D, cm->config->rms_norm_eps);
}

void residual_add(const struct compute *cm, float *x, const float *y, size_t n)
{
    size_t D = cm->config->hidden_size;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        compute_rows(cm)->add(x + t * D, y + t * D, D);
}

size_t first_not_finite(const struct compute *cm, const float *x, size_t n)
{
    size_t D = cm->config->hidden_size, first = n;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static) reduction(min : first)
    for (size_t t = 0; t < n; t++)
        if (!compute_rows(cm)->all_finite(x + t * D, D))
            first = t < first ? t : first;
    return first;
}
