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

static size_t words_of(size_t values, size_t k)
{
    return (k + values - 1) / values;
}

size_t gemm_packed_bytes(const struct products *pr, size_t n, size_t k)
{
    return padded(n, pr->tile->cols) * words_of(pr->tile->values, k) * WORD;
}

bool gemm_takes_halves(const struct products *pr, const struct matrix *w)
{
    /* A code of MXFP4 times a power of two is a BF16 value, denormal ones included. */
    return pr->tile->chain_halves
        && (pr->rounds || w->dtype == DTYPE_BF16 || w->dtype == DTYPE_MXFP4);
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

/* Lines [0, count) of k values as a panel, with one or two `values` in a word. */
static void pack_panel(const struct products *pr, size_t values, void *panel, size_t width,
                       const float *x, size_t step_line, size_t step_k, size_t count, size_t k,
                       uint16_t *halves, bool shared)
{
    size_t words = words_of(values, k);
    if (values == 2) {
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

static void *panel_at(const struct products *pr, size_t values, void *packed, size_t n, size_t k0,
                      size_t kc, size_t j)
{
    size_t width = padded(n, pr->tile->cols);
    return (char *)packed + (words_of(values, k0) * width + j * words_of(values, kc)) * WORD;
}

void gemm_pack(const struct products *pr, void *packed, const struct operand *b, size_t first,
               size_t count, void *scratch)
{
    size_t cols = pr->tile->cols, values = pr->tile->values;
    for (size_t k0 = 0; k0 < b->k; k0 += k_block(pr)) {
        size_t kc = size_min(k_block(pr), b->k - k0);
        for (size_t j = first; j < first + count; j += cols) {
            void *panel = panel_at(pr, values, packed, b->n, k0, kc, j);
            size_t lines = size_min(cols, first + count - j);
            const float *x = b->b + k0 * b->step_k + (j - first) * b->step_n;
            pack_panel(pr, values, panel, cols, x, b->step_n, b->step_k, lines, kc,
                       halves_of(pr, scratch), false);
            if (pr->rounds && values == 1)
                pr->rows->round_bf16(panel, cols * kc);
        }
    }
}

void gemm_pack_weight(const struct products *pr, const struct packed_weight *to,
                      const struct weight_operand *b, size_t first, size_t count, void *scratch)
{
    const struct matrix *w = b->w;
    const struct gemm_tile *t = pr->tile;
    size_t values = to->halves ? 2 : t->values;
    float *decoded = values_of(pr, scratch);
    /* Pairs of BF16 values are words as they stand. */
    bool as_stored = values == 2 && w->dtype == DTYPE_BF16 && w->cols % 2 == 0;
    for (size_t k0 = 0; k0 < w->cols; k0 += k_block(pr)) {
        size_t kc = size_min(k_block(pr), w->cols - k0);
        for (size_t j = first; j < first + count; j += t->cols) {
            void *panel = panel_at(pr, values, to->data, to->n, k0, kc, b->column + j);
            size_t lines = size_min(t->cols, first + count - j), row = b->row + j;
            if (as_stored) {
                t->transpose(panel, t->cols, w->data + 2 * (row * w->cols + k0), w->cols / 2,
                             lines, kc / 2, true);
                continue;
            }
            for (size_t i = 0; i < lines; i++)
                pr->rows->expand(decoded + i * kc, w, row + i, k0, kc);
            if (pr->rounds && values == 1 && w->dtype != DTYPE_BF16)
                pr->rows->round_bf16(decoded, lines * kc);
            pack_panel(pr, values, panel, t->cols, decoded, kc, 1, lines, kc, halves_of(pr, scratch),
                       true);
        }
    }
}

/* ---- multiplying ---------------------------------------------------------------- */

/* What of a block of k a tile meets: a panel of A's rows and one of B's columns. */
struct operands {
    const char *a, *b;
    size_t words;                   /* of a */
    bool halves;                    /* b */
};

/* The chains of m rows of a tile.  Between them the sums rest in the first-level cache: rows of C
 * may all fall into one of its sets. */
static void rows_of_tile(const struct products *pr, float *c, size_t ldc, const struct operands *o,
                         size_t m, bool accumulate)
{
    const struct gemm_tile *t = pr->tile;
    alignas(64) float rest[GEMM_TILE_LARGEST];
    size_t chain = pr->chain / t->values, words_of_b = o->halves ? chain / 2 : chain;
    const char *a = o->a, *b = o->b;
    for (size_t w = 0; w < o->words; w += chain) {
        bool first = w == 0, last = w + chain >= o->words;
        (o->halves ? t->chain_halves : t->chain)(
            last ? c : rest, last ? ldc : t->cols,
            !first ? rest : accumulate ? c : NULL, !first ? t->cols : ldc,
            a, b, size_min(chain, o->words - w), m);
        a += chain * t->rows * WORD;
        b += words_of_b * t->cols * WORD;
    }
}

/* m x n of a tile; the other columns are computed beside C and forgotten. */
static void part_of_tile(const struct products *pr, float *c, size_t ldc, const struct operands *o,
                         size_t m, size_t n, bool accumulate)
{
    size_t cols = pr->tile->cols;
    alignas(64) float whole[GEMM_TILE_LARGEST] = { 0 };
    for (size_t i = 0; accumulate && i < m; i++)
        memcpy(whole + i * cols, c + i * ldc, n * sizeof *c);
    rows_of_tile(pr, whole, cols, o, m, accumulate);
    for (size_t i = 0; i < m; i++)
        memcpy(c + i * ldc, whole + i * cols, n * sizeof *c);
}

/* Lines of 64 bytes that hold [from, from + bytes); past the end of an array it does no harm.
 * Inlined before GCC sees a function without effect, whose calls it drops. */
static inline __attribute__((always_inline))
void prefetch(const void *from, size_t bytes)
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

/* C under the tile of rows [i, ...) of a block of `rows` and columns [j, ...), if there is one: it is
 * asked for a tile ahead, since a tile is as short as the way to memory is long. */
static inline __attribute__((always_inline))
void prefetch_tile(const struct products *pr, const struct product *p, size_t row, size_t rows, size_t i,
                   size_t j)
{
    if (i >= rows) {
        i = 0;
        j += pr->tile->cols;
    }
    size_t end = size_min(i + pr->tile->rows, rows);
    for (; j < p->n && i < end; i++)
        prefetch(p->c + (row + i) * p->ldc + j, size_min(pr->tile->cols, p->n - j) * sizeof *p->c);
}

/* One block of A's rows, packed, and of k against all panels.  o: the first of both. */
static void multiply_block(const struct products *pr, const struct product *p, size_t row,
                           size_t rows, struct operands o, bool accumulate,
                           struct ahead ahead[N_AHEAD])
{
    const struct gemm_tile *t = pr->tile;
    const char *packed_rows = o.a;
    size_t panel_bytes = words_of(p->halves ? 2 : 1, o.words) * t->cols * WORD;
    prefetch_tile(pr, p, row, rows, 0, 0);
    for (size_t j = 0; j < p->n; j += t->cols, o.b += panel_bytes) {
        size_t n = size_min(t->cols, p->n - j);
        struct ahead panel = panel_after(o.b, panel_bytes, (rows + t->rows - 1) / t->rows);
        for (size_t s = 0; s < N_AHEAD; s++)
            ahead_share(&ahead[s]);
        for (size_t i = 0; i < rows; i += t->rows) {
            float *c = p->c + (row + i) * p->ldc + j;
            size_t m = size_min(t->rows, rows - i);
            o.a = packed_rows + i * o.words * WORD;
            ahead_share(&panel);
            prefetch_tile(pr, p, row, rows, i + t->rows, j);
            if (n == t->cols)
                rows_of_tile(pr, c, p->ldc, &o, m, accumulate);
            else
                part_of_tile(pr, c, p->ldc, &o, m, n, accumulate);
        }
    }
}

void gemm_multiply(const struct products *pr, const struct product *p)
{
    const struct gemm_tile *t = pr->tile;
    size_t width = padded(p->n, t->cols), values_of_b = p->halves ? 2 : t->values;
    struct ahead ahead[N_AHEAD] = { 0 };
    for (size_t s = 0; p->soon && s < SOON_SPANS; s++)
        ahead[s] = span_of_product(pr, p, s);
    for (size_t row = 0; row < p->m; row += KERNEL_ROWS) {
        size_t rows = size_min(KERNEL_ROWS, p->m - row);
        for (size_t k0 = 0; k0 < p->k; k0 += k_block(pr)) {
            size_t kc = size_min(k_block(pr), p->k - k0), words = words_of(t->values, kc);
            for (size_t i = 0; i < rows; i += t->rows)
                pack_panel(pr, t->values, (char *)p->scratch + i * words * WORD, t->rows,
                           p->a + (row + i) * p->step_m + k0 * p->step_k, p->step_m, p->step_k,
                           size_min(t->rows, rows - i), kc, halves_of(pr, p->scratch), false);
            ahead[SOON_SPANS] = rows_after(pr, p, row, k0);
            const struct operands o = {
                .a = p->scratch, .words = words, .halves = p->halves,
                .b = (const char *)p->packed + words_of(values_of_b, k0) * width * WORD,
            };
            multiply_block(pr, p, row, rows, o, p->accumulate || k0 > 0, ahead);
        }
    }
}

size_t gemm_peak(const struct products *pr, size_t steps)
{
    return pr->tile->peak(steps);
}
