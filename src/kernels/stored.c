#include "kernels/stored.h"

#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "kernels/ggml_blocks.h"

struct stored_block stored_block(const struct matrix *m)
{
    const struct ggml_block_type *ggml = ggml_block_type(m->dtype);
    if (ggml)
        return (struct stored_block){ 1, ggml->columns };
    switch (m->dtype) {
    case DTYPE_MXFP4: return (struct stored_block){ 1, MXFP4_BLOCK };
    case DTYPE_FP8:   return (struct stored_block){ m->block_rows, m->block_cols };
    default:          return (struct stored_block){ 0, 0 };
    }
}

float stored_largest_code(const struct matrix *m)
{
    return m->dtype == DTYPE_MXFP4 ? 6 : 0;
}

struct stored_codes stored_codes(const struct matrix *m, size_t row, size_t col)
{
    static const float magnitudes[8] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6 };
    size_t at = row * m->cols + col;
    const uint8_t *codes = m->data + at / 2;
    uint8_t e = m->scale[at / MXFP4_BLOCK];
    struct stored_codes c = { .scale = e == 255 ? NAN : ldexpf(1, e - 127) };
    unsigned largest = 0;
    for (size_t i = 0; i < MXFP4_BLOCK / 2; i++) {
        unsigned low = codes[i] & 7u, high = codes[i] >> 4 & 7u;
        largest = low > largest ? low : largest;
        largest = high > largest ? high : largest;
        c.n_largest += (size_t)(low == 7) + (size_t)(high == 7);
    }
    c.largest = magnitudes[largest];
    return c;
}

bool stored_exact_in_bf16(const struct matrix *m)
{
    /* An MXFP4 value, a code times a power of two, is exact in BF16, also if denormal. */
    return m->dtype == DTYPE_BF16 || m->dtype == DTYPE_MXFP4 || m->dtype == DTYPE_GGML_MXFP4
        || m->dtype == DTYPE_GGML_NVFP4
        || (m->dtype == DTYPE_FP8 && m->scale_dtype == DTYPE_F8_E8M0);
}

bool stored_alike(const struct matrix *a, const struct matrix *b)
{
    return a->dtype == b->dtype && a->scale_dtype == b->scale_dtype
        && a->block_rows == b->block_rows && a->block_cols == b->block_cols
        && a->row_order == b->row_order && a->col_order == b->col_order
        && a->one_added == b->one_added && a->is_rate == b->is_rate;
}

size_t stored_row_bytes(const struct matrix *m)
{
    const struct ggml_block_type *ggml = ggml_block_type(m->dtype);
    if (ggml)
        return m->cols / ggml->columns * ggml->bytes;
    switch (m->dtype) {
    case DTYPE_MXFP4: return m->cols / 2;
    case DTYPE_FP8:   return m->cols;
    default:          return m->cols * dtype_bytes(m->dtype);
    }
}

static size_t divide_up(size_t n, size_t by)
{
    return (n + by - 1) / by;
}

/* Of a row of scales. */
static size_t scale_row_bytes(const struct matrix *m)
{
    return divide_up(m->cols, stored_block(m).cols)
         * (m->dtype == DTYPE_FP8 ? dtype_bytes(m->scale_dtype) : 1);
}

size_t stored_spans(struct stored_span out[STORED_SPANS], const struct matrix *m, size_t first,
                    size_t rows)
{
    if (m->row_order) {
        first = 0;
        rows = m->rows;
    }
    size_t bytes = stored_row_bytes(m), block_rows = stored_block(m).rows;
    out[0] = (struct stored_span){ m->data + first * bytes, rows * bytes };
    if (!m->scale)
        return 1;
    size_t scale_bytes = scale_row_bytes(m), begin = first / block_rows;
    size_t end = divide_up(first + rows, block_rows);
    out[1] = (struct stored_span){ m->scale + begin * scale_bytes, (end - begin) * scale_bytes };
    return 2;
}

/* Where element i is stored, and how many after it follow it there. */
static size_t place_of(size_t *run, const struct head_order *o, size_t i, size_t n)
{
    size_t end = o ? o->first + o->heads * o->head_size : 0;
    if (!o || i >= end || i < o->first) {
        *run = o && i < o->first ? size_min(n, o->first - i) : n;
        return i;
    }
    size_t head = (i - o->first) / o->head_size, at = (i - o->first) % o->head_size;
    *run = size_min(n, o->head_size - at);
    return o->first + o->place[head] * o->head_size + at;
}

