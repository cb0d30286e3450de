/* gemm.h - our own matrix product (struct product in kernels.h).
 *
 * Blocked as in BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS
 * Functionality"): B is packed once into panels of `cols` columns, in the order the inner loop
 * reads them; blocks of A are packed into panels of `rows` rows; a tile kernel holds rows x cols
 * sums in registers.  Weights are decoded while they are packed, a piece at a time that stays in
 * the first-level cache.  Panels of weights are written past the caches: a line that another
 * processor had last costs some 25 ns to take over where the two share no cache, and each panel is
 * read by all.  What comes next from memory is prefetched during the arithmetic: the processor does
 * not see it coming, since panels, rows of A and rows of C take turns.
 *
 * One order of summation for every instruction set and every shape: chains of fused multiply-adds,
 * each from zero, added up in ascending order of k.  So an element's bits depend on its row of A
 * and its column of B alone: not on the batch, the tile it falls into, the number of threads, or
 * the CPU.  Short chains are for accuracy: in f32 with chains of 256 the demo checkpoint's NLL is
 * off by 1.27e-6 on average, with 64 by 0.91e-6; shorter ones cost more than they gain.  BF16
 * values are so much coarser that the chain there is a whole block.
 *
 * A word is four bytes: an f32, or a pair of BF16 values that follow each other in k.  Packed layout:
 * for each block of k, for each panel, [words][cols]; columns past n and the half past an odd k are
 * zeros.  A product of f32 may keep weights that are BF16 anyway in pairs (struct packed_weight): they
 * are packed as fast as they are read, take half the cache, and are widened beside the arithmetic. */
#ifndef SURPRISAL_KERNELS_GEMM_H
#define SURPRISAL_KERNELS_GEMM_H

#include "kernels/kernels.h"

#define GEMM_CHAIN ((size_t)64)             /* values; in f32; divides what a block of k holds */
#define GEMM_CHAIN_BF16 ((size_t)256)
#define GEMM_TILE_LARGEST ((size_t)512)     /* rows x cols */

/* The only part that an instruction set writes. */
struct gemm_tile {
    size_t rows, cols;              /* cols divides KERNEL_PANEL, rows KERNEL_ROWS */
    size_t values;                  /* in a word of A: 1, or 2 with the first in the upper half */
    size_t block_words;             /* of k in a block: KERNEL_ROWS of them stay in the second-level cache */
    /* One chain of the first m rows of a tile: out [m, cols] = (in, or zeros when NULL) + sum over
     * `words` of a[w][i] * b[w][j] from zero, ascending in k.  a: [words, rows], b: [words, cols];
     * out and in may be the same, rows ldo and ldi floats apart. */
    void (*chain)(float *out, size_t ldo, const float *in, size_t ldi, const void *a,
                  const void *b, size_t words, size_t m);
    /* The same with B in halves, where A has one value in a word: b is [words / 2 rounded up, cols]
     * pairs, the first of them in the lower half, as files have it.  NULL where it does not pay. */
    void (*chain_halves)(float *out, size_t ldo, const float *in, size_t ldi, const void *a,
                         const void *b, size_t words, size_t m);
    /* Writes `count` lines of words, `step` words apart and not necessarily aligned, as panel
     * [words, width]; lines from count to width are zeros.  With two values in a word of A, x has the
     * first of them in the lower half, as files do, and the panel in the upper one.  shared: other
     * threads read the panel, behind a barrier, so it is better written to memory than to the cache of
     * this processor. */
    void (*transpose)(void *panel, size_t width, const void *x, size_t step, size_t count,
                      size_t words, bool shared);
    /* As chain() without loads or stores, for struct products: `steps` times an instruction on each
     * of as many sums; their FLOP. */
    size_t (*peak)(size_t steps);
};

#ifdef __x86_64__
extern const struct gemm_tile gemm_tile_avx512;     /* f32; two sets use it */
#endif

/* The plain form of transpose, for tiles with one value in a word. */
void gemm_transpose(void *panel, size_t width, const void *x, size_t step, size_t count,
                    size_t words, bool shared);

/* The functions of struct products. */
size_t gemm_row_step(const struct products *pr);
size_t gemm_col_step(const struct products *pr);
size_t gemm_packed_bytes(const struct products *pr, size_t n, size_t k);
size_t gemm_scratch_bytes(const struct products *pr);
void gemm_pack(const struct products *pr, void *packed, const struct operand *b, size_t first,
               size_t count, void *scratch);
bool gemm_takes_halves(const struct products *pr, const struct matrix *w);
void gemm_pack_weight(const struct products *pr, const struct packed_weight *to,
                      const struct weight_operand *b, size_t first, size_t count, void *scratch);
void gemm_multiply(const struct products *pr, const struct product *p);
size_t gemm_peak(const struct products *pr, size_t steps);

/* Initialisers: the products in f32, and those of BF16 values by a tile of either kind. */
#define GEMM_PRODUCTS(tile_, rows_, chain_, rounds_)                                              \
    &(const struct products){ .tile = (tile_), .chain = (chain_), .rounds = (rounds_),            \
                              .rows = (rows_), .row_step = gemm_row_step,                         \
                              .col_step = gemm_col_step, .packed_bytes = gemm_packed_bytes,       \
                              .takes_halves = gemm_takes_halves,                                  \
                              .scratch_bytes = gemm_scratch_bytes, .pack = gemm_pack,             \
                              .pack_weight = gemm_pack_weight, .multiply = gemm_multiply,         \
                              .peak = gemm_peak }
#define GEMM_F32(tile_, rows_)  GEMM_PRODUCTS(tile_, rows_, GEMM_CHAIN, false)
#define GEMM_BF16(tile_, rows_) GEMM_PRODUCTS(tile_, rows_, GEMM_CHAIN_BF16, true)

#endif
