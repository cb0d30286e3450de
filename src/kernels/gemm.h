/* gemm.h - our own matrix product (struct gemm in kernels.h).
 *
 * Blocked as in BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS
 * Functionality").  B is packed once, before the product, into panels of NR columns, in the order
 * in which the micro-kernel reads them; blocks of A are packed into panels of MR rows.
 *
 *     for each block of KERNEL_ROWS rows of A
 *         for each block of k                    block_words words; pack this block of A:
 *             |                                  it stays in the second-level cache
 *             for each panel of B                stays in the first-level cache if it fits
 *                 |
 *                 for each panel of A            a tile: MR x NR elements of C
 *                     |
 *                     for each KC values of k    micro-kernel: MR x NR sums in registers, from
 *                                                zero, then added to the total of the tile
 *
 *              k                       n                          n
 *          +-------+            +---+---+---+---+          +---+---+---+---+
 *       MR | panel |            |   | p |   |   |       MR |   |###|   |   |   ### one tile of C:
 *          +-------+       k    |   | a |   |   |          +---+---+---+---+       one panel of A
 *     m    |       |            |   | n |   |   |     m    |   |   |   |   |       times one of B
 *          +-------+            |   | e |   |   |          +---+---+---+---+
 *          |       |            |   | l |   |   |          |   |   |   |   |
 *          +-------+            +---+---+---+---+          +---+---+---+---+
 *              A                 NR      B                          C
 *
 * Weights are decoded while they are packed, a piece at a time that stays in the first-level cache.
 * Panels of weights are written past the caches: writing a line that another processor used last
 * costs some 25 ns if the two share no cache, and every processor reads each panel.  Memory that is
 * needed next is prefetched during the arithmetic.  The processor cannot predict it, since panels,
 * rows of A and rows of C take turns.
 *
 * All instruction sets and shapes use one order of summation: running sums of KC fused
 * multiply-adds, each from zero, are added up in ascending order of k.  So the bits of an element
 * depend only on its row of A and its column of B: not on the batch, its tile, the number of
 * threads, or the CPU.  (In BLIS KC is the whole packed block of k; here a block holds several.)  A
 * small KC is for accuracy: in f32 the NLL of the demo checkpoint is off by 1.27e-6 on average with
 * KC = 256, and by 0.91e-6 with 64; smaller values cost more than they gain.  BF16 values are so
 * coarse that 256 is enough for them.
 *
 * A word is four bytes: an f32, or a pair of BF16 values that follow each other in k.  Packed
 * layout: for each block of k, for each panel, [words][NR]; columns past n and the second value of
 * a last, incomplete pair are zeros.  A product of f32 may keep weights whose values are BF16 in
 * pairs (struct packed_b): they are packed as fast as they are read, take half the cache, and are
 * widened during the arithmetic. */
#ifndef SURPRISAL_KERNELS_GEMM_H
#define SURPRISAL_KERNELS_GEMM_H

#include "kernels/kernels.h"

/* Values of k in one running sum; a divisor of the values in a block of k. */
#define GEMM_KC ((size_t)64)                /* of f32 */
#define GEMM_KC_BF16 ((size_t)256)
#define GEMM_TILE_LARGEST ((size_t)512)     /* mr x nr */

/* The only part that is written for each instruction set. */
struct gemm_tile {
    size_t mr, nr;                  /* rows and columns; mr divides KERNEL_ROWS, nr KERNEL_PANEL */
    size_t values;                  /* in a word of A: 1, or 2 with the first in the upper half */
    size_t block_words; /* of k in a block; KERNEL_ROWS rows of them fit in the second-level
                                       cache */
    /* The micro-kernel.  The first m rows of a tile: out [m, nr] = (in, or zeros when NULL) + sum
     * over `words` of a[w][i] * b[w][j] from zero, ascending in k.  a: [words, mr], b: [words, nr];
     * out and in may be the same, rows ldo and ldi floats apart. */
    void (*micro_kernel)(float *out, size_t ldo, const float *in, size_t ldi, const void *a,
                         const void *b, size_t words, size_t m);
    /* The same with B in BF16 pairs, where A has one value in a word: b is [words / 2 rounded up,
     * nr] pairs, the first value of a pair in the lower half of its word, as in files.  NULL where
     * it is not faster. */
    void (*micro_kernel_bf16_pairs)(float *out, size_t ldo, const float *in, size_t ldi,
                                    const void *a, const void *b, size_t words, size_t m);
    /* Writes `count` rows of words, `step` words apart and not necessarily aligned, as panel
     * [words, width]: row i becomes column i; columns from count to width are zeros.  With two
     * values in a word of A, x has the first of them in the lower half, as in files, and the panel
     * in the upper one.  shared: other threads read the panel after a barrier, so it is better
     * written to memory than to the cache of this processor. */
    void (*transpose)(void *panel, size_t width, const void *x, size_t step, size_t count,
                      size_t words, bool shared);
    /* As micro_kernel() without loads or stores, for struct gemm_ops: `steps` instructions on each
     * of its sums; returns their FLOP. */
    size_t (*peak)(size_t steps);
};

#ifdef __x86_64__
extern const struct gemm_tile gemm_tile_avx512;     /* f32; two sets use it */
#endif

/* The plain form of transpose, for tiles with one value in a word. */
void gemm_transpose(void *panel, size_t width, const void *x, size_t step, size_t count,
                    size_t words, bool shared);

/* The functions of struct gemm_ops. */
size_t gemm_mr(const struct gemm_ops *ops);
size_t gemm_nr(const struct gemm_ops *ops);
size_t gemm_packed_bytes(const struct gemm_ops *ops, size_t n, size_t k);
size_t gemm_scratch_bytes(const struct gemm_ops *ops);
void gemm_pack(const struct gemm_ops *ops, void *packed, const struct gemm_b *b, size_t first,
               size_t count, void *scratch);
bool gemm_takes_bf16_pairs(const struct gemm_ops *ops, const struct matrix *w);
void gemm_pack_weight(const struct gemm_ops *ops, const struct packed_b *to,
                      const struct weight_slice *b, size_t first, size_t count, void *scratch);
void gemm_multiply(const struct gemm_ops *ops, const struct gemm *g);
size_t gemm_peak(const struct gemm_ops *ops, size_t steps);

/* Initialisers: for f32, and for BF16 values with a tile of either kind. */
#define GEMM_OPS(tile_, rows_, kc_, rounds_)                                              \
    &(const struct gemm_ops){ .tile = (tile_), .kc = (kc_), .rounds = (rounds_),            \
                              .rows = (rows_), .mr = gemm_mr,                         \
                              .nr = gemm_nr, .packed_bytes = gemm_packed_bytes,       \
                              .takes_bf16_pairs = gemm_takes_bf16_pairs, \
                              .scratch_bytes = gemm_scratch_bytes, .pack = gemm_pack,             \
                              .pack_weight = gemm_pack_weight, .multiply = gemm_multiply,         \
                              .peak = gemm_peak }
#define GEMM_F32(tile_, rows_)  GEMM_OPS(tile_, rows_, GEMM_KC, false)
#define GEMM_BF16(tile_, rows_) GEMM_OPS(tile_, rows_, GEMM_KC_BF16, true)

#endif