void stored_expand_ordered(stored_expand_fn *expand, float *out, const struct matrix *m, size_t row,
                           size_t first, size_t n)
{
    enum { PIECE = 512 };               /* columns, in whole blocks of every format */
    struct matrix plain = *m;
    float buffer[PIECE];
    size_t run, block = size_max(stored_block(m).cols, 1);
    plain.row_order = plain.col_order = NULL;
    row = place_of(&run, m->row_order, row, 1);
    for (size_t i = 0; i < n; i += run) {
        size_t at = place_of(&run, m->col_order, first + i, n - i), begin = at / block * block;
        run = size_min(run, PIECE - (at - begin));
        size_t end = size_min(m->cols, (at + run + block - 1) / block * block);
        expand(buffer, &plain, row, begin, end - begin);
        memcpy(out + i, buffer + (at - begin), run * sizeof *out);
    }
}

static bool find_nan_mxfp4(struct stored_nan *at, const struct matrix *m)
{
    size_t scales = m->cols / MXFP4_BLOCK;
    const uint8_t *nan = m->scale ? memchr(m->scale, 255, m->rows * scales) : NULL;
    if (nan) {
        size_t i = (size_t)(nan - m->scale);
        *at = (struct stored_nan){ 1, i / scales, i % scales, "scale byte 255, which is NaN" };
    }
    return nan;
}

float stored_scale(const struct matrix *m, size_t row, size_t col)
{
    size_t block_cols = divide_up(m->cols, m->block_cols);
    size_t i = row / m->block_rows * block_cols + col / m->block_cols;
    uint16_t half;
    float x;
    switch (m->scale_dtype) {
    case DTYPE_BF16:
        memcpy(&half, m->scale + 2 * i, sizeof half);
        return bf16_value(half);
    case DTYPE_F8_E8M0:
        return m->scale[i] == 255 ? NAN : ldexpf(1, m->scale[i] - 127);
    default:
        memcpy(&x, m->scale + 4 * i, sizeof x);
        return x;
    }
}

/* The loop has no exit, so that the compiler can use vectors. */
static bool has_nan_code(const uint8_t *codes, size_t n)
{
    uint8_t found = 0;
    for (size_t i = 0; i < n; i++)
        found |= (uint8_t)((codes[i] & 0x7F) == 0x7F);
    return found;
}

static bool find_nan_fp8(struct stored_nan *at, const struct matrix *m)
{
    for (size_t row = 0; row < m->rows; row += m->block_rows)
        for (size_t col = 0; col < m->cols; col += m->block_cols)
            if (!isfinite(stored_scale(m, row, col))) {
                *at = (struct stored_nan){ 1, row / m->block_rows, col / m->block_cols,
                                           "a scale that is NaN or infinite" };
                return true;
            }
    for (size_t row = 0; row < m->rows; row++) {
        const uint8_t *codes = m->data + row * m->cols;
        if (!has_nan_code(codes, m->cols))
            continue;
        size_t col = 0;
        while ((codes[col] & 0x7F) != 0x7F)
            col++;
        *at = (struct stored_nan){ 0, row, col, codes[col] & 0x80 ? "code 255, which is NaN"
                                                                  : "code 127, which is NaN" };
        return true;
    }
    return false;
}

static bool find_nan_ggml(struct stored_nan *at, const struct matrix *m,
                          const struct ggml_block_type *t)
{
    size_t blocks = m->cols / t->columns;
    for (size_t i = 0; i < m->rows * blocks; i++) {
        const char *what = ggml_block_fault(m->dtype, m->data + i * t->bytes);
        if (!what)
            continue;
        *at = (struct stored_nan){ 0, i / blocks, i % blocks * t->columns, what };
        return true;
    }
    return false;
}

bool stored_find_nan(struct stored_nan *at, const struct matrix *m)
{
    const struct ggml_block_type *ggml = ggml_block_type(m->dtype);
    if (ggml)
        return find_nan_ggml(at, m, ggml);
    switch (m->dtype) {
    case DTYPE_MXFP4: return find_nan_mxfp4(at, m);
    case DTYPE_FP8:   return find_nan_fp8(at, m);
    default:          return false;
    }
}
