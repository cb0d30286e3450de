/* expand_integers.h - rows of integers (kernels/integers.h) to f32, as loops that the compiler
 * vectorises; for rows.c, which is compiled for each instruction set. */
#ifndef SURPRISAL_KERNELS_EXPAND_INTEGERS_H
#define SURPRISAL_KERNELS_EXPAND_INTEGERS_H

#include <string.h>

#include "kernels/integers.h"
#include "kernels/stored.h"

/* Codes of one group. */
struct run {
    const uint8_t *data;
    size_t stride;                  /* words from one to the next */
    int zero;
    float scale, bias;
};

static inline float integer_value(uint32_t code, const struct run *r)
{
    return (float)((int)code - r->zero) * r->scale;
}

/* Columns [first, first + n), in words of 32 / bits codes; bits is constant. */
static inline __attribute__((always_inline)) void
expand_words(float *restrict out, const struct run *r, size_t first, size_t n, const unsigned bits)
{
    const size_t in_word = 32 / bits;
    const uint32_t most = (1u << bits) - 1;
    const struct run here = *r;
    size_t i = 0;
    while (i < n) {
        size_t at = (first + i) / in_word, from = (first + i) % in_word;
        uint32_t word = integers_word(here.data + at * here.stride * 4);
        if (from == 0 && n - i >= in_word) {
            for (unsigned j = 0; j < in_word; j++)
                out[i + j] = integer_value(word >> bits * j & most, &here);
            i += in_word;
            continue;
        }
        for (; from < in_word && i < n; from++, i++)
            out[i] = integer_value(word >> bits * from & most, &here);
    }
}

static void expand_bytes(float *restrict out, const struct run *r, size_t first, size_t n,
                         uint8_t flip)
{
    const struct run here = *r;
    for (size_t i = 0; i < n; i++)
        out[i] = integer_value(here.data[first + i] ^ flip, &here);
}

static void expand_awq(float *restrict out, const struct run *r, size_t first, size_t n,
                       unsigned shift)
{
    const struct run here = *r;
    for (size_t i = 0; i < n; i++) {
        uint32_t word = integers_word(here.data + (first + i) * here.stride * 4);
        out[i] = integer_value(word >> shift & 15, &here);
    }
}

static void expand_run(float *out, const struct matrix *w, const struct run *r, size_t first,
                       size_t n, unsigned shift)
{
    if (w->dtype == DTYPE_INT8)     /* bytes in a row, whatever they are counted as */
        expand_bytes(out, r, first, n, w->is_signed ? 0x80 : 0);
    else if (w->dtype == DTYPE_AWQ4)
        expand_awq(out, r, first, n, shift);
    else if (integers_bits(w) == 2)
        expand_words(out, r, first, n, 2);
    else if (integers_bits(w) == 4)
        expand_words(out, r, first, n, 4);
    else
        expand_words(out, r, first, n, 8);
}

/* Eight codes of MLX at a time, in two words of four: a group has whole bytes. */
static inline __attribute__((always_inline)) void
expand_stream(float *restrict out, const struct run *r, size_t first, size_t n, const unsigned bits)
{
    const uint32_t most = (1u << bits) - 1;
    const struct run here = *r;
    const uint8_t *data = here.data + first / 8 * bits;
    for (size_t i = 0; i < n; i += 8, data += bits) {
        uint64_t all = 0;
        memcpy(&all, data, bits);
        uint32_t low = (uint32_t)all, high = (uint32_t)(all >> 4 * bits);
        for (unsigned j = 0; j < 4; j++) {
            out[i + j] = (float)(int)(low >> bits * j & most) * here.scale + here.bias;
            out[i + 4 + j] = (float)(int)(high >> bits * j & most) * here.scale + here.bias;
        }
    }
}

static void expand_biased(float *out, const struct matrix *w, const struct run *r, size_t first,
                          size_t n)
{
    switch (integers_bits(w)) {
    case 2:  expand_stream(out, r, first, n, 2); break;
    case 3:  expand_stream(out, r, first, n, 3); break;
    case 4:  expand_stream(out, r, first, n, 4); break;
    case 5:  expand_stream(out, r, first, n, 5); break;
    case 6:  expand_stream(out, r, first, n, 6); break;
    default: expand_stream(out, r, first, n, 8);
    }
}

static void expand_integers(float *out, const struct matrix *w, size_t row, size_t first, size_t n)
{
    struct run r;
    unsigned shift;
    r.data = integers_row(&r.stride, &shift, w, row);
    for (size_t at = first, end; at < first + n; at = end) {
        end = integers_group_end(w, at, first + n);
        r.scale = stored_scale(w, row, at);
        if (w->bias) {
            r.bias = stored_bias(w, row, at);
            expand_biased(out + (at - first), w, &r, at, end - at);
            continue;
        }
        r.zero = integers_zero(w, row, at);
        expand_run(out + (at - first), w, &r, at, end - at, shift);
    }
}

#endif
