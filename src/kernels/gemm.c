#include "kernels/gemm.h"

#include <stdalign.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"

enum { WORD = 4 };                  /* bytes */
#define FIRST_LEVEL ((size_t)24 << 10)      /* bytes of a panel that stay cached beside rows of A */

static size_t padded(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

size_t gemm_mr(const struct gemm_ops *ops)
{
    return ops->tile->mr;
}

size_t gemm_nr(const struct gemm_ops *ops)
{
    return ops->tile->nr;
}

static size_t words_of(size_t values, size_t k)
{
    return (k + values - 1) / values;
}

size_t gemm_packed_bytes(const struct gemm_ops *ops, size_t n, size_t k)
{
    return padded(n, ops->tile->nr) * words_of(ops->tile->values, k) * WORD;
}

bool gemm_takes_bf16_pairs(const struct gemm_ops *ops, const struct matrix *w)
{
    return ops->tile->micro_kernel_bf16_pairs && (ops->rounds || stored_exact_in_bf16(w));
}

/* Values of k in a whole block. */
static size_t max_block_k(const struct gemm_ops *ops)
{
    return ops->tile->block_words * ops->tile->values;
}

/* Scratch: a packed block of A, which stays in the second-level cache while all panels of B are
 * read; after it the rows of one panel as f32 and as BF16 pairs, which stay in the first-level
 * cache. */
static size_t block_bytes(const struct gemm_ops *ops)
{
    return KERNEL_ROWS * ops->tile->block_words * WORD;
}

static size_t rows_of_panel(const struct gemm_ops *ops)
{
    return size_max(ops->tile->mr, ops->tile->nr);
}

static float *values_of(const struct gemm_ops *ops, void *scratch)
{
    return (float *)((char *)scratch + block_bytes(ops));
}

static uint16_t *pairs_of(const struct gemm_ops *ops, void *scratch)
{
    return (uint16_t *)(values_of(ops, scratch) + rows_of_panel(ops) * max_block_k(ops));
}

size_t gemm_scratch_bytes(const struct gemm_ops *ops)
{
    return block_bytes(ops)
         + rows_of_panel(ops) * max_block_k(ops) * (sizeof(float) + sizeof(uint16_t));
}

/* ---- packing ------------------------------------------------------------------ */

void gemm_transpose(void *panel, size_t width, const void *x, size_t step, size_t count,
                    size_t words, bool shared)
{
    (void)shared;
    char *out = panel;
    const char *in = x;
    for (size_t w = 0; w < words; w++, out += width * WORD) {
        for (size_t line = 0; line < count; line++)
            memcpy(out + line * WORD, in + (line * step + w) * WORD, WORD);
        memset(out + count * WORD, 0, (width - count) * WORD);
    }
}

/* Packs `count` rows of A, or columns of B, of k values as a panel.  values: 1 or 2 in a word. */
static void pack_panel(const struct gemm_ops *ops, size_t values, void *panel, size_t width,
                       const float *x, size_t step_line, size_t stride_k, size_t count, size_t k,
                       uint16_t *pairs, bool shared)
{
    size_t words = words_of(values, k);
    if (values == 2) {
        for (size_t line = 0; line < count; line++) {
            uint16_t *pair = pairs + line * 2 * words;
            pair[2 * words - 1] = 0;
            if (stride_k == 1)
                ops->rows->to_bf16(pair, x + line * step_line, k);
            for (size_t p = 0; stride_k != 1 && p < k; p++)
                pair[p] = bf16_of(x[line * step_line + p * stride_k]);
        }
        ops->tile->transpose(panel, width, pairs, words, count, words, shared);
    } else if (stride_k == 1)
        ops->tile->transpose(panel, width, x, step_line, count, words, shared);
    else
        for (size_t p = 0; p < k; p++) {        /* memory has the order of the panel */
            float *row = (float *)panel + p * width;
            memcpy(row, x + p * stride_k, count * sizeof *row);
            memset(row + count, 0, (width - count) * sizeof *row);
        }
}

static void *panel_at(const struct gemm_ops *ops, size_t values, void *packed, size_t n, size_t k0,
                      size_t block_k, size_t j)
{
    size_t width = padded(n, ops->tile->nr);
    return (char *)packed + (words_of(values, k0) * width + j * words_of(values, block_k)) * WORD;
}

void gemm_pack(const struct gemm_ops *ops, void *packed, const struct gemm_b *b, size_t first,
               size_t count, void *scratch)
{
    size_t cols = ops->tile->nr, values = ops->tile->values;
    for (size_t k0 = 0; k0 < b->k; k0 += max_block_k(ops)) {
        size_t block_k = size_min(max_block_k(ops), b->k - k0);
        for (size_t j = first; j < first + count; j += cols) {
            void *panel = panel_at(ops, values, packed, b->n, k0, block_k, j);
            size_t lines = size_min(cols, first + count - j);
            const float *x = b->b + k0 * b->stride_k + (j - first) * b->stride_cols;
            pack_panel(ops, values, panel, cols, x, b->stride_cols, b->stride_k, lines, block_k,
                       pairs_of(ops, scratch), false);
            if (ops->rounds && values == 1)
                ops->rows->round_bf16(panel, cols * block_k);
        }
    }
}

void gemm_pack_weight(const struct gemm_ops *ops, const struct packed_b *to,
                      const struct weight_slice *b, size_t first, size_t count, void *scratch)
{
    const struct matrix *w = b->w;
    const struct gemm_tile *t = ops->tile;
    size_t values = to->bf16_pairs ? 2 : t->values;
    float *decoded = values_of(ops, scratch);
    /* Stored pairs of BF16 values are words already. */
    bool as_stored = values == 2 && w->dtype == DTYPE_BF16 && w->cols % 2 == 0 && !w->row_order
                  && !w->col_order;
    for (size_t k0 = 0; k0 < w->cols; k0 += max_block_k(ops)) {
        size_t block_k = size_min(max_block_k(ops), w->cols - k0);
        for (size_t j = first; j < first + count; j += t->nr) {
            void *panel = panel_at(ops, values, to->data, to->n, k0, block_k, b->column + j);
            size_t lines = size_min(t->nr, first + count - j), row = b->row + j;
            if (as_stored) {
                t->transpose(panel, t->nr, w->data + 2 * (row * w->cols + k0), w->cols / 2,
                             lines, block_k / 2, true);
                continue;
            }
            for (size_t i = 0; i < lines; i++)
                ops->rows->expand(decoded + i * block_k, w, row + i, k0, block_k);
            if (ops->rounds && values == 1 && w->dtype != DTYPE_BF16)
                ops->rows->round_bf16(decoded, lines * block_k);
            pack_panel(ops, values, panel, t->nr, decoded, block_k, 1, lines, block_k,
                       pairs_of(ops, scratch), true);
        }
    }
}

/* ---- multiplying ---------------------------------------------------------------- */

/* What a tile multiplies: a panel of A and one of B, within a block of k. */
struct panels {
    const char *a, *b;
    size_t words;                   /* of a */
    bool bf16_pairs;                /* b */
};

/* m rows of a tile, KC values of k at a time.  In between, the sums stay in a buffer in the
 * first-level cache: rows of C could all fall into one set of it. */
static void multiply_tile(const struct gemm_ops *ops, float *c, size_t ldc, const struct panels *o,
                          size_t m, bool accumulate)
{
    const struct gemm_tile *t = ops->tile;
    alignas(64) float rest[GEMM_TILE_LARGEST];
    size_t kc = ops->kc / t->values, b_words = o->bf16_pairs ? kc / 2 : kc;
    const char *a = o->a, *b = o->b;
    for (size_t w = 0; w < o->words; w += kc) {
        bool first = w == 0, last = w + kc >= o->words;
        (o->bf16_pairs ? t->micro_kernel_bf16_pairs : t->micro_kernel)(
            last ? c : rest, last ? ldc : t->nr,
            !first ? rest : accumulate ? c : NULL, !first ? t->nr : ldc,
            a, b, size_min(kc, o->words - w), m);
        a += kc * t->mr * WORD;
        b += b_words * t->nr * WORD;
    }
}

/* An edge tile of m x n elements: computed in a buffer of whole columns, of which n are copied to
 * C. */
static void multiply_edge_tile(const struct gemm_ops *ops, float *c, size_t ldc,
                               const struct panels *o, size_t m, size_t n, bool accumulate)
{
    size_t cols = ops->tile->nr;
    alignas(64) float whole[GEMM_TILE_LARGEST] = { 0 };
    for (size_t i = 0; accumulate && i < m; i++)
        memcpy(whole + i * cols, c + i * ldc, n * sizeof *c);
    multiply_tile(ops, whole, cols, o, m, accumulate);
    for (size_t i = 0; i < m; i++)
        memcpy(c + i * ldc, whole + i * cols, n * sizeof *c);
}

/* Prefetches the cache lines of [from, from + bytes); past the end of an array that does no harm.
 * Inlined early: GCC drops calls of a function that has no effect. */
static inline __attribute__((always_inline))
void prefetch_lines(const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const char *)from + i, 0, 2);
}

