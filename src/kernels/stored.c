#include "kernels/stored.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

struct stored_block stored_block(const struct matrix *m)
{
    return m->dtype == DTYPE_MXFP4 ? (struct stored_block){ 1, MXFP4_BLOCK }
                                   : (struct stored_block){ 0, 0 };
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
    return m->dtype == DTYPE_BF16 || m->dtype == DTYPE_MXFP4;
}

bool stored_alike(const struct matrix *a, const struct matrix *b)
{
    return a->dtype == b->dtype && a->row_order == b->row_order && a->col_order == b->col_order
        && a->one_added == b->one_added;
}

size_t stored_row_bytes(const struct matrix *m)
{
    return m->dtype == DTYPE_MXFP4 ? m->cols / 2 : m->cols * dtype_bytes(m->dtype);
}

size_t stored_spans(struct stored_span out[STORED_SPANS], const struct matrix *m, size_t first,
                    size_t rows)
{
    if (m->row_order) {
        first = 0;
        rows = m->rows;
    }
    size_t bytes = stored_row_bytes(m), scales = m->scale ? m->cols / MXFP4_BLOCK : 0;
    out[0] = (struct stored_span){ m->data + first * bytes, rows * bytes };
    if (m->scale)
        out[1] = (struct stored_span){ m->scale + first * scales, rows * scales };
    return m->scale ? 2 : 1;
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

bool stored_find_nan(struct stored_nan *at, const struct matrix *m)
{
    size_t scales = m->cols / MXFP4_BLOCK;
    const uint8_t *nan = m->scale ? memchr(m->scale, 255, m->rows * scales) : NULL;
    if (nan) {
        size_t i = (size_t)(nan - m->scale);
        *at = (struct stored_nan){ 1, i / scales, i % scales,
                                   "scale byte 255, which is NaN" };
    }
    return nan;
}
