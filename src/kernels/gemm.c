#include "kernels/gemm.h"

#include <stdalign.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"

enum { WORD = 4 };                  /* bytes */

static size_t padded(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

size_t gemm_row_step(const struct products *pr)
{
    return pr->tile->rows;
}

static size_t words_of(const struct products *pr, size_t k)
{
    return padded(k, pr->tile->values) / pr->tile->values;
}

size_t gemm_packed_bytes(const struct products *pr, size_t n, size_t k)
{
    return padded(n, pr->tile->cols) * words_of(pr, k) * WORD;
}

/* Scratch: a block of A's rows, packed, which stays in the second-level cache while all panels go
 * by; behind it the lines of one panel as f32 and as halves, which stay in the first-level one. */
static size_t block_bytes(const struct products *pr)
{
    return KERNEL_ROWS * words_of(pr, GEMM_K_BLOCK) * WORD;
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
    return (uint16_t *)(values_of(pr, scratch) + lines_of_panel(pr) * GEMM_K_BLOCK);
}

size_t gemm_scratch_bytes(const struct products *pr)
{
    return block_bytes(pr) + lines_of_panel(pr) * GEMM_K_BLOCK * (sizeof(float) + sizeof(uint16_t));
}

/* ---- packing ------------------------------------------------------------------ */

void gemm_transpose(void *panel, size_t width, const void *x, size_t step, size_t count,
                    size_t words)
{
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
                       size_t step_line, size_t step_k, size_t count, size_t k, uint16_t *halves)
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
        pr->tile->transpose(panel, width, halves, words, count, words);
    } else if (step_k == 1)
        pr->tile->transpose(panel, width, x, step_line, count, words);
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
    for (size_t k0 = 0; k0 < b->k; k0 += GEMM_K_BLOCK) {
        size_t kc = size_min(GEMM_K_BLOCK, b->k - k0);
        for (size_t j = first; j < first + count; j += cols) {
            void *panel = panel_at(pr, packed, b->n, k0, kc, j);
            size_t lines = size_min(cols, first + count - j);
            const float *x = b->b + k0 * b->step_k + (j - first) * b->step_n;
            pack_panel(pr, panel, cols, x, b->step_n, b->step_k, lines, kc,
                       halves_of(pr, scratch));
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
    for (size_t k0 = 0; k0 < w->cols; k0 += GEMM_K_BLOCK) {
        size_t kc = size_min(GEMM_K_BLOCK, w->cols - k0);
        for (size_t j = first; j < first + count; j += t->cols) {
            void *panel = panel_at(pr, packed, b->n, k0, kc, j);
            size_t lines = size_min(t->cols, first + count - j), row = b->row + j;
            if (as_stored) {
                t->transpose(panel, t->cols, w->data + 2 * (row * w->cols + k0), w->cols / 2,
                             lines, kc / 2);
                continue;
            }
            for (size_t i = 0; i < lines; i++)
                pr->rows->expand(values + i * kc, w, row + i, k0, kc);
            if (pr->rounds && w->dtype != DTYPE_BF16)
                pr->rows->round_bf16(values, lines * kc);
            pack_panel(pr, panel, t->cols, values, kc, 1, lines, kc, halves_of(pr, scratch));
        }
    }
}

/* ---- multiplying ---------------------------------------------------------------- */

/* The chains of one whole tile.  Between them the sums rest in the first-level cache: rows of C
 * may all fall into one of its sets. */
static void whole_tile(const struct products *pr, float *c, size_t ldc, const char *a,
                       const char *b, size_t words, bool accumulate)
{
    const struct gemm_tile *t = pr->tile;
    alignas(64) float rest[GEMM_TILE_LARGEST];
    size_t chain = pr->chain / t->values;
    for (size_t w = 0; w < words; w += chain) {
        bool first = w == 0, last = w + chain >= words;
        t->chain(last ? c : rest, last ? ldc : t->cols,
                 !first ? rest : accumulate ? c : NULL, !first ? t->cols : ldc,
                 a + w * t->rows * WORD, b + w * t->cols * WORD, size_min(chain, words - w));
    }
}

/* m x n of a tile; the rest of it is computed beside C and forgotten. */
static void part_of_tile(const struct products *pr, float *c, size_t ldc, const char *a,
                         const char *b, size_t words, size_t m, size_t n, bool accumulate)
{
    size_t cols = pr->tile->cols;
    alignas(64) float whole[GEMM_TILE_LARGEST] = { 0 };
    for (size_t i = 0; accumulate && i < m; i++)
        memcpy(whole + i * cols, c + i * ldc, n * sizeof *c);
    whole_tile(pr, whole, cols, a, b, words, accumulate);
    for (size_t i = 0; i < m; i++)
        memcpy(c + i * ldc, whole + i * cols, n * sizeof *c);
}

static void prefetch(const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(from + i, 0, 2);
}

/* One block of A's rows, packed, and of k against all panels.  While a panel is used, the next one
 * comes in: the processor does not see that coming, since A lies between the two. */
static void multiply_block(const struct products *pr, const struct product *p, size_t row,
                           size_t rows, const char *panels, size_t words, bool accumulate)
{
    const struct gemm_tile *t = pr->tile;
    size_t panel_bytes = words * t->cols * WORD, tiles = (rows + t->rows - 1) / t->rows;
    size_t share = padded(panel_bytes / tiles, 64);
    for (size_t j = 0; j < p->n; j += t->cols) {
        const char *b = panels + j * words * WORD, *next = b + panel_bytes;
        size_t n = size_min(t->cols, p->n - j), left = j + t->cols < p->n ? panel_bytes : 0;
        for (size_t i = 0; i < rows; i += t->rows) {
            const char *a = (const char *)p->scratch + i * words * WORD;
            float *c = p->c + (row + i) * p->ldc + j;
            size_t m = size_min(t->rows, rows - i), now = size_min(share, left);
            prefetch(next, now);
            next += now;
            left -= now;
            if (m == t->rows && n == t->cols)
                whole_tile(pr, c, p->ldc, a, b, words, accumulate);
            else
                part_of_tile(pr, c, p->ldc, a, b, words, m, n, accumulate);
        }
    }
}

void gemm_multiply(const struct products *pr, const struct product *p)
{
    const struct gemm_tile *t = pr->tile;
    size_t width = padded(p->n, t->cols);
    for (size_t row = 0; row < p->m; row += KERNEL_ROWS) {
        size_t rows = size_min(KERNEL_ROWS, p->m - row);
        for (size_t k0 = 0; k0 < p->k; k0 += GEMM_K_BLOCK) {
            size_t kc = size_min(GEMM_K_BLOCK, p->k - k0), words = words_of(pr, kc);
            for (size_t i = 0; i < rows; i += t->rows)
                pack_panel(pr, (char *)p->scratch + i * words * WORD, t->rows,
                           p->a + (row + i) * p->step_m + k0 * p->step_k, p->step_m, p->step_k,
                           size_min(t->rows, rows - i), kc, halves_of(pr, p->scratch));
            multiply_block(pr, p, row, rows,
                           (const char *)p->packed + words_of(pr, k0) * width * WORD, words,
                           p->accumulate || k0 > 0);
        }
    }
}

size_t gemm_peak(const struct products *pr, size_t steps)
{
    return pr->tile->peak(steps);
}
