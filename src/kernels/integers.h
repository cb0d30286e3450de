/* integers.h - weights that are stored as integers of 2 to 8 bits.
 *
 * A value is (code - zero) * scale, rounded once to f32: exact when the scale is F16 or BF16.
 * Each row has a scale, and perhaps a zero point, for each group of columns.  Words are 32 bits,
 * n = 32 / bits codes each, the first in the lowest bits:
 *
 *     INT    compressed-tensors: words along a row, [rows, cols / n]; scale [rows / block_rows,
 *            groups]; zero [rows / n, groups], words along the rows
 *     INT8   with is_signed: codes are I8 [rows, cols], zero points I8, as many as scales
 *     GPTQ   words along a row, but one row's after another's: [cols / n, rows]; scale [groups,
 *            rows]; zero [groups, rows / n].  Its first version stores zero - 1, subtracted from
 *            whole words: what a field borrows from the next one comes back when 1 is added to
 *            whole words (gptqmodel, convert_gptq_v1_to_v2_format_module)
 *     AWQ    words of eight rows, [cols, rows / 8]; row 8w + P[k] is in bits 4k, P = 0 2 4 6 1 3 5
 *            7 (autoawq, WQLinear_GEMM); scale [groups, rows]; zero [groups, rows / 8], in the same
 *            order
 *     MLX    a stream of bits along a row without gaps, [rows, cols bits / 32]; scale and bias F16
 *            or BF16 [rows, groups].  A value is code * scale + bias: the product is exact (mlx,
 *            mx.dequantize, mode "affine") */
#ifndef SURPRISAL_KERNELS_INTEGERS_H
#define SURPRISAL_KERNELS_INTEGERS_H

#include "base/matrix.h"

#define MLX_GROUP ((size_t)32)      /* the smallest that mlx writes; others are multiples */

unsigned integers_bits(const struct matrix *m);     /* of a code; 0: it is another format */
bool integers_have_biases(const struct matrix *m);  /* MLX's; the others may have zero points */
/* Whether what a row is made of is spread over all of the tensors. */
bool integers_are_transposed(const struct matrix *m);
/* How many groups of columns have a scale, which one a column is in (any format with blocks), and
 * the first column after col, at most end, that is in another. */
size_t integers_groups(const struct matrix *m);
size_t integers_group(const struct matrix *m, size_t col);
size_t integers_group_end(const struct matrix *m, size_t col, size_t end);
/* Where the codes of a row are: the word of its first columns, and words from there to the next
 * one's.  AWQ: a column each, *shift being where the row's bits are in it. */
const uint8_t *integers_row(size_t *stride, unsigned *shift, const struct matrix *m, size_t row);
int integers_code(const struct matrix *m, size_t row, size_t col);
int integers_zero(const struct matrix *m, size_t row, size_t col);
/* Whether some zero point is not the middle of the range, where the config says that all are: at
 * [row, col] of its tensor. */
bool integers_find_zero(size_t at[2], const struct matrix *m);

static inline uint32_t integers_word(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

#endif
