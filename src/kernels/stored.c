#include "kernels/stored.h"

#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "kernels/ggml_blocks.h"
#include "kernels/integers.h"
#include "kernels/small_floats.h"

struct stored_block stored_block(const struct matrix *m)
{
    const struct ggml_block_type *ggml = ggml_block_type(m->dtype);
    if (ggml)
        return (struct stored_block){ 1, ggml->columns };
    switch (m->dtype) {
    case DTYPE_MXFP4: return (struct stored_block){ 1, MXFP4_BLOCK };
    default:          return (struct stored_block){ m->block_rows, m->block_cols };
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
    return m->dtype == DTYPE_BF16 || m->dtype == DTYPE_MXFP4 || m->dtype == DTYPE_MXFP8
        || m->dtype == DTYPE_MXFP6_E2M3 || m->dtype == DTYPE_MXFP6_E3M2
        || m->dtype == DTYPE_GGML_MXFP4 || m->dtype == DTYPE_GGML_NVFP4
        || (m->dtype == DTYPE_FP8 && m->scale_dtype == DTYPE_F8_E8M0);
}

bool stored_alike(const struct matrix *a, const struct matrix *b)
{
    return a->dtype == b->dtype && a->scale_dtype == b->scale_dtype
        && a->block_rows == b->block_rows && a->block_cols == b->block_cols
        && a->factor_divides == b->factor_divides && a->zeros == b->zeros
        && !a->bias == !b->bias && !a->factor == !b->factor && !a->zero == !b->zero
        && !a->group == !b->group
        && a->is_signed == b->is_signed && a->row_order == b->row_order
        && a->col_order == b->col_order && a->one_added == b->one_added
        && a->is_rate == b->is_rate;
}

static size_t divide_up(size_t n, size_t by)
{
    return (n + by - 1) / by;
}

/* Of a transposed matrix, the share of a row. */
size_t stored_row_bytes(const struct matrix *m)
{
    const struct ggml_block_type *ggml = ggml_block_type(m->dtype);
    unsigned bits = integers_bits(m);
    if (ggml)
        return m->cols / ggml->columns * ggml->bytes;
    if (bits)
        return m->is_signed ? m->cols : m->dtype == DTYPE_AWQ4 ? m->cols / 2
                                                                : divide_up(m->cols * bits, 32) * 4;
    switch (m->dtype) {
    case DTYPE_MXFP4:
    case DTYPE_NVFP4:      return m->cols / 2;
    case DTYPE_MXFP6_E2M3:
    case DTYPE_MXFP6_E3M2: return m->cols / 4 * 3;
    case DTYPE_FP8:
    case DTYPE_MXFP8:      return m->cols;
    default:               return m->cols * dtype_bytes(m->dtype);
    }
}

/* Of a row of scales. */
static size_t scale_row_bytes(const struct matrix *m)
{
    return divide_up(m->cols, stored_block(m).cols)
         * (m->dtype == DTYPE_MXFP4 ? 1 : dtype_bytes(m->scale_dtype));
}

static size_t zero_bytes(const struct matrix *m)
{
    size_t in_word = 32 / integers_bits(m), groups = integers_groups(m);
    return m->is_signed ? divide_up(m->rows, m->block_rows) * groups
                        : divide_up(m->rows, in_word) * groups * 4;
}

size_t stored_span_rows(const struct matrix *m, size_t i)
{
    if (m->row_order || integers_are_transposed(m) || i > 1 + (size_t)(m->bias != NULL))
        return m->rows;
    return i ? stored_block(m).rows : 1;
}

size_t stored_spans(struct stored_span out[STORED_SPANS], const struct matrix *m, size_t first,
                    size_t rows)
{
    if (m->row_order || integers_are_transposed(m)) {
        first = 0;
        rows = m->rows;
    }
    size_t bytes = stored_row_bytes(m), block_rows = stored_block(m).rows, n = 2;
    out[0] = (struct stored_span){ m->data + first * bytes, rows * bytes };
    if (m->dtype == DTYPE_AWQ4)
        out[0].n = m->cols * (m->rows / 8) * 4;
    if (!m->scale)
        return 1;
    size_t scale_bytes = scale_row_bytes(m), begin = first / block_rows;
    size_t end = integers_are_transposed(m) ? m->rows : divide_up(first + rows, block_rows);
    out[1] = (struct stored_span){ m->scale + begin * scale_bytes, (end - begin) * scale_bytes };
    if (m->bias)
        out[n++] = (struct stored_span){ m->bias + begin * scale_bytes, out[1].n };
    if (m->factor)
        out[n++] = (struct stored_span){ m->factor, sizeof(float) };
    if (m->zero)
        out[n++] = (struct stored_span){ m->zero, zero_bytes(m) };
    if (m->group)
        out[n++] = (struct stored_span){ m->group, m->cols * sizeof(int32_t) };
    return n;
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

/* Element i of an array of scales. */
static float scale_value(enum dtype dtype, const uint8_t *scales, size_t i)
{
    uint16_t half;
    float x;
    switch (dtype) {
    case DTYPE_BF16:
    case DTYPE_F16:
        memcpy(&half, scales + 2 * i, sizeof half);
        return dtype == DTYPE_BF16 ? bf16_value(half) : f16_value(half);
    case DTYPE_F8_E8M0:
        return e8m0_value(scales[i]);
    case DTYPE_F8_E4M3:
        return e4m3_value(scales[i]);
    default:
        memcpy(&x, scales + 4 * i, sizeof x);
        return x;
    }
}

float stored_bias(const struct matrix *m, size_t row, size_t col)
{
    return scale_value(m->scale_dtype, m->bias, row * integers_groups(m) + integers_group(m, col));
}

float stored_scale(const struct matrix *m, size_t row, size_t col)
{
    size_t group = integers_group(m, col);
    size_t i = integers_are_transposed(m) ? group * m->rows + row
                                       : row / m->block_rows * integers_groups(m) + group;
    float scale = scale_value(m->scale_dtype, m->scale, i);
    if (!m->factor)
        return scale;
    float factor = scale_value(DTYPE_F32, m->factor, 0);
    return m->factor_divides ? scale / factor : scale * factor;
}

unsigned stored_code6(const struct matrix *m, size_t at)
{
    const uint8_t *four = m->data + at / 4 * 3;
    unsigned word = four[0] | (unsigned)four[1] << 8 | (unsigned)four[2] << 16;
    return word >> 6 * (at % 4) & 63;
}

/* The loop has no exit, so that the compiler can use vectors. */
static bool has_nan_code(const uint8_t *codes, size_t n)
{
    uint8_t found = 0;
    for (size_t i = 0; i < n; i++)
        found |= (uint8_t)((codes[i] & 0x7F) == 0x7F);
    return found;
}

static bool find_nan_code(struct stored_nan *at, const struct matrix *m)
{
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

/* Of all scales: it must be a number, and that of NVFP4 is not negative. */
static bool find_bad_factor(struct stored_nan *at, const struct matrix *m)
{
    if (!m->factor)
        return false;
    float factor = scale_value(DTYPE_F32, m->factor, 0);
    if (isfinite(factor) && factor > 0)
        return false;
    *at = (struct stored_nan){ 2, 0, 0, "a scale that is not a number above 0" };
    return true;
}

static bool find_bad_zero(struct stored_nan *at, const struct matrix *m)
{
    size_t place[2];
    if (!integers_find_zero(place, m))
        return false;
    *at = (struct stored_nan){ 2, place[0], place[1], "a zero point that is not the middle, where"
                                                      " the config says that all are (sym)" };
    return true;
}

/* Is one of n scales bad?  Every pass over the weights asks: no loop has an exit, as above. */
static bool has_bad_scale(const struct matrix *m, size_t n)
{
    uint32_t found = 0, word, all = m->scale_dtype == DTYPE_F16 ? 0x7C00 : 0x7F80;  /* exponents */
    uint16_t half;
    switch (m->scale_dtype) {
    case DTYPE_F8_E8M0:
        return memchr(m->scale, 255, n);
    case DTYPE_F8_E4M3:
        if (m->dtype != DTYPE_NVFP4)
            return has_nan_code(m->scale, n);
        for (size_t i = 0; i < n; i++)
            found |= m->scale[i] >= 0x7F;
        return found;
    case DTYPE_F32:
        for (size_t i = 0; i < n; i++) {
            memcpy(&word, m->scale + i * sizeof word, sizeof word);
            found |= (word & 0x7F800000) == 0x7F800000;
        }
        return found;
    default:
        for (size_t i = 0; i < n; i++) {
            memcpy(&half, m->scale + i * sizeof half, sizeof half);
            found |= (half & all) == all;
        }
        return found;
    }
}

/* Scales as they are stored: [rows, cols] of them. */
static bool find_bad_scales(struct stored_nan *at, const struct matrix *m, size_t rows, size_t cols)
{
    if (!has_bad_scale(m, rows * cols))
        return false;
    for (size_t i = 0; i < rows * cols; i++) {
        float scale = scale_value(m->scale_dtype, m->scale, i);
        if (!isfinite(scale) || (m->dtype == DTYPE_NVFP4 && signbit(scale))) {
            *at = (struct stored_nan){ 1, i / cols, i % cols,
                                       isfinite(scale) ? "a scale that is negative"
                                                       : "a scale that is NaN or infinite" };
            return true;
        }
    }
    return false;
}

static bool find_bad_bias(struct stored_nan *at, const struct matrix *m, const size_t shape[2])
{
    struct matrix biases = *m;
    biases.scale = m->bias;
    if (!m->bias || !find_bad_scales(at, &biases, shape[0], shape[1]))
        return false;
    at->part = 2;
    at->what = "a bias that is NaN or infinite";
    return true;
}

/* Rows and columns of the tensor of scales. */
static void scales_shape(size_t shape[2], const struct matrix *m)
{
    size_t groups = integers_groups(m), rows = divide_up(m->rows, m->block_rows);
    bool down = integers_are_transposed(m);
    shape[0] = down ? groups : rows;
    shape[1] = down ? rows : groups;
}

bool stored_find_bad_scale(struct stored_nan *at, const struct matrix *m)
{
    size_t shape[2];
    const struct ggml_block_type *ggml = ggml_block_type(m->dtype);
    if (ggml)
        return find_nan_ggml(at, m, ggml);
    if (m->dtype == DTYPE_MXFP4)
        return find_nan_mxfp4(at, m);
    if (!dtype_is_packed(m->dtype) || !m->scale)
        return false;
    scales_shape(shape, m);
    return find_bad_factor(at, m) || (integers_bits(m) && find_bad_zero(at, m))
        || find_bad_scales(at, m, shape[0], shape[1]) || find_bad_bias(at, m, shape);
}

size_t stored_count_zero_scales(const struct matrix *m)
{
    size_t shape[2], n = 0;
    if (m->dtype == DTYPE_MXFP4 || !m->scale)
        return 0;
    scales_shape(shape, m);
    for (size_t i = 0; i < shape[0] * shape[1]; i++)
        n += fpclassify(scale_value(m->scale_dtype, m->scale, i)) == FP_ZERO;
    return n;
}

bool stored_find_nan(struct stored_nan *at, const struct matrix *m)
{
    return stored_find_bad_scale(at, m)
        || ((m->dtype == DTYPE_FP8 || m->dtype == DTYPE_MXFP8) && find_nan_code(at, m));
}
