/* stored.h - where the bytes of a stored matrix are, and what its codes may be.
 *
 * MXFP4 (OCP Microscaling 1.0, compressed-tensors `mxfp4-pack-quantized`): data is [rows, cols /
 * 2], byte i of a row with column 2i in its low nibble and 2i + 1 in its high one; scale is [rows,
 * cols / 32].  A value is E2M1[code] * 2^(scale - 127); scale 255 is NaN.
 *
 * FP8 with block scales (Qwen's own releases, transformers' finegrained_fp8): data is [rows, cols],
 * a byte each: sign, 4 bits of exponent with bias 7, 3 of fraction; 0x7F and 0xFF are NaN, nothing
 * is infinite (OCP 8-bit Floating Point, E4M3).  scale is [rows / block_rows, cols / block_cols],
 * rounded up: blocks at the edges are partial.  A block may be a row (compressed-tensors, strategy
 * "channel") or all of the matrix ("tensor").  A value is E4M3[code] * scale, rounded once to f32:
 * exact when the scale is BF16.
 *
 * MXFP8, MXFP6 (OCP Microscaling 1.0): E4M3 codes, a byte each, or E2M3 or E3M2 codes, four in
 * three bytes, the first in the lowest bits (compressed-tensors, Quark); scale is [rows, cols /
 * 32], bytes as those of MXFP4.
 *
 * NVFP4 (modelopt NVFP4QTensor, compressed-tensors `nvfp4-pack-quantized`): codes as those of
 * MXFP4, scale is E4M3 [rows, cols / 16].  A value is E2M1[code] * s, rounded to f32, where s, too,
 * is rounded: scale * factor, or scale / factor with factor_divides; of MLX, which has no factor, s
 * is the scale.
 *
 * kernels/integers.h has the formats of integers, ggml_blocks.h the types of GGUF files: data
 * alone. */
#ifndef SURPRISAL_KERNELS_STORED_H
#define SURPRISAL_KERNELS_STORED_H

#include "base/matrix.h"

#define MXFP4_BLOCK ((size_t)32)    /* columns that share a scale byte; so of MXFP6 and MXFP8 */
#define NVFP4_BLOCK ((size_t)16)

/* Codes that share a scale: [rows, cols] of them.  {0, 0}: there are no scales. */
struct stored_block {
    size_t rows, cols;
};
struct stored_block stored_block(const struct matrix *m);
/* The largest magnitude of a code in a format whose scales are powers of two, one a block of a row;
 * else 0. */
float stored_largest_code(const struct matrix *m);
/* The factor of an element; of no MXFP4. */
float stored_scale(const struct matrix *m, size_t row, size_t col);
/* What is added to it, in MLX's integers. */
float stored_bias(const struct matrix *m, size_t row, size_t col);
/* MXFP6: the code of element `at`, counted from the first row to the last. */
unsigned stored_code6(const struct matrix *m, size_t at);
/* Whether BF16 holds every value. */
bool stored_exact_in_bf16(const struct matrix *m);
/* Whether equal bytes mean equal values. */
bool stored_alike(const struct matrix *a, const struct matrix *b);
/* Bytes of a row in data. */
size_t stored_row_bytes(const struct matrix *m);

/* Of such a format, the block of codes whose first column is col. */
struct stored_codes {
    float scale;                    /* NaN: it is NaN */
    float largest;                  /* magnitude of a code; 0: all are zero */
    size_t n_largest;               /* codes of the largest magnitude that there is */
};
struct stored_codes stored_codes(const struct matrix *m, size_t row, size_t col);

/* Bytes of one tensor that some rows are made of. */
struct stored_span {
    const uint8_t *data;
    size_t n;
};
#define STORED_SPANS 4
/* Of rows [first, first + rows): the codes, then the scales, and the biases, factor, zero points
 * and groups of columns if there are any; their number.  All of a matrix whose rows are in another
 * order, or that is transposed. */
size_t stored_spans(struct stored_span out[STORED_SPANS], const struct matrix *m, size_t first,
                    size_t rows);

/* Columns [first, first + n) of a row, from a matrix whose heads are in another order; expand()
 * does the same for one that is in order, in blocks of stored_block's columns. */
typedef void stored_expand_fn(float *out, const struct matrix *m, size_t row, size_t first,
                              size_t n);
void stored_expand_ordered(stored_expand_fn *expand, float *out, const struct matrix *m, size_t row,
                           size_t first, size_t n);

/* How many rows have the bytes that one row has in span i: one, those of a block, or all. */
size_t stored_span_rows(const struct matrix *m, size_t i);

/* A code (part 0) or a scale (1) that is NaN, or a bias, zero point or scale of all (2) that cannot
 * be, at [row, col] of its tensor. */
struct stored_nan {
    size_t part, row, col;
    const char *what;           /* "scale byte 255, which is NaN" */
};
/* False when there is none.  Values of formats without codes are not looked at. */
bool stored_find_nan(struct stored_nan *at, const struct matrix *m);
/* The same of scales and zero points alone. */
bool stored_find_bad_scale(struct stored_nan *at, const struct matrix *m);
size_t stored_count_zero_scales(const struct matrix *m);

#endif
