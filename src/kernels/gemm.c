#include "kernels/gemm.h"

#include <string.h>

#include "base/memory.h"

static size_t padded(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

size_t gemm_packed_floats(const struct kernels *kn, size_t n, size_t k)
{
    return padded(n, kn->tile->cols) * k;
}

/* Rows of A packed at a time: with GEMM_K_BLOCK a quarter of a megabyte, which stays in the
 * second-level cache while all panels go by. */
static size_t rows_at_once(const struct kernels *kn)
{
    return padded(KERNEL_ROWS, kn->tile->rows);
}

size_t gemm_scratch_floats(const struct kernels *kn)
{
    return rows_at_once(kn) * GEMM_K_BLOCK;
}

void gemm_transpose(float *panel, size_t width, const float *x, size_t step, size_t count,
                    size_t k)
{
    for (size_t p = 0; p < k; p++) {
        for (size_t line = 0; line < count; line++)
            panel[p * width + line] = x[line * step + p];
        for (size_t line = count; line < width; line++)
            panel[p * width + line] = 0;
    }
}

/* Writes lines [0, count) of k values as [k][width], with zeros for lines past count. */
static void pack_panel(const struct gemm_tile *t, float *panel, size_t width, const float *x,
                       size_t step_line, size_t step_k, size_t count, size_t k)
{
    if (step_k == 1) {
        t->transpose(panel, width, x, step_line, count, k);
        return;
    }
    for (size_t p = 0; p < k; p++) {            /* lines stand side by side */
        memcpy(panel + p * width, x + p * step_k, count * sizeof *panel);
        memset(panel + p * width + count, 0, (width - count) * sizeof *panel);
    }
}

void gemm_pack(const struct kernels *kn, float *packed, const struct operand *b, size_t first,
               size_t count)
{
    size_t cols = kn->tile->cols, width = padded(b->n, cols);
    for (size_t k0 = 0; k0 < b->k; k0 += GEMM_K_BLOCK) {
        size_t kc = size_min(GEMM_K_BLOCK, b->k - k0);
        for (size_t j = first; j < first + count; j += cols)
            pack_panel(kn->tile, packed + k0 * width + j * kc, cols,
                       b->b + k0 * b->step_k + (j - first) * b->step_n, b->step_n, b->step_k,
                       size_min(cols, first + count - j), kc);
    }
}

/* One block of A's rows, packed, and of k against all panels. */
static void multiply_block(const struct gemm_tile *t, const struct product *p, size_t row,
                           size_t rows, const float *panels, size_t kc, bool accumulate)
{
    for (size_t j = 0; j < p->n; j += t->cols)
        for (size_t i = 0; i < rows; i += t->rows)
            t->multiply(p->c + (row + i) * p->ldc + j, p->ldc, p->scratch + i * kc,
                        panels + j * kc, kc, size_min(t->rows, rows - i),
                        size_min(t->cols, p->n - j), accumulate);
}

void gemm_multiply(const struct kernels *kn, const struct product *p)
{
    const struct gemm_tile *t = kn->tile;
    size_t width = padded(p->n, t->cols), row_block = rows_at_once(kn);
    for (size_t row = 0; row < p->m; row += row_block) {
        size_t rows = size_min(row_block, p->m - row);
        for (size_t k0 = 0; k0 < p->k; k0 += GEMM_K_BLOCK) {
            size_t kc = size_min(GEMM_K_BLOCK, p->k - k0);
            for (size_t i = 0; i < rows; i += t->rows)
                pack_panel(t, p->scratch + i * kc, t->rows,
                           p->a + (row + i) * p->step_m + k0 * p->step_k, p->step_m, p->step_k,
                           size_min(t->rows, rows - i), kc);
            multiply_block(t, p, row, rows, p->packed + k0 * width, kc, p->accumulate || k0 > 0);
        }
    }
}
