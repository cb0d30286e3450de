#include "kernels/blas.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>

#include "base/memory.h"

void blas_prepare(void)
{
    openblas_set_num_threads(1);
}

size_t blas_packed_floats(const struct kernels *kn, size_t n, size_t k)
{
    (void)kn;
    return n * k;
}

size_t blas_scratch_floats(const struct kernels *kn)
{
    (void)kn;
    return 0;                       /* OpenBLAS packs into buffers of its own */
}

void blas_pack(const struct kernels *kn, float *packed, const struct operand *b, size_t first,
               size_t count)
{
    (void)kn;
    for (size_t j = first; j < first + count; j++)
        for (size_t p = 0; p < b->k; p++)
            packed[j * b->k + p] = b->b[p * b->step_k + (j - first) * b->step_n];
}

/* Callers hand over blocks, far below blasint's range; leading dimensions are checked against it
 * when an engine is opened. */
static blasint dimension(size_t n)
{
    assert(n <= INT_MAX);
    return (blasint)n;
}

void blas_multiply(const struct kernels *kn, const struct product *p)
{
    (void)kn;
    if (p->m == 0 || p->n == 0)
        return;
    bool transposed = p->step_k != 1;
    /* A single row or column may have any step; BLAS wants one that would hold a whole row. */
    size_t lda = transposed ? size_max(p->step_k, p->m) : size_max(p->step_m, p->k);
    cblas_sgemm(CblasRowMajor, transposed ? CblasTrans : CblasNoTrans, CblasTrans,
                dimension(p->m), dimension(p->n), dimension(p->k), 1.0f, p->a, dimension(lda),
                p->packed, dimension(p->k), p->accumulate ? 1.0f : 0.0f, p->c, dimension(p->ldc));
}
