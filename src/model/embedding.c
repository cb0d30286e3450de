#include "model/embedding.h"

void embedding_rows(const struct compute *cm, float *x, const struct matrix *embed_tokens,
                    const int32_t *ids, size_t n)
{
    const struct row_kernels *rows = compute_rows(cm);
    size_t D = embed_tokens->cols;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t i = 0; i < n; i++) {
        rows->expand(x + i * D, embed_tokens, (size_t)ids[i], 0, D);
        rows->round(x + i * D, D);
    }
}