/* Memory that is needed after this block of k, or after the product: rows of `bytes`, `step` apart.
 * `share` rows are prefetched with each panel. */
struct prefetch_rows {
    const char *next;
    size_t bytes, step, left, share;    /* rows that are left, rows for each panel */
};

enum { N_PREFETCH = PREFETCH_SPANS + 1 };      /* the last: rows of A */

static void prefetch_next(struct prefetch_rows *a)
{
    for (size_t i = size_min(a->share, a->left); i > 0; i--, a->left--, a->next += a->step)
        prefetch_lines(a->next, a->bytes);
}

static size_t panels_of(const struct gemm_ops *ops, size_t n)
{
    return (n + ops->tile->nr - 1) / ops->tile->nr;
}

/* The rows of A that are packed after rows [row, row + KERNEL_ROWS) of the block of k at k0. */
static struct prefetch_rows prefetch_a(const struct gemm_ops *ops, const struct gemm *g, size_t row,
                                       size_t k0)
{
    k0 += max_block_k(ops);
    if (k0 >= g->k) {
        k0 = 0;
        row += KERNEL_ROWS;
    }
    if (row >= g->m || g->stride_k != 1)
        return (struct prefetch_rows){ 0 };
    size_t rows = size_min(KERNEL_ROWS, g->m - row);
    return (struct prefetch_rows){ .next = (const char *)(g->a + row * g->stride_rows + k0),
                                   .bytes = size_min(max_block_k(ops), g->k - k0) * sizeof *g->a,
                                   .step = g->stride_rows * sizeof *g->a, .left = rows,
                                   .share = rows / panels_of(ops, g->n) + 1 };
}

