#include "kernels/blas.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>

#include "base/memory.h"

void blas_prepare(void)
{
    openblas_set_num_threads(1);
}

size_t blas_mr(const struct gemm_ops *ops)
{
    (void)ops;
    return 1;
}

size_t blas_nr(const struct gemm_ops *ops)
{
    (void)ops;
    return 1;
}

size_t blas_packed_bytes(const struct gemm_ops *ops, size_t n, size_t k)
{
    (void)ops;
    return n * k * sizeof(float);
}

size_t blas_scratch_bytes(const struct gemm_ops *ops)
{
    (void)ops;
    return 0;                       /* OpenBLAS packs into buffers of its own */
}

void blas_pack(const struct gemm_ops *ops, void *packed, const struct gemm_b *b, size_t first,
               size_t count, void *scratch)
{
    (void)scratch;
    float *out = (float *)packed + first * b->k;
    for (size_t j = 0; j < count; j++)
        for (size_t p = 0; p < b->k; p++)
            out[j * b->k + p] = b->b[p * b->stride_k + j * b->stride_cols];
    if (ops->rounds)
        ops->rows->round_bf16(out, count * b->k);
}

bool blas_takes_bf16_pairs(const struct gemm_ops *ops, const struct matrix *w)
{
    (void)ops, (void)w;
    return false;
}

void blas_pack_weight(const struct gemm_ops *ops, const struct packed_b *to,
                      const struct weight_slice *b, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t k = b->w->cols;
    float *out = (float *)to->data + (b->column + first) * k;
    for (size_t j = 0; j < count; j++)
        ops->rows->expand(out + j * k, b->w, b->row + first + j, 0, k);
    if (ops->rounds)
        ops->rows->round_bf16(out, count * k);
}

/* Callers hand over blocks, far below blasint's range; leading dimensions are checked against it
 * when an engine is opened. */
static blasint dimension(size_t n)
{
    assert(n <= INT_MAX);
    return (blasint)n;
}

void blas_multiply(const struct gemm_ops *ops, const struct gemm *g)
{
    (void)ops;
    if (g->m == 0 || g->n == 0)
        return;
    bool transposed = g->stride_k != 1;
    /* A single row or column may have any step; BLAS wants one that would hold a whole row. */
    size_t lda = transposed ? size_max(g->stride_k, g->m) : size_max(g->stride_rows, g->k);
    cblas_sgemm(CblasRowMajor, transposed ? CblasTrans : CblasNoTrans, CblasTrans,
                dimension(g->m), dimension(g->n), dimension(g->k), 1.0f, g->a, dimension(lda),
                g->packed, dimension(g->k), g->accumulate ? 1.0f : 0.0f, g->c, dimension(g->ldc));
}
