#include "model/embedding.h"

void embedding_tile(const struct compute *cm, float *x, const struct matrix *embed_tokens,
                    const int32_t *ids, size_t n, size_t first, size_t n_rows)
{
    const struct row_kernels *rows = compute_rows(cm);
    size_t D = embed_tokens->cols;
#pragma omp for schedule(static) nowait
    for (size_t i = 0; i < n; i++) {
        size_t id = (size_t)ids[i];
        if (id - first < n_rows) {
            rows->expand(x + i * D, embed_tokens, id, 0, D);
            rows->round(x + i * D, D);
        }
    }
}

void embedding_rows(const struct compute *cm, float *x, const struct matrix *embed_tokens,
                    const int32_t *ids, size_t n)
{
#pragma omp parallel num_threads(cm->n_threads)
    embedding_tile(cm, x, embed_tokens, ids, n, 0, embed_tokens->rows);
}
