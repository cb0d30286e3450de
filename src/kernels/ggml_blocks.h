/* ggml_blocks.h - the types of GGUF files: blocks of a row that hold codes and scales together.
 *
 * A row is cols / block blocks, one after the other, rows one after the other.  Layouts and values
 * are those of ggml (https://github.com/ggml-org/ggml, ggml-common.h and dequantize_row_* of
 * ggml-quants.c).  A value is the formula's, rounded once to f32.  Only Q4_1, Q5_1, Q2_K, Q4_K and
 * Q5_K round at all, in the one sum of exact products that each has.
 *
 * One definition differs from ggml's: scale byte 255 of MXFP4 is NaN here, 2^128 there. */
#ifndef SURPRISAL_KERNELS_GGML_BLOCKS_H
#define SURPRISAL_KERNELS_GGML_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/matrix.h"

#define GGML_BLOCK_MOST ((size_t)256)   /* columns of a block */

struct ggml_block_type {
    uint32_t id;                        /* in files */
    size_t columns, bytes;              /* of a block */
    float (*value)(const uint8_t *block, size_t i);
};

/* NULL: it is none of these. */
const struct ggml_block_type *ggml_block_type(enum dtype dtype);
/* Element `at` of a matrix, counted row by row. */
float ggml_block_value(enum dtype dtype, const uint8_t *data, size_t at);
/* What makes a block not finite ("a scale that is NaN or infinite"); NULL: nothing. */
const char *ggml_block_fault(enum dtype dtype, const uint8_t *block);

#endif
