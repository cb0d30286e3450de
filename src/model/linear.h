/* linear.h - a linear layer on many tokens: out = x W^T.
 *
 * The weight stays as stored; a few rows at a time are decoded and packed for the product.  Results
 * do not depend on how rows and tokens are split (kernels/gemm.h). */
#ifndef SURPRISAL_MODEL_LINEAR_H
#define SURPRISAL_MODEL_LINEAR_H

#include "base/memory.h"
#include "model/buffers.h"
#include "model/compute.h"

/* Of linear layers that run one after the other. */
struct linear_buffers {
    void *packed;                   /* rows of one weight at a time */
    char *scratch;                  /* of the threads, for packing and multiplying */
    struct thread_buffers few;      /* x of a few rows, which need nothing else */
};

struct linear_shape {
    size_t rows, cols;              /* of a weight: out_features, in_features */
};

/* For weights of n shapes. */
struct linear_buffers linear_buffers_take(struct arena *a, const struct compute *cm,
                                          const struct linear_shape *shapes, size_t n);

/* out [n, w->rows] (rows ldo apart) = x [n, w->cols] (rows ldx apart) times w transposed. */
void linear_forward(const struct compute *cm, const struct linear_buffers *b, float *out,
                    size_t ldo, const float *x, size_t ldx, size_t n, const struct matrix *w);

/* ---- the same of a few rows, for callers that have a parallel region ------------ */

/* Room for DOTS_ROWS rows of `cols` values in each thread. */
struct thread_buffers linear_few_rows_take(struct arena *a, const struct compute *cm, size_t cols);

/* Called by every thread of a parallel region; they share the work and do not wait for each other.
 * few: of w->cols values or more. */
void linear_few_rows(const struct compute *cm, const struct thread_buffers *few, float *out,
                     size_t ldo, const float *x, size_t ldx, size_t n, const struct matrix *w);

/* ---- the steps, for callers that keep packed weights -------------------- */

/* Rows [0, n) split into blocks for the threads.  A block has at most `rows` rows (mr <= rows <=
 * KERNEL_ROWS) and whole tiles of mr rows; each thread gets the same number of blocks.  Block i is
 * rows [linear_block_begin(b, i), linear_block_begin(b, i + 1)). */
struct row_blocks {
    size_t n, count, tiles, tile;
};

struct row_blocks linear_row_blocks(const struct compute *cm, size_t n, size_t rows);
size_t linear_block_begin(const struct row_blocks *b, size_t i);

/* The matrix product that linear layers use. */
const struct gemm_ops *linear_gemm(const struct compute *cm);

/* Scratch of the threads for packing and multiplying: scratch_bytes() each. */
char *linear_scratch_take(struct arena *a, const struct compute *cm);

/* Room for n rows of w, packed as n columns. */
struct packed_b linear_packed_take(struct arena *a, const struct compute *cm,
                                   const struct matrix *w, size_t n);

/* Packs a slice of a weight.  Called by every thread of a parallel region; they share the work and
 * wait for each other. */
void linear_pack_weight(const struct compute *cm, const struct packed_b *to,
                        const struct weight_slice *b, char *scratch);

/* The same in small pieces; the calling thread packs one. */
size_t linear_pack_pieces(const struct weight_slice *b);
void linear_pack_piece(const struct compute *cm, const struct packed_b *to,
                       const struct weight_slice *b, size_t piece, char *scratch);

/* Adds part i of count of rows [first, first + rows) of w, as stored, to what a product prefetches.
 * Rows past the end of w are ignored. */
void linear_prefetch_add(struct prefetch *prefetch, const struct matrix *w, size_t first,
                         size_t rows, size_t i, size_t count);

/* out [n, w->n] = r(x [n, w->k] times w), by the calling thread; r rounds in BF16 compute.
 * prefetch: of struct gemm. */
void linear_multiply(const struct compute *cm, float *out, size_t ldo, const float *x, size_t ldx,
                     size_t n, const struct packed_b *w, const struct prefetch *prefetch,
                     char *scratch);

#endif