/* Splits a span into rows, one for each panel of the product. */
static struct prefetch_rows prefetch_span(const struct gemm_ops *ops, const struct gemm *g,
                                          size_t span)
{
    size_t block_k = max_block_k(ops);
    size_t blocks = (g->m + KERNEL_ROWS - 1) / KERNEL_ROWS * ((g->k + block_k - 1) / block_k);
    size_t rows = size_max(blocks * panels_of(ops, g->n), 1);
    size_t bytes = padded(g->prefetch->span[span].bytes / rows + 1, 64);
    return (struct prefetch_rows){ .next = g->prefetch->span[span].at,
                                   .bytes = bytes,
                                   .step = bytes,
                                   .left = g->prefetch->span[span].bytes / bytes,
                                   .share = 1 };
}

/* Prefetch the panel after b, a part per tile.  A panel too large for the first-level cache is read
 * from the second-level one for each tile; that is a stream, which the processor prefetches by
 * itself. */
static struct prefetch_rows prefetch_b(const char *b, size_t bytes, size_t tiles)
{
    size_t share = padded((bytes + tiles - 1) / tiles, 64);
    return (struct prefetch_rows){ .next = b + bytes, .bytes = share, .step = share,
                                   .left = bytes <= FIRST_LEVEL ? (bytes + share - 1) / share : 0,
                                   .share = 1 };
}

