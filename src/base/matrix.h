/* matrix.h - element types and the view of a stored matrix.
 *
 * The one vocabulary that files, kernels and the model share: formats fills a view, kernels
 * read through it.  A view owns nothing; it borrows from the checkpoint's mapping. */
#ifndef SURPRISAL_BASE_MATRIX_H
#define SURPRISAL_BASE_MATRIX_H

#include <stddef.h>
#include <stdint.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_MXFP4,        /* only in matrices: 4-bit codes and a scale byte for 32 of them */
    DTYPE_F64,
    DTYPE_I64,
    DTYPE_I32,
    DTYPE_I16,
    DTYPE_I8,
    DTYPE_U64,
    DTYPE_U32,
    DTYPE_U16,
    DTYPE_U8,
    DTYPE_BOOL,
    DTYPE_F8_E4M3,
    DTYPE_F8_E5M2,
    DTYPE_F8_E8M0,
    DTYPE_COUNT
};

/* Row-major [rows, cols]: the weight of a linear layer is [out_features, in_features].
 *
 * MXFP4 (OCP Microscaling 1.0, compressed-tensors `mxfp4-pack-quantized`): data is
 * [rows, cols / 2], byte i of a row holding column 2i in its low nibble and 2i + 1 in its high
 * one; scale is [rows, cols / 32].  A value is E2M1[code] * 2^(scale - 127). */
struct matrix {
    enum dtype dtype;           /* F32, F16, BF16 or MXFP4 */
    const uint8_t *data;        /* not necessarily aligned to the element */
    const uint8_t *scale;       /* MXFP4 only, else NULL */
    size_t rows, cols;
};

#define MXFP4_BLOCK ((size_t)32)    /* columns that share a scale byte */

/* Of a row in data. */
static inline size_t matrix_row_bytes(const struct matrix *m)
{
    return m->dtype == DTYPE_MXFP4 ? m->cols / 2 : m->dtype == DTYPE_F32 ? m->cols * 4 : m->cols * 2;
}

#endif
