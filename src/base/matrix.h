/* matrix.h - element types, stored formats, and the view of a stored matrix.
 *
 * The one vocabulary that files, kernels and the model share: formats fills a view, kernels read
 * through it.  A view owns nothing; it borrows from the checkpoint's mapping. */
#ifndef SURPRISAL_BASE_MATRIX_H
#define SURPRISAL_BASE_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* F32 to BF16 are both types of a file's tensors and formats of weights.  The packed formats are of
 * weights alone: a packed weight is made of several tensors (formats/weight.h).  The rest are of
 * tensors alone. */
enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_MXFP4,        /* packed: 4-bit codes, a power of two for each 32 of a row */
    DTYPE_FP8,          /* packed: E4M3 codes, a factor for each block of rows and columns */
    DTYPE_MXFP8,        /* packed: E4M3 codes, a power of two for each 32 of a row */
    DTYPE_MXFP6_E2M3,   /* packed: 6-bit codes, the same */
    DTYPE_MXFP6_E3M2,
    DTYPE_NVFP4,        /* packed: 4-bit codes, an E4M3 scale for each 16 of a row, one for all */
    DTYPE_INT2,         /* packed: integers, a factor (and a zero point) for each group of a row */
    DTYPE_INT4,
    DTYPE_INT8,
    DTYPE_GPTQ2,        /* packed: the same, each column of the file a row of the weight */
    DTYPE_GPTQ4,
    DTYPE_GPTQ8,
    DTYPE_AWQ4,         /* packed: the same, eight rows in a word */
    DTYPE_MLX2,         /* packed: integers without gaps, a factor and a bias for each group */
    DTYPE_MLX3,
    DTYPE_MLX4,
    DTYPE_MLX5,
    DTYPE_MLX6,
    DTYPE_MLX8,
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
    /* Of GGUF files, types of tensors and packed formats at once: blocks of a row that hold codes
     * and scales together (kernels/ggml_blocks.h). */
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q8_0,
    DTYPE_Q2_K,
    DTYPE_Q3_K,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
    DTYPE_IQ4_NL,
    DTYPE_IQ4_XS,
    DTYPE_IQ2_XXS,
    DTYPE_IQ2_XS,
    DTYPE_IQ2_S,
    DTYPE_IQ3_XXS,
    DTYPE_IQ3_S,
    DTYPE_IQ1_S,
    DTYPE_IQ1_M,
    DTYPE_TQ2_0,
    DTYPE_Q1_0,
    DTYPE_Q2_0,
    DTYPE_GGML_MXFP4,
    DTYPE_GGML_NVFP4,
    DTYPE_COUNT
};

const char *dtype_name(enum dtype dtype);
size_t dtype_bytes(enum dtype dtype);           /* of one element; 0 for packed formats */
bool dtype_is_float(enum dtype dtype);          /* F32, F16 or BF16 */
bool dtype_is_packed(enum dtype dtype);

/* Rows or columns that a container stores head by head in an order of its own: of [first, first +
 * heads * head_size), head h is stored as the place[h]-th.  All others are stored where they
 * belong. */
struct head_order {
    size_t first, heads, head_size;
    const uint32_t *place;      /* [heads]: a permutation */
};

/* What a zero point of integers is. */
enum zeros {
    ZEROS_HALF,                 /* half of the codes' range, whatever is stored */
    ZEROS_STORED,
    ZEROS_LESS_ONE,             /* what is stored + 1 (GPTQ's first version) */
};

/* [rows, cols] as stored.  The weight of a linear layer is [out_features, in_features].
 * kernels/stored.h says where its bytes are, struct row_kernels what they are worth. */
struct matrix {
    enum dtype dtype;           /* a format of weights */
    const uint8_t *data;        /* values or codes; not necessarily aligned to the element */
    const uint8_t *scale;       /* packed: of blocks of codes, row by row; else NULL */
    size_t rows, cols;
    enum dtype scale_dtype;     /* of scale, unless the format says it */
    size_t block_rows, block_cols;      /* codes that share one */
    const uint8_t *bias;        /* MLX: as many as scales, of their type */
    const uint8_t *factor;      /* NVFP4: F32, of all scales; NULL: 1 */
    bool factor_divides;
    const uint8_t *zero;        /* integers: zero points; NULL: there are none */
    enum zeros zeros;
    const uint8_t *group;       /* integers: I32 [cols], the group of each column; NULL: they
                                   follow each other */
    bool is_signed;             /* integers: codes and zero points are I8 */
    const struct head_order *row_order, *col_order;     /* NULL: in their order */
    bool one_added;             /* of a norm: the values are 1 + w, where others store w */
    bool is_rate;               /* of A_log: the values are -exp(A_log) */
};

#endif
