#include "kernels/blas.h"

#include <assert.h>
#include <cblas.h>
#include <limits.h>

void blas_prepare(void)
{
    openblas_set_num_threads(1);
}

/* Callers hand over blocks, far below blasint's range; leading dimensions are checked against it
 * when an engine is opened. */
static blasint dimension(size_t n)
{
    assert(n <= INT_MAX);
    return (blasint)n;
}

void blas_gemm(const struct gemm *g, const struct kernels *kn)
{
    (void)kn;
    if (g->m == 0 || g->n == 0)
        return;
    cblas_sgemm(CblasRowMajor, g->form == GEMM_TN ? CblasTrans : CblasNoTrans,
                g->form == GEMM_NT ? CblasTrans : CblasNoTrans, dimension(g->m),
                dimension(g->n), dimension(g->k), 1.0f, g->a, dimension(g->lda), g->b,
                dimension(g->ldb), g->accumulate ? 1.0f : 0.0f, g->c, dimension(g->ldc));
}
