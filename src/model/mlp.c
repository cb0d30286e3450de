#include "model/mlp.h"

struct mlp_buffers mlp_buffers_take(struct arena *a, const struct compute *cm, size_t rows,
                                    size_t I)
{
    size_t D = cm->config->hidden_size;
    const struct linear_shape linears[] = { { I, D }, { D, I } };
    return (struct mlp_buffers){
        .gate = arena_take(a, rows, I * sizeof(float)),
        .up = arena_take(a, rows, I * sizeof(float)),
        .linear = linear_buffers_take(a, cm, linears, 2),
    };
}

void mlp_forward(const struct compute *cm, const struct mlp_buffers *b, float *out, const float *h,
                 size_t n, const struct mlp_weights *w)
{
    size_t D = cm->config->hidden_size, I = w->gate.rows;
    linear_forward(cm, &b->linear, b->gate, I, h, D, n, &w->gate);
    linear_forward(cm, &b->linear, b->up, I, h, D, n, &w->up);
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        compute_rows(cm)->mul_silu(b->up + t * I, b->gate + t * I, I);
    linear_forward(cm, &b->linear, out, D, b->up, I, n, &w->down);
}