/* Prefetches the elements of C of the tile at row i of a block of `rows` and at column j, if there
 * is such a tile.  Called one tile ahead: computing a tile takes as long as a read from memory. */
static inline __attribute__((always_inline)) void prefetch_tile(const struct gemm_ops *ops,
                                                                const struct gemm *g, size_t row,
                                                                size_t rows, size_t i, size_t j)
{
    if (i >= rows) {
        i = 0;
        j += ops->tile->nr;
    }
    size_t end = size_min(i + ops->tile->mr, rows);
    for (; j < g->n && i < end; i++)
        prefetch_lines(g->c + (row + i) * g->ldc + j,
                       size_min(ops->tile->nr, g->n - j) * sizeof *g->c);
}

/* Multiplies a packed block of A with all panels of B.  o: the first panel of each. */
static void multiply_block(const struct gemm_ops *ops, const struct gemm *g, size_t row,
                           size_t rows, struct panels o, bool accumulate,
                           struct prefetch_rows prefetch[N_PREFETCH])
{
    const struct gemm_tile *t = ops->tile;
    const char *packed_rows = o.a;
    size_t panel_bytes = words_of(g->bf16_pairs ? 2 : 1, o.words) * t->nr * WORD;
    prefetch_tile(ops, g, row, rows, 0, 0);
    for (size_t j = 0; j < g->n; j += t->nr, o.b += panel_bytes) {
        size_t n = size_min(t->nr, g->n - j);
        struct prefetch_rows panel = prefetch_b(o.b, panel_bytes, (rows + t->mr - 1) / t->mr);
        for (size_t s = 0; s < N_PREFETCH; s++)
            prefetch_next(&prefetch[s]);
        for (size_t i = 0; i < rows; i += t->mr) {
            float *c = g->c + (row + i) * g->ldc + j;
            size_t m = size_min(t->mr, rows - i);
            o.a = packed_rows + i * o.words * WORD;
            prefetch_next(&panel);
            prefetch_tile(ops, g, row, rows, i + t->mr, j);
            if (n == t->nr)
                multiply_tile(ops, c, g->ldc, &o, m, accumulate);
            else
                multiply_edge_tile(ops, c, g->ldc, &o, m, n, accumulate);
        }
    }
}

void gemm_multiply(const struct gemm_ops *ops, const struct gemm *g)
{
    const struct gemm_tile *t = ops->tile;
    size_t width = padded(g->n, t->nr), values_of_b = g->bf16_pairs ? 2 : t->values;
    struct prefetch_rows prefetch[N_PREFETCH] = { 0 };
    for (size_t s = 0; g->prefetch && s < PREFETCH_SPANS; s++)
        prefetch[s] = prefetch_span(ops, g, s);
    for (size_t row = 0; row < g->m; row += KERNEL_ROWS) {
        size_t rows = size_min(KERNEL_ROWS, g->m - row);
        for (size_t k0 = 0; k0 < g->k; k0 += max_block_k(ops)) {
            size_t block_k = size_min(max_block_k(ops), g->k - k0);
            size_t words = words_of(t->values, block_k);
            for (size_t i = 0; i < rows; i += t->mr)
                pack_panel(ops, t->values, (char *)g->scratch + i * words * WORD, t->mr,
                           g->a + (row + i) * g->stride_rows + k0 * g->stride_k, g->stride_rows,
                           g->stride_k, size_min(t->mr, rows - i), block_k,
                           pairs_of(ops, g->scratch), false);
            prefetch[PREFETCH_SPANS] = prefetch_a(ops, g, row, k0);
            const struct panels o = {
                .a = g->scratch, .words = words, .bf16_pairs = g->bf16_pairs,
                .b = (const char *)g->packed + words_of(values_of_b, k0) * width * WORD,
            };
            multiply_block(ops, g, row, rows, o, g->accumulate || k0 > 0, prefetch);
        }
    }
}

size_t gemm_peak(const struct gemm_ops *ops, size_t steps)
{
    return ops->tile->peak(steps);
}
