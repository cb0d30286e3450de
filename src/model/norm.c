#include "model/norm.h"

static void first_row(const struct compute *cm, float *out, const struct matrix *w, float offset)
{
    compute_rows(cm)->expand(out, w, 0, 0, w->cols);
    if (!w->one_added && !w->is_rate)           /* w was rounded; 1 + w and -exp(w) are not */
        compute_rows(cm)->round(out, w->cols);
    for (size_t i = 0; i < w->cols; i++)
        out[i] += offset;
}

void norm_weight(const struct compute *cm, float *out, const struct matrix *w)
{
    first_row(cm, out, w, w->one_added ? 0 : 1);
}

void norm_weight_plain(const struct compute *cm, float *out, const struct matrix *w)
{
    first_row(cm, out, w, 0);
}

void norm_vector(const struct compute *cm, float *out, const struct matrix *w)
{
    first_row(cm, out, w, 0);
}

float *norm_buffer_take(struct arena *a, const struct config *c)
{
    return arena_take(a, c->hidden_size, sizeof(float));
}

void norm_rows(const struct compute *cm, float *out, const float *x, size_t n,
               const float *weight)
{
    size_t D = cm->config->hidden_size;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        compute_rows(cm)->rms_norm(out + t * D, x + t * D, weight, D, cm->config->rms_norm_eps);
}

void norm_residual_add(const struct compute *cm, float *x, const float *y, size_t n)
{
    size_t D = cm->config->hidden_size;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        compute_rows(cm)->add(x + t * D, y + t * D, D);
}

size_t norm_first_not_finite(const struct compute *cm, const float *x, size_t n)
{
    size_t D = cm->config->hidden_size, first = n;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static) reduction(min : first)
    for (size_t t = 0; t < n; t++)
        if (!compute_rows(cm)->all_finite(x + t * D, D))
            first = t < first ? t : first;
    return first;
}
