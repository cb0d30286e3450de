#include "kernels/blas.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>

#include "base/memory.h"

void blas_prepare(void)
{
    openblas_set_num_threads(1);
}

size_t blas_row_step(const struct products *pr)
{
    (void)pr;
    return 1;
}

size_t blas_col_step(const struct products *pr)
{
    (void)pr;
    return 1;
}

size_t blas_packed_bytes(const struct products *pr, size_t n, size_t k)
{
    (void)pr;
    return n * k * sizeof(float);
}

size_t blas_scratch_bytes(const struct products *pr)
{
    (void)pr;
    return 0;                       /* OpenBLAS packs into buffers of its own */
}

void blas_pack(const struct products *pr, void *packed, const struct operand *b, size_t first,
               size_t count, void *scratch)
{
    (void)scratch;
    float *out = (float *)packed + first * b->k;
    for (size_t j = 0; j < count; j++)
        for (size_t p = 0; p < b->k; p++)
            out[j * b->k + p] = b->b[p * b->step_k + j * b->step_n];
    if (pr->rounds)
        pr->rows->round_bf16(out, count * b->k);
}

bool blas_takes_halves(const struct products *pr, const struct matrix *w)
{
    (void)pr, (void)w;
    return false;
}

void blas_pack_weight(const struct products *pr, const struct packed_weight *to,
                      const struct weight_operand *b, size_t first, size_t count, void *scratch)
{
    (void)scratch;
    size_t k = b->w->cols;
    float *out = (float *)to->data + (b->column + first) * k;
    for (size_t j = 0; j < count; j++)
        pr->rows->expand(out + j * k, b->w, b->row + first + j, 0, k);
    if (pr->rounds)
        pr->rows->round_bf16(out, count * k);
}

/* Callers hand over blocks, far below blasint's range; leading dimensions are checked against it
 * when an engine is opened. */
static blasint dimension(size_t n)
{
    assert(n <= INT_MAX);
    return (blasint)n;
}

void blas_multiply(const struct products *pr, const struct product *p)
{
    (void)pr;
    if (p->m == 0 || p->n == 0)
        return;
    bool transposed = p->step_k != 1;
    /* A single row or column may have any step; BLAS wants one that would hold a whole row. */
    size_t lda = transposed ? size_max(p->step_k, p->m) : size_max(p->step_m, p->k);
    cblas_sgemm(CblasRowMajor, transposed ? CblasTrans : CblasNoTrans, CblasTrans,
                dimension(p->m), dimension(p->n), dimension(p->k), 1.0f, p->a, dimension(lda),
                p->packed, dimension(p->k), p->accumulate ? 1.0f : 0.0f, p->c, dimension(p->ldc));
}
