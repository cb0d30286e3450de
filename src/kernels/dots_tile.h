/* dots_tile.h - the loops of struct dots_tile (dots.h), for vectors of any width.
 *
 * The file that includes it defines before that: vec, a vector of VEC f32; vec_load and vec_store;
 * vec_add_product(sum, w, x), fused; vec_keep(x), which keeps x in a register (GCC would load it
 * once for each product, and loads are what limits the loop); vec_high and vec_low, the upper and
 * the lower halves of VEC words as f32; TILE_WEIGHTS and TILE_ROWS, how many rows of weights and of
 * x are in a tile; and STORED_ROWS, how many of x with weights that are widened in it. */
#ifndef SURPRISAL_KERNELS_DOTS_TILE_H
#define SURPRISAL_KERNELS_DOTS_TILE_H

#include "base/memory.h"
#include "kernels/dots.h"

enum { PARTS = DOTS_LANES / VEC, BLOCK_BYTES = DOTS_BLOCK * 4, STORED_BYTES = DOTS_BLOCK * 2 };

/* VEC lanes of a block of weights: of its odd columns or its even ones. */
static inline __attribute__((always_inline)) vec
weights_at(const uint8_t *block, bool stored, bool odd, size_t lane)
{
    const uint8_t *word = block + 4 * lane;
    return stored ? (odd ? vec_high : vec_low)(word)
                  : vec_load((const float *)(const void *)(odd ? word : word + BLOCK_BYTES / 2));
}

/* Adds VEC lanes of a block, of m weights' rows and n of x. */
static inline __attribute__((always_inline)) void
add_lanes(vec sum[DOTS_GROUP][TILE_ROWS][PARTS], size_t part, bool odd, const uint8_t *w,
          size_t ldw, size_t m, const char *x, size_t ldx, size_t n, bool stored)
{
    vec weight[DOTS_GROUP];
#pragma GCC unroll 4
    for (size_t i = 0; i < m; i++)
        weight[i] = weights_at(w + i * ldw, stored, odd, part * VEC);
#pragma GCC unroll 8
    for (size_t j = 0; j < n; j++) {
        vec at = vec_load((const float *)(const void *)(x + j * ldx) + (odd ? 0 : DOTS_LANES)
                          + part * VEC);
        if (m > 1)
            vec_keep(&at);
#pragma GCC unroll 4
        for (size_t i = 0; i < m; i++)
            sum[i][j][part] = vec_add_product(sum[i][j][part], weight[i], at);
    }
}

/* Rows [i, i + m) of the weights with rows [j, j + n) of x; m, n and stored are constant.  Stored
 * weights are prefetched while the first rows of x meet those before them. */
static inline __attribute__((always_inline)) void
add_tile(const struct dots_piece *p, size_t i, size_t m, size_t j, size_t n, bool stored)
{
    vec sum[DOTS_GROUP][TILE_ROWS][PARTS];
    const uint8_t *w = p->weights + i * p->ld_weights;
    const char *x = p->x + j * p->ldx;
    const uint8_t *next = p->prefetch.at + i * p->prefetch.ld;
    bool prefetches = stored && j == 0;
    float *sums = p->sums + (i * p->n + j) * DOTS_LANES;
#pragma GCC unroll 4
    for (size_t a = 0; a < m; a++)
#pragma GCC unroll 8
        for (size_t b = 0; b < n; b++)
#pragma GCC unroll 4
            for (size_t part = 0; part < PARTS; part++)
                sum[a][b][part] = vec_load(sums + (a * p->n + b) * DOTS_LANES + part * VEC);
    for (size_t block = 0; block < p->blocks; block++) {
#pragma GCC unroll 4
        for (size_t a = 0; prefetches && a < m; a++)
            __builtin_prefetch(next + block * STORED_BYTES + a * p->prefetch.ld);
#pragma GCC unroll 4
        for (size_t part = 0; part < PARTS; part++) {
            add_lanes(sum, part, true, w, p->ld_weights, m, x, p->ldx, n, stored);
            add_lanes(sum, part, false, w, p->ld_weights, m, x, p->ldx, n, stored);
        }
        w += stored ? STORED_BYTES : BLOCK_BYTES;
        x += BLOCK_BYTES;
    }
#pragma GCC unroll 4
    for (size_t a = 0; a < m; a++)
#pragma GCC unroll 8
        for (size_t b = 0; b < n; b++)
#pragma GCC unroll 4
            for (size_t part = 0; part < PARTS; part++)
                vec_store(sums + (a * p->n + b) * DOTS_LANES + part * VEC, sum[a][b][part]);
}

