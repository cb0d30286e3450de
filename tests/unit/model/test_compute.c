/* Tiles: every row once, windows whole where they fit, pieces at multiples of the tile. */
#include "model/compute.h"

#include "tests/check.h"
#include "tests/unit/model/model_fixture.h"

static bool tiles_hold(const struct batch *b, size_t max_tokens)
{
    struct tile t = { 0 };
    size_t next = 0;
    while (tile_next(&t, b, max_tokens)) {
        if (t.row != next || t.n == 0 || t.n > max_tokens)
            return false;
        size_t covered = 0;
        for (size_t w = 0; w < t.n_windows; w++) {
            const struct tile_window rows = tile_window(&t, w);
            if (rows.begin != covered || rows.end < rows.begin
                || rows.first_output != rows.begin || rows.out != rows.begin)
                return false;
            covered = rows.end;
            bool whole = t.row + rows.begin == t.start[w] && t.row + rows.end == t.start[w + 1];
            if (!t.is_piece && !whole)
                return false;
        }
        if (covered != t.n || t.n_output_rows != t.n || t.start != b->start + t.window
            || (t.is_piece && (t.row - t.start[0]) % max_tokens != 0))
            return false;
        next = t.row + t.n;
    }
    return next == b->n_tokens;
}

int main(void)
{
    static const struct { const char *name; size_t n, lengths[6]; } cases[] = {
        { "one short window",              1, { 5 } },
        { "windows that fill a tile",      4, { 32, 32, 32, 32 } },
        { "a window of one tile",          2, { 64, 64 } },
        { "one token more than a tile",    2, { 65, 3 } },
        { "long between short ones",       5, { 10, 20, 200, 30, 7 } },
        { "long at the end",               3, { 1, 1, 300 } },
        { "windows without tokens",        6, { 0, 5, 0, 0, 130, 0 } },
        { "no tokens at all",              2, { 0, 0 } },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct batch b = batch_of(cases[i].lengths, cases[i].n);
        check(tiles_hold(&b, 64) && tiles_hold(&b, 128), cases[i].name, "rows are lost or cut");
        free((void *)(uintptr_t)b.start);
    }
    return check_done();
}
