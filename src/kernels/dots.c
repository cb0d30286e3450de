#include "kernels/dots.h"

#include <assert.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"

static size_t block_bytes(const struct dots_tile *tile)
{
    return DOTS_BLOCK * (tile->pairs ? sizeof(uint16_t) : sizeof(float));
}

static size_t blocks_of(size_t cols)
{
    return (cols + DOTS_BLOCK - 1) / DOTS_BLOCK;
}

size_t dots_row_bytes(const struct dots_ops *ops, size_t cols)
{
    return blocks_of(cols) * block_bytes(ops->tile) + 64;
}

void dots_arrange(const struct dots_ops *ops, void *to, const float *x, size_t ldx, size_t n,
                  size_t cols)
{
    for (size_t t = 0; t < n; t++)
        ops->tile->arrange((char *)to + t * dots_row_bytes(ops, cols), x + t * ldx, cols);
}

/* ---- weights --------------------------------------------------------------- */

static bool is_in_order(const struct matrix *w)
{
    return !w->row_order && !w->col_order;
}

/* Columns [first, first + n) of a row of w, at most DOTS_COLUMNS, as blocks. */
static void decode(const struct dots_ops *ops, void *to, const struct matrix *w, size_t row,
                   size_t first, size_t n)
{
    const struct dots_tile *tile = ops->tile;
    size_t at = row * w->cols + first;
    float value[DOTS_COLUMNS];
    if (w->dtype == DTYPE_MXFP4 && tile->mxfp4 && is_in_order(w)) {
        tile->mxfp4(to, w->data + at / 2, w->scale + at / MXFP4_BLOCK, n / MXFP4_BLOCK);
        return;
    }
    if (w->dtype == DTYPE_BF16 && is_in_order(w) && n % DOTS_BLOCK == 0) {
        tile->widen(to, w->data + at * sizeof(uint16_t), n / DOTS_BLOCK);
        return;
    }
    ops->rows->expand(value, w, row, first, n);
    if (ops->rounds && !stored_exact_in_bf16(w))
        ops->rows->round_bf16(value, n);
    tile->arrange(to, value, n);
}

/* Rows [first, first + count) of W, as many as sums are kept for. */
struct group {
    const struct matrix *w;
    size_t first, count;
};

/* What is read after columns [c, c + n) of a group.  The processor cannot predict it: it stays in a
 * page. */
static struct dots_prefetch read_next(const struct group *g, size_t c, size_t n)
{
    size_t bytes = stored_row_bytes(g->w), cols = g->w->cols, first = g->first;
    c = c + n < cols ? c + n : 0;
    first = size_min(c ? first : first + g->count, g->w->rows - g->count);
    return (struct dots_prefetch){
        .at = g->w->data + first * bytes + c * bytes / cols, .ld = bytes,
        .bytes = size_min(n, cols - c) * bytes / cols, .rows = g->count,
    };
}

/* Adds the products of columns [c, c + n) to the sums. */
static void add_piece(const struct dots_ops *ops, float *sums, const char *x, size_t ldx,
                      size_t n_x, const struct group *g, size_t c, size_t n)
{
    const struct matrix *w = g->w;
    _Alignas(64) uint8_t decoded[DOTS_GROUP * DOTS_COLUMNS * sizeof(float)];
    struct dots_piece p = {
        .sums = sums, .x = x + c / DOTS_BLOCK * block_bytes(ops->tile), .ldx = ldx, .n = n_x,
        .n_weights = g->count, .blocks = blocks_of(n), .prefetch = read_next(g, c, n),
        .stored = w->dtype == DTYPE_BF16 && is_in_order(w) && n % DOTS_BLOCK == 0
               && n_x <= ops->tile->stored_rows,
    };
    if (p.stored) {
        p.weights = w->data + (g->first * w->cols + c) * sizeof(uint16_t);
        p.ld_weights = w->cols * sizeof(uint16_t);
    } else {
        p.weights = decoded;
        p.ld_weights = p.blocks * block_bytes(ops->tile);
        for (size_t i = 0; i < g->count; i++)
            decode(ops, decoded + i * p.ld_weights, w, g->first + i, c, n);
    }
    ops->tile->multiply(&p);
}

/* ---- sums ------------------------------------------------------------------ */

typedef float four __attribute__((vector_size(16)));

static inline four four_at(const float *x)
{
    four r;
    memcpy(&r, x, sizeof r);
    return r;
}

static float total(const float *sums)
{
    four s = (four_at(sums) + four_at(sums + 8)) + (four_at(sums + 4) + four_at(sums + 12));
    return (s[0] + s[2]) + (s[1] + s[3]);
}

/* Columns of results that are written at once: a line of a cache.  Rows of `out` are often some
 * power of two apart, which a cache holds few of. */
#define RESULTS (4 * DOTS_GROUP)

/* result [n, RESULTS]: of n rows with those of a group. */
static void multiply_group(const struct dots_ops *ops, float *result, const char *x, size_t n,
                           const struct group *g)
{
    _Alignas(64) float sums[DOTS_GROUP * DOTS_ROWS * DOTS_LANES];
    size_t cols = g->w->cols, ldx = dots_row_bytes(ops, cols);
    memset(sums, 0, g->count * n * DOTS_LANES * sizeof *sums);
    for (size_t c = 0; c < cols; c += DOTS_COLUMNS)
        add_piece(ops, sums, x, ldx, n, g, c, size_min(DOTS_COLUMNS, cols - c));
    for (size_t i = 0; i < g->count; i++)
        for (size_t t = 0; t < n; t++) {
            float y = total(sums + (i * n + t) * DOTS_LANES);
            result[t * RESULTS + i] = ops->rounds ? bf16_value(bf16_of(y)) : y;
        }
}

void dots_multiply(const struct dots_ops *ops, float *out, size_t ldo, const void *x, size_t n,
                   const struct matrix *w, size_t first, size_t count)
{
    float result[DOTS_ROWS * RESULTS];
    assert(n <= DOTS_ROWS);
    for (size_t at = 0; at < count; at += RESULTS) {
        size_t columns = size_min(RESULTS, count - at);
        for (size_t i = 0; i < columns; i += DOTS_GROUP) {
            const struct group g = { w, first + at + i, size_min(DOTS_GROUP, columns - i) };
            multiply_group(ops, result + i, x, n, &g);
        }
        for (size_t t = 0; t < n; t++)
            memcpy(out + t * ldo + at, result + t * RESULTS, columns * sizeof *out);
    }
}
