#include "model/compute.h"

#include <assert.h>

bool tile_next(struct tile *t, const struct batch *b, size_t max_tokens)
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
    *t = (struct tile){ .row = row, .start = window };
    size_t left = window[1] - row;
    if (row > window[0] || left > max_tokens) {
        t->is_piece = true;
        t->n_windows = 1;
        t->offset = row - window[0];
        t->n = size_min(left, max_tokens);
        return true;
    }
    while (window < last && window[1] - row <= max_tokens)
        window++;
    t->n_windows = (size_t)(window - t->start);
    t->n = *window - row;
    return true;
}

void tile_rows(const struct tile *t, size_t w, size_t *begin, size_t *end)
{
    *begin = t->is_piece ? 0 : t->start[w] - t->row;
    *end = t->is_piece ? t->n : t->start[w + 1] - t->row;
}
