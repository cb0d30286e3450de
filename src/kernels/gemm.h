/* gemm.h - our own matrix product (struct product in kernels.h).
 *
 * Blocked as in BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS
 * Functionality"): B is packed once into panels of `cols` columns, in the order the inner loop
 * reads them; blocks of A are packed into panels of `rows` rows; a tile kernel holds rows x cols
 * sums in registers.
 *
 * One order of summation for every instruction set and every shape: chains of GEMM_CHAIN fused
 * multiply-adds, each from zero, added up in ascending order of k.  So an element's bits depend on
 * its row of A and its column of B alone: not on the batch, the tile it falls into, the number of
 * threads, or the CPU.  Short chains are for accuracy: with chains of 256 the demo checkpoint's
 * NLL is off by 1.27e-6 on average, with 64 by 0.91e-6; shorter ones cost more than they gain.
 *
 * Packed layout: for each block of k, for each panel, [block length][cols]; columns past n are
 * zeros. */
#ifndef SURPRISAL_KERNELS_GEMM_H
#define SURPRISAL_KERNELS_GEMM_H

#include "kernels/kernels.h"

#define GEMM_CHAIN ((size_t)64)
#define GEMM_K_BLOCK ((size_t)256)      /* a multiple of GEMM_CHAIN */

/* The only part that an instruction set writes. */
struct gemm_tile {
    size_t rows, cols;              /* cols divides KERNEL_PANEL */
    /* c [m, n], m <= rows, n <= cols: (accumulate ? c : 0) + sum over p of a[p][i] * b[p][j], in
     * the order of summation above.  a: [k, rows], b: [k, cols], k <= GEMM_K_BLOCK. */
    void (*multiply)(float *c, size_t ldc, const float *a, const float *b, size_t k, size_t m,
                     size_t n, bool accumulate);
    /* Writes `count` lines of k values, `step` floats apart, as panel [k, width]; lines from count
     * to width are zeros. */
    void (*transpose)(float *panel, size_t width, const float *x, size_t step, size_t count,
                      size_t k);
};

/* The plain form of transpose. */
void gemm_transpose(float *panel, size_t width, const float *x, size_t step, size_t count,
                    size_t k);

/* The four functions of struct kernels, for sets that have a tile. */
size_t gemm_packed_floats(const struct kernels *kn, size_t n, size_t k);
size_t gemm_scratch_floats(const struct kernels *kn);
void gemm_pack(const struct kernels *kn, float *packed, const struct operand *b, size_t first,
               size_t count);
void gemm_multiply(const struct kernels *kn, const struct product *p);

#endif
