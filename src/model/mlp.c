#include "model/mlp.h"

#include "model/linear.h"

void mlp_forward(const struct compute *cm, float *out, const float *h, size_t n,
                 const struct mlp_weights *w)
{
    size_t D = cm->config->hidden_size, I = w->gate.rows, mark = cm->arena->used;
    float *gate = arena_take(cm->arena, n, I * sizeof *gate);
    float *up = arena_take(cm->arena, n, I * sizeof *up);
    linear(cm, gate, I, h, D, n, &w->gate);
    linear(cm, up, I, h, D, n, &w->up);
    if (up) {
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
        for (size_t t = 0; t < n; t++)
            compute_rows(cm)->mul_silu(up + t * I, gate + t * I, I);
    }
    linear(cm, out, D, up, I, n, &w->down);
    cm->arena->used = mark;
}
