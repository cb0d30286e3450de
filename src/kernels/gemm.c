#include "kernels/gemm.h"

#include <stdalign.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"

enum { WORD = 4 };                  /* bytes */
#define FIRST_LEVEL ((size_t)24 << 10)      /* bytes of a panel that stay there beside rows of A */

static size_t padded(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

size_t gemm_row_step(const struct products *pr)
{
    return pr->tile->rows;
}

size_t gemm_col_step(const struct products *pr)
{
    return pr->tile->cols;
}

static size_t words_of(const struct products *pr, size_t k)
{
    return padded(k, pr->tile->values) / pr->tile->values;
}

size_t gemm_packed_bytes(const struct products *pr, size_t n, size_t k)
{
    return padded(n, pr->tile->cols) * words_of(pr, k) * WORD;
}

/* Values of k in a block. */
static size_t k_block(const struct products *pr)
{
    return pr->tile->block_words * pr->tile->values;
}

/* Scratch: a block of A's rows, packed, which stays in the second-level cache while all panels go
 * by; behind it the lines of one panel as f32 and as halves, which stay in the first-level one. */
static size_t block_bytes(const struct products *pr)
{
    return KERNEL_ROWS * pr->tile->block_words * WORD;
}

static size_t lines_of_panel(const struct products *pr)
{
    return size_max(pr->tile->rows, pr->tile->cols);
}

static float *values_of(const struct products *pr, void *scratch)
{
    return (float *)((char *)scratch + block_bytes(pr));
}

static uint16_t *halves_of(const struct products *pr, void *scratch)
{
    return (uint16_t *)(values_of(pr, scratch) + lines_of_panel(pr) * k_block(pr));
}

size_t gemm_scratch_bytes(const struct products *pr)
{
    return block_bytes(pr) + lines_of_panel(pr) * k_block(pr) * (sizeof(float) + sizeof(uint16_t));
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

/* Lines [0, count) of k values as a panel. */
static void pack_panel(const struct products *pr, void *panel, size_t width, const float *x,
                       size_t step_line, size_t step_k, size_t count, size_t k, uint16_t *halves,
                       bool shared)
{
    size_t words = words_of(pr, k);
    if (pr->tile->values == 2) {
        for (size_t line = 0; line < count; line++) {
            uint16_t *half = halves + line * 2 * words;
            half[2 * words - 1] = 0;
            if (step_k == 1)
                pr->rows->to_bf16(half, x + line * step_line, k);
            for (size_t p = 0; step_k != 1 && p < k; p++)
                half[p] = bf16_of(x[line * step_line + p * step_k]);
        }
        pr->tile->transpose(panel, width, halves, words, count, words, shared);
    } else if (step_k == 1)
        pr->tile->transpose(panel, width, x, step_line, count, words, shared);
    else
        for (size_t p = 0; p < k; p++) {        /* lines stand side by side */
            float *row = (float *)panel + p * width;
            memcpy(row, x + p * step_k, count * sizeof *row);
            memset(row + count, 0, (width - count) * sizeof *row);
        }
}

static void *panel_at(const struct products *pr, void *packed, size_t n, size_t k0, size_t kc,
                      size_t j)
{
    size_t width = padded(n, pr->tile->cols);
    return (char *)packed + (words_of(pr, k0) * width + j * words_of(pr, kc)) * WORD;
}

void gemm_pack(const struct products *pr, void *packed, const struct operand *b, size_t first,
               size_t count, void *scratch)
{
    size_t cols = pr->tile->cols;
    for (size_t k0 = 0; k0 < b->k; k0 += k_block(pr)) {
        size_t kc = size_min(k_block(pr), b->k - k0);
        for (size_t j = first; j < first + count; j += cols) {
            void *panel = panel_at(pr, packed, b->n, k0, kc, j);
            size_t lines = size_min(cols, first + count - j);
            const float *x = b->b + k0 * b->step_k + (j - first) * b->step_n;
            pack_panel(pr, panel, cols, x, b->step_n, b->step_k, lines, kc,
                       halves_of(pr, scratch), false);
            if (pr->rounds && pr->tile->values == 1)
                pr->rows->round_bf16(panel, cols * kc);
        }
    }
}

void gemm_pack_weight(const struct products *pr, void *packed, const struct weight_operand *b,
                      size_t first, size_t count, void *scratch)
{
    const struct matrix *w = b->w;
    const struct gemm_tile *t = pr->tile;
    float *values = values_of(pr, scratch);
    /* Pairs of BF16 values are words as they stand. */
    bool as_stored = t->values == 2 && w->dtype == DTYPE_BF16 && w->cols % 2 == 0;
    for (size_t k0 = 0; k0 < w->cols; k0 += k_block(pr)) {
        size_t kc = size_min(k_block(pr), w->cols - k0);
        for (size_t j = first; j < first + count; j += t->cols) {
            void *panel = panel_at(pr, packed, b->n, k0, kc, b->column + j);
            size_t lines = size_min(t->cols, first + count - j), row = b->row + j;
            if (as_stored) {
                t->transpose(panel, t->cols, w->data + 2 * (row * w->cols + k0), w->cols / 2,
                             lines, kc / 2, true);
                continue;
            }
            for (size_t i = 0; i < lines; i++)
                pr->rows->expand(values + i * kc, w, row + i, k0, kc);
            if (pr->rounds && w->dtype != DTYPE_BF16)
                pr->rows->round_bf16(values, lines * kc);
            pack_panel(pr, panel, t->cols, values, kc, 1, lines, kc, halves_of(pr, scratch), true);
        }
    }
}

/* ---- multiplying ---------------------------------------------------------------- */

/* The chains of m rows of a tile.  Between them the sums rest in the first-level cache: rows of C
 * may all fall into one of its sets. */
static void rows_of_tile(const struct products *pr, float *c, size_t ldc, const char *a,
                         const char *b, size_t words, size_t m, bool accumulate)
{
    const struct gemm_tile *t = pr->tile;
    alignas(64) float rest[GEMM_TILE_LARGEST];
    size_t chain = pr->chain / t->values;
    for (size_t w = 0; w < words; w += chain) {
        bool first = w == 0, last = w + chain >= words;
        t->chain(last ? c : rest, last ? ldc : t->cols,
                 !first ? rest : accumulate ? c : NULL, !first ? t->cols : ldc,
                 a + w * t->rows * WORD, b + w * t->cols * WORD, size_min(chain, words - w), m);
    }
}

/* m x n of a tile; the other columns are computed beside C and forgotten. */
static void part_of_tile(const struct products *pr, float *c, size_t ldc, const char *a,
                         const char *b, size_t words, size_t m, size_t n, bool accumulate)
{
    size_t cols = pr->tile->cols;
    alignas(64) float whole[GEMM_TILE_LARGEST] = { 0 };
    for (size_t i = 0; accumulate && i < m; i++)
        memcpy(whole + i * cols, c + i * ldc, n * sizeof *c);
    rows_of_tile(pr, whole, cols, a, b, words, m, accumulate);
    for (size_t i = 0; i < m; i++)
        memcpy(c + i * ldc, whole + i * cols, n * sizeof *c);
}

/* Lines of 64 bytes that hold [from, from + bytes); past the end of an array it does no harm. */
static void prefetch(const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch((const char *)from + i, 0, 2);
}

/* Memory that is needed after this block of k, or after the product: rows of `bytes`, `step` apart.  A
 * share of them comes in with each panel. */
struct ahead {
    const char *next;
    size_t bytes, step, left, share;    /* rows that are left, rows at a time */
};

enum { N_AHEAD = SOON_SPANS + 1 };      /* the last: rows of A */

static void ahead_share(struct ahead *a)
{
    for (size_t i = size_min(a->share, a->left); i > 0; i--, a->left--, a->next += a->step)
        prefetch(a->next, a->bytes);
}

static size_t panels_of(const struct products *pr, size_t n)
{
    return (n + pr->tile->cols - 1) / pr->tile->cols;
}

/* The rows of A that are packed after [row, row + KERNEL_ROWS) of [k0, k0 + k_block). */
static struct ahead rows_after(const struct products *pr, const struct product *p, size_t row,
                               size_t k0)
{
    k0 += k_block(pr);
    if (k0 >= p->k) {
        k0 = 0;
        row += KERNEL_ROWS;
    }
    if (row >= p->m || p->step_k != 1)
        return (struct ahead){ 0 };
    size_t rows = size_min(KERNEL_ROWS, p->m - row);
    return (struct ahead){ .next = (const char *)(p->a + row * p->step_m + k0),
                           .bytes = size_min(k_block(pr), p->k - k0) * sizeof *p->a,
                           .step = p->step_m * sizeof *p->a, .left = rows,
                           .share = rows / panels_of(pr, p->n) + 1 };
}

/* A span as rows of which one comes in with each panel of the product. */
static struct ahead span_of_product(const struct products *pr, const struct product *p, size_t span)
{
    size_t blocks = (p->m + KERNEL_ROWS - 1) / KERNEL_ROWS * ((p->k + k_block(pr) - 1) / k_block(pr));
    size_t rows = size_max(blocks * panels_of(pr, p->n), 1);
    size_t bytes = padded(p->soon->span[span].bytes / rows + 1, 64);
    return (struct ahead){ .next = p->soon->span[span].at, .bytes = bytes, .step = bytes,
                           .left = p->soon->span[span].bytes / bytes, .share = 1 };
}

/* The panel behind b as shares for the tiles that meet b.  One that the first-level cache does not
 * hold comes to each tile from the second-level one, as a stream that the processor runs ahead of by
 * itself. */
static struct ahead panel_after(const char *b, size_t bytes, size_t tiles)
{
    size_t share = padded((bytes + tiles - 1) / tiles, 64);
    return (struct ahead){ .next = b + bytes, .bytes = share, .step = share,
                           .left = bytes <= FIRST_LEVEL ? (bytes + share - 1) / share : 0, .share = 1 };
}

/* One block of A's rows, packed, and of k against all panels. */
static void multiply_block(const struct products *pr, const struct product *p, size_t row,
                           size_t rows, const char *panels, size_t words, bool accumulate,
                           struct ahead ahead[N_AHEAD])
{
    const struct gemm_tile *t = pr->tile;
    for (size_t j = 0; j < p->n; j += t->cols) {
        const char *b = panels + j * words * WORD;
        size_t n = size_min(t->cols, p->n - j);
        struct ahead panel = panel_after(b, t->cols * words * WORD, (rows + t->rows - 1) / t->rows);
        for (size_t s = 0; s < N_AHEAD; s++)
            ahead_share(&ahead[s]);
        for (size_t i = 0; i < rows; i += t->rows) {
            const char *a = (const char *)p->scratch + i * words * WORD;
            float *c = p->c + (row + i) * p->ldc + j;
            size_t m = size_min(t->rows, rows - i);
            ahead_share(&panel);
            for (size_t r = 0; r < m; r++)
                prefetch(c + r * p->ldc, n * sizeof *c);
            if (n == t->cols)
                rows_of_tile(pr, c, p->ldc, a, b, words, m, accumulate);
            else
                part_of_tile(pr, c, p->ldc, a, b, words, m, n, accumulate);
        }
    }
}

void gemm_multiply(const struct products *pr, const struct product *p)
{
    const struct gemm_tile *t = pr->tile;
    size_t width = padded(p->n, t->cols);
    struct ahead ahead[N_AHEAD] = { 0 };
    for (size_t s = 0; p->soon && s < SOON_SPANS; s++)
        ahead[s] = span_of_product(pr, p, s);
    for (size_t row = 0; row < p->m; row += KERNEL_ROWS) {
        size_t rows = size_min(KERNEL_ROWS, p->m - row);
        for (size_t k0 = 0; k0 < p->k; k0 += k_block(pr)) {
            size_t kc = size_min(k_block(pr), p->k - k0), words = words_of(pr, kc);
            for (size_t i = 0; i < rows; i += t->rows)
                pack_panel(pr, (char *)p->scratch + i * words * WORD, t->rows,
                           p->a + (row + i) * p->step_m + k0 * p->step_k, p->step_m, p->step_k,
                           size_min(t->rows, rows - i), kc, halves_of(pr, p->scratch), false);
            ahead[SOON_SPANS] = rows_after(pr, p, row, k0);
            multiply_block(pr, p, row, rows,
                           (const char *)p->packed + words_of(pr, k0) * width * WORD, words,
                           p->accumulate || k0 > 0, ahead);
        }
    }
}

size_t gemm_peak(const struct products *pr, size_t steps)
{
    return pr->tile->peak(steps);
}
