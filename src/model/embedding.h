/* embedding.h - token ids to rows of the residual stream. */
#ifndef SURPRISAL_MODEL_EMBEDDING_H
#define SURPRISAL_MODEL_EMBEDDING_H

#include <stdint.h>

#include "model/compute.h"

/* x [n, D] = the embeddings of ids [n], each below embed_tokens->rows. */
void embedding_rows(const struct compute *cm, float *x, const struct matrix *embed_tokens,
                    const int32_t *ids, size_t n);
/* The same of the ids in [first, first + n_rows) alone; to be called by all threads of a parallel
 * region. */
void embedding_tile(const struct compute *cm, float *x, const struct matrix *embed_tokens,
                    const int32_t *ids, size_t n, size_t first, size_t n_rows);

#endif