/* What is left to prefetch, and how much of it with each tile: lines of every row. */
struct prefetching {
    const uint8_t *at;
    size_t left, step;
};

static struct prefetching prefetching_of(const struct dots_piece *p)
{
    enum { LINE = 64 };
    size_t lines = (p->prefetch.bytes + LINE - 1) / LINE;
    if (p->stored)                  /* add_tile does it */
        return (struct prefetching){ 0 };
    size_t tiles = (p->n + TILE_ROWS - 1) / TILE_ROWS * (DOTS_GROUP / TILE_WEIGHTS);
    return (struct prefetching){ p->prefetch.at, lines, (lines + tiles - 1) / tiles };
}

static inline void prefetch_part(struct prefetching *f, const struct dots_prefetch *p)
{
    enum { LINE = 64 };
    size_t n = size_min(f->step, f->left);
    f->left -= n;
    for (; n > 0; n--, f->at += LINE)
        for (size_t row = 0; row < p->rows; row++)
            __builtin_prefetch(f->at + row * p->ld);
}

/* All weights with rows [j, j + n) of x; a single row takes as many weights as there are. */
static inline __attribute__((always_inline)) void
add_rows(const struct dots_piece *p, size_t j, size_t n, bool stored, struct prefetching *f)
{
    const size_t m = n == 1 ? DOTS_GROUP : TILE_WEIGHTS;
    size_t i = 0;
    for (; i + m <= p->n_weights; i += m) {
        prefetch_part(f, &p->prefetch);
        add_tile(p, i, m, j, n, stored);
    }
    for (; i < p->n_weights; i++)
        add_tile(p, i, 1, j, n, stored);
}

static inline __attribute__((always_inline)) void add_all(const struct dots_piece *p, bool stored)
{
    const size_t most = stored ? STORED_ROWS : TILE_ROWS;
    struct prefetching f = prefetching_of(p);
    size_t j = 0;
    for (; j + most <= p->n; j += most)
        add_rows(p, j, most, stored, &f);
#pragma GCC unroll 8
    for (size_t rows = 1; rows < most; rows++)
        if (p->n - j == rows)
            add_rows(p, j, rows, stored, &f);
}

static void multiply(const struct dots_piece *p)
{
    if (p->stored)
        add_all(p, true);
    else
        add_all(p, false);
}

static void widen(void *to, const uint8_t *values, size_t blocks)
{
    float *out = to;
    for (size_t i = 0; i < blocks; i++, out += DOTS_BLOCK, values += STORED_BYTES)
#pragma GCC unroll 4
        for (size_t lane = 0; lane < DOTS_LANES; lane += VEC) {
            vec_store(out + lane, vec_high(values + 4 * lane));
            vec_store(out + DOTS_LANES + lane, vec_low(values + 4 * lane));
        }
}

static void arrange(void *to, const float *x, size_t n)
{
    float *out = to;
    size_t whole = n / DOTS_BLOCK * DOTS_BLOCK;
    for (size_t c = 0; c < whole; c += DOTS_BLOCK)
        for (size_t i = 0; i < DOTS_LANES; i++) {
            out[c + i] = x[c + 2 * i + 1];
            out[c + DOTS_LANES + i] = x[c + 2 * i];
        }
    for (size_t i = 0; whole < n && i < DOTS_LANES; i++) {
        out[whole + i] = whole + 2 * i + 1 < n ? x[whole + 2 * i + 1] : 0;
        out[whole + DOTS_LANES + i] = whole + 2 * i < n ? x[whole + 2 * i] : 0;
    }
}

#endif
