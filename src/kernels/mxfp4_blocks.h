/* mxfp4_blocks.h - the MXFP4 quantizer's inner loop: many blocks side by side.
 *
 * What it computes is defined by mxfp4_quantize_block (kernels/mxfp4.h) for the rule QSTREAM, and
 * is the same bit for bit.  Element j of all blocks is in one vector, so that every step, the
 * sort of a block and torch's order of summation included, is plain arithmetic between vectors. */
#ifndef SURPRISAL_KERNELS_MXFP4_BLOCKS_H
#define SURPRISAL_KERNELS_MXFP4_BLOCKS_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/stored.h"

/* Where a percentile lies among the order statistics of a block: between low and low + 1. */
struct mxfp4_percentile {
    size_t low;                     /* 0 .. 31; 31: the maximum */
    float fraction;
};

struct mxfp4_blocks {
    const float *w;                 /* [n, 32], finite */
    size_t n;
    /* Factors of the squared errors: block i has those of block (first + i) % period. */
    const float *importance;        /* [period, 32]; NULL: all are 1 */
    size_t first, period;
    struct mxfp4_percentile anchor;
    uint8_t *packed;                /* out: [n, 16] */
    uint8_t *scale;                 /* out: [n] */
    size_t undecided;               /* out: added to */
};

typedef void mxfp4_blocks_fn(struct mxfp4_blocks *b);

mxfp4_blocks_fn mxfp4_blocks_baseline;      /* whatever the compiler targets */
mxfp4_blocks_fn mxfp4_blocks_avx2, mxfp4_blocks_avx512;

/* Candidates this near to one another are not decided by the algorithm, since the order of its sums
 * is not part of it: four units in the last place. */
#define MXFP4_UNDECIDED 0x1p-21f

#endif
