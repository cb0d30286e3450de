/* dots.h - our own product of a few rows (struct dots_ops in kernels.h): vectors along k, so that a
 * weight needs no transposing.
 *
 *     for each group of DOTS_GROUP rows of W         their sums stay in the first-level cache
 *         for each piece of DOTS_COLUMNS columns     decoded, unless the product reads them stored
 *             |
 *             for each few rows of x                 a tile: its sums are in registers
 *                 for each few rows of the group
 *
 * Columns come in blocks of DOTS_BLOCK: the product of column 2i + 1 of a block, then that of
 * column 2i, is added to sum i by a fused multiply-add.  This is the order of BF16 dots
 * (avx512bf16.c), and pairs are also how a word of BF16 values or a byte of MXFP4 codes comes
 * apart.  A last block is filled with zeros.  Then the upper half of the sums is added to the lower
 * one until one is left.
 *
 * A block of x, or of decoded weights, is its 16 odd columns and then its 16 even ones, in f32; or,
 * in a tile of pairs, 16 words of two BF16 values, the even column in the lower half. */
#ifndef SURPRISAL_KERNELS_DOTS_H
#define SURPRISAL_KERNELS_DOTS_H

#include "kernels/kernels.h"

#define DOTS_LANES ((size_t)16)                 /* sums of an element */
#define DOTS_BLOCK (2 * DOTS_LANES)
#define DOTS_COLUMNS (16 * DOTS_BLOCK)
#define DOTS_GROUP ((size_t)4)

/* Memory that is read after a piece: `bytes` of each of some rows, ld bytes apart. */
struct dots_prefetch {
    const uint8_t *at;
    size_t ld, bytes, rows;
};

/* Products of all rows of x with all weights of a piece, added to the sums. */
struct dots_piece {
    float *sums;                    /* [n_weights, n, DOTS_LANES] */
    const char *x;                  /* [n], rows ldx bytes apart */
    size_t ldx, n;                  /* at most DOTS_ROWS */
    const uint8_t *weights;         /* [n_weights], rows ld_weights bytes apart */
    size_t ld_weights, n_weights;   /* at most DOTS_GROUP */
    bool stored;                    /* as BF16 in the order of columns, else as x is */
    size_t blocks;
    struct dots_prefetch prefetch;
};

/* The only part that is written for each instruction set. */
struct dots_tile {
    bool pairs;
    /* With more rows of x, BF16 weights are decoded too: widening them again for each tile costs
     * registers. */
    size_t stored_rows;
    void (*multiply)(const struct dots_piece *p);
    /* n columns of a row, as blocks. */
    void (*arrange)(void *to, const float *x, size_t n);
    /* Blocks of BF16 values in the order of columns. */
    void (*widen)(void *to, const uint8_t *values, size_t blocks);
    /* Blocks of MXFP4 codes and the scale of each (kernels/stored.h); NULL: expand() does it. */
    void (*mxfp4)(void *to, const uint8_t *codes, const uint8_t *scale, size_t blocks);
};

extern const struct dots_tile dots_tile_baseline;
#ifdef __x86_64__
extern const struct dots_tile dots_tile_avx2, dots_tile_avx512, dots_tile_avx512bf16;
#endif
#ifdef __aarch64__
extern const struct dots_tile dots_tile_neon;
#endif

/* The functions of struct dots_ops. */
size_t dots_row_bytes(const struct dots_ops *ops, size_t cols);
void dots_arrange(const struct dots_ops *ops, void *to, const float *x, size_t ldx, size_t n,
                  size_t cols);
void dots_multiply(const struct dots_ops *ops, float *out, size_t ldo, const void *x, size_t n,
                   const struct matrix *w, size_t first, size_t count);

/* The definition: plain loops. */
extern const struct dots_ops dots_scalar, dots_scalar_bf16;

/* Initialisers of struct kernels. */
#define DOTS_OPS(tile_, rows_, rounds_)                                                          \
    &(const struct dots_ops){ .tile = (tile_), .rows = (rows_), .rounds = (rounds_),             \
                              .row_bytes = dots_row_bytes, .arrange = dots_arrange,              \
                              .multiply = dots_multiply }
#define DOTS_OF(tile_, rows_) \
    .dots = { DOTS_OPS(tile_, rows_, false), DOTS_OPS(tile_, rows_, true) }

#endif
