/* compute.h - what every step of the model computes with, and on which tokens.
 *
 * A batch is the windows of one pass, their tokens back to back in the residual stream.  Mixers
 * work on tiles: several whole windows, or a piece of one long window, so that scratch space
 * follows the tile and not the text. */
#ifndef SURPRISAL_MODEL_COMPUTE_H
#define SURPRISAL_MODEL_COMPUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/memory.h"
#include "formats/config.h"
#include "kernels/kernels.h"

/* Borrows everything. */
struct compute {
    const struct config *config;
    const struct kernels *kernels;
    enum compute_type type;
    int n_threads;
    struct arena *arena;            /* scratch; only measures when it has no block */
};

/* Weights are in memory in parts, each for a time: need waits for one, done lets it go.  Whoever
 * holds the weights gives these; parts are used in ascending order. */
struct weight_feed {
    bool (*need)(void *user, size_t part, struct error *err);
    void (*done)(void *user, size_t part);
    void *user;
};

/* How work reports the share of it that is done; false: stop, with err->interrupted.  report may be
 * NULL. */
struct watch {
    bool (*report)(void *user, double share);
    void *user;
};

struct batch {
    size_t n_windows, n_tokens;
    const size_t *start;            /* [n_windows + 1]: first row of each window; ascending */
    const size_t *skipped;          /* [n_windows]: tokens of each window before its first row; NULL:
                                       none.  For messages. */
    size_t longest;                 /* tokens of the longest window */
    size_t first_window;            /* number of the first one in the whole job, for messages */
};

/* Rows [row, row + n) of the residual stream. */
struct tile {
    size_t row, n;
    size_t n_windows;               /* 1 for a piece */
    const size_t *start;            /* [n_windows + 1] rows in the stream; of a piece, its window's */
    size_t offset;                  /* tokens of the window before this piece; 0 for whole ones */
    bool is_piece;
};

/* Advances over the tiles of a batch: false after the last.  Start with *t zeroed.  max_tokens is
 * a multiple of DELTA_CHUNK; tiles depend on the batch and max_tokens alone. */
bool tile_next(struct tile *t, const struct batch *b, size_t max_tokens);

/* Rows of window w of the tile that lie in the tile: [*begin, *end) counted from tile->row. */
void tile_rows(const struct tile *t, size_t w, size_t *begin, size_t *end);

#endif
