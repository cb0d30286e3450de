#include "kernels/integers.h"

#include "base/memory.h"

#define WORD ((size_t)4)                /* bytes */

unsigned integers_bits(const struct matrix *m)
{
    switch (m->dtype) {
    case DTYPE_INT2:
    case DTYPE_GPTQ2:
    case DTYPE_MLX2:  return 2;
    case DTYPE_MLX3:  return 3;
    case DTYPE_INT4:
    case DTYPE_GPTQ4:
    case DTYPE_AWQ4:
    case DTYPE_MLX4:  return 4;
    case DTYPE_MLX5:  return 5;
    case DTYPE_MLX6:  return 6;
    case DTYPE_INT8:
    case DTYPE_GPTQ8:
    case DTYPE_MLX8:  return 8;
    default:          return 0;
    }
}

bool integers_have_biases(const struct matrix *m)
{
    return m->dtype >= DTYPE_MLX2 && m->dtype <= DTYPE_MLX8;
}

bool integers_are_transposed(const struct matrix *m)
{
    return m->dtype == DTYPE_GPTQ2 || m->dtype == DTYPE_GPTQ4 || m->dtype == DTYPE_GPTQ8
        || m->dtype == DTYPE_AWQ4;
}

size_t integers_groups(const struct matrix *m)
{
    return m->cols / m->block_cols + (m->cols % m->block_cols != 0);
}

size_t integers_group(const struct matrix *m, size_t col)
{
    return m->group ? integers_word(m->group + col * WORD) : col / m->block_cols;
}

static size_t words_of(const struct matrix *m, size_t n)
{
    size_t in_word = 32 / integers_bits(m);
    return n / in_word + (n % in_word != 0);
}

/* The bits of row 8w + k of AWQ's words: P's inverse. */
static unsigned awq_shift(size_t row)
{
    return 4 * (unsigned)(row % 2 * 4 + row % 8 / 2);
}

const uint8_t *integers_row(size_t *stride, unsigned *shift, const struct matrix *m, size_t row)
{
    *stride = 1;
    *shift = 0;
    if (m->is_signed)
        return m->data + row * m->cols;
    if (m->dtype == DTYPE_AWQ4) {
        *stride = m->rows / 8;
        *shift = awq_shift(row);
        return m->data + row / 8 * WORD;
    }
    if (integers_are_transposed(m)) {
        *stride = m->rows;
        return m->data + row * WORD;
    }
    if (integers_have_biases(m))
        return m->data + row * (m->cols / 8 * integers_bits(m));
    return m->data + row * words_of(m, m->cols) * WORD;
}

size_t integers_group_end(const struct matrix *m, size_t col, size_t end)
{
    if (!m->group)
        return size_min(end, (col / m->block_cols + 1) * m->block_cols);
    size_t group = integers_group(m, col);
    do
        col++;
    while (col < end && integers_group(m, col) == group);
    return col;
}

/* The word of zero points that has this row's, in a column's group; *field: which one it is. */
static uint32_t zero_word(size_t *field, const struct matrix *m, size_t row, size_t group)
{
    size_t in_word = 32 / integers_bits(m), groups = integers_groups(m);
    size_t at = integers_are_transposed(m) ? group * words_of(m, m->rows) + row / in_word
                                        : row / in_word * groups + group;
    *field = m->dtype == DTYPE_AWQ4 ? awq_shift(row) / 4 : row % in_word;
    return integers_word(m->zero + at * WORD);
}

int integers_zero(const struct matrix *m, size_t row, size_t col)
{
    unsigned bits = integers_bits(m), most = (1u << bits) - 1;
    size_t field, group = integers_group(m, col);
    if (m->zeros == ZEROS_HALF)
        return 1 << (bits - 1);
    if (m->is_signed)
        return (m->zero[row / m->block_rows * integers_groups(m) + group] ^ 0x80);
    uint32_t word = zero_word(&field, m, row, group);
    if (m->zeros == ZEROS_LESS_ONE)
        word += UINT32_MAX / most;              /* 1 in each field */
    return (int)(word >> bits * field & most);
}

int integers_code(const struct matrix *m, size_t row, size_t col)
{
    unsigned bits = integers_bits(m), shift;
    size_t stride, in_word = 32 / bits;
    const uint8_t *data = integers_row(&stride, &shift, m, row);
    if (m->is_signed)
        return data[col] ^ 0x80;
    if (integers_have_biases(m)) {
        size_t at = col * bits / 8, last = (col * bits + bits - 1) / 8;
        return (data[at] | data[last] << 8) >> col * bits % 8 & ((1 << bits) - 1);
    }
    if (m->dtype == DTYPE_AWQ4)
        return (int)(integers_word(data + col * stride * WORD) >> shift & 15);
    uint32_t word = integers_word(data + col / in_word * stride * WORD);
    return (int)(word >> bits * (col % in_word) & ((1u << bits) - 1));
}

/* A symmetric quantizer writes half of the range, or that less one; its readers ignore which. */
bool integers_find_zero(size_t at[2], const struct matrix *m)
{
    if (m->zeros != ZEROS_HALF || !m->zero)
        return false;
    unsigned bits = integers_bits(m), most = (1u << bits) - 1, half = 1u << (bits - 1);
    size_t field;
    unsigned first = zero_word(&field, m, 0, 0) & most;
    for (size_t g = 0; g < integers_groups(m); g++)
        for (size_t row = 0; row < m->rows; row++) {
            unsigned zero = zero_word(&field, m, row, g) >> bits * field & most;
            if (zero == first && (zero == half || zero == half - 1))
                continue;
            at[0] = integers_are_transposed(m) ? g : row;
            at[1] = integers_are_transposed(m) ? row : g;
            return true;
        }
    return false;
}
