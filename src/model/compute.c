#include "model/compute.h"

#include <assert.h>
#include <string.h>

#include "base/memory.h"

/* Rows and windows of the tile after *t. */
static bool next_rows(struct tile *t, const struct batch *b, size_t max_tokens)
{
    assert(max_tokens % DELTA_CHUNK == 0 && max_tokens > 0);
    size_t row = t->row + t->n;
    if (row >= b->n_tokens)
        return false;
    /* Where the last tile ended: inside its window, or at the start of the next one. */
    const size_t *window = t->start ? t->start + (t->is_piece ? 0 : t->n_windows) : b->start;
    const size_t *last = b->start + b->n_windows;
    while (window + 1 < last && window[1] <= row)
        window++;
    *t = (struct tile){ .row = row, .window = (size_t)(window - b->start), .start = window };
    size_t left = window[1] - row;
    if (row > window[0] || left > max_tokens) {
        t->is_piece = true;
        t->n_windows = 1;
        t->n = size_min(left, max_tokens);
        return true;
    }
    while (window < last && window[1] - row <= max_tokens)
        window++;
    t->n_windows = (size_t)(window - t->start);
    t->n = *window - row;
    return true;
}

bool tile_next(struct tile *t, const struct batch *b, size_t max_tokens)
{
    if (!next_rows(t, b, max_tokens))
        return false;
    t->output_rows = b->output_rows ? b->output_rows + t->window : NULL;
    const struct tile_window last = tile_window(t, t->n_windows - 1);
    t->n_output_rows = last.out + last.end - last.first_output;
    return true;
}

struct tile_window tile_window(const struct tile *t, size_t w)
{
    struct tile_window r = { .begin = t->is_piece ? 0 : t->start[w] - t->row,
                             .end = t->is_piece ? t->n : t->start[w + 1] - t->row };
    r.first_output = r.out = r.begin;
    if (t->output_rows) {
        size_t n = t->output_rows[w + 1] - t->output_rows[w];
        size_t first = t->start[w + 1] - n;     /* in the stream */
        r.first_output = size_max(r.begin, size_min(r.end, first - size_min(first, t->row)));
        r.out = t->output_rows[w] - t->output_rows[0];
    }
    return r;
}

size_t tile_window_rows(const struct tile *t, size_t w)
{
    const struct tile_window rows = tile_window(t, w);
    return rows.end - rows.begin;
}

void tile_keep_output_rows(const struct tile *t, float *rows, size_t row_floats)
{
    if (t->n_output_rows == t->n)
        return;
    for (size_t w = 0; w < t->n_windows; w++) {
        const struct tile_window r = tile_window(t, w);
        memmove(rows + r.out * row_floats, rows + r.first_output * row_floats,
                (r.end - r.first_output) * row_floats * sizeof *rows);
    }
}
