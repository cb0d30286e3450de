/* compute.h - what every step of the model computes with, and on which tokens.
 *
 * In BF16 compute values are rounded where transformers 5 in bfloat16 rounds them (grouped_mm experts,
 * sdpa attention), and nowhere else; they stay in f32 arrays.  Sums are f32 or double as ever.
 *
 *     weights                       all, before they are used (1 + w of a norm is a sum in f32)
 *     embedding, residual stream    after each addition
 *     norms over hidden_size,       their outputs
 *       q_norm, k_norm
 *     linear layers                 their outputs: projections, experts, router, gates, logits
 *     rotary embedding              cosine, sine, each product, the sum
 *     attention                     exp(score - max) before it meets the values, not in its own sum;
 *                                   the result; sigmoid(gate); their product
 *     delta net                     convolution; its SiLU; beta; the result of the delta rule; that
 *                                   normed; times weight; times SiLU(z), which is not rounded
 *                                   (decays and the rule itself: f32 and double)
 *     MLPs                          SiLU(gate); times up
 *     experts                       a token's weights (softmax itself: double); output times weight;
 *                                   the sum over experts
 *     shared expert                 sigmoid(gate); times output; plus the experts' sum
 *     log-sum-exp, NLL              not rounded
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

/* Sees what goes into linear layers: x [n, w->cols], rows ldx apart, as w is multiplied with it; not
 * that of a routed expert's up, which is gate's.  The rows of a weight come in the tokens' order, one
 * call at a time, and see() may use n_threads. */
struct input_observer {
    void (*observe)(void *user, const struct matrix *w, const float *x, size_t ldx, size_t n,
                    int n_threads);
    void *user;
};

/* Borrows everything. */
struct compute {
    const struct config *config;
    const struct kernels *kernels;
    enum compute_type type;
    int n_threads;
    struct arena *arena;            /* scratch; only measures when it has no block */
    const struct input_observer *observer;  /* of the layers' linears; NULL: nobody looks */
};

/* Row kernels that round as the table says, or do not in f32 compute. */
static inline const struct row_kernels *compute_rows(const struct compute *cm)
{
    return cm->type == COMPUTE_BF16 ? cm->kernels->rows_bf16 : cm->kernels->rows;
}

/* Weights are in memory in parts, each for a time: need waits for one, done lets it go.  Whoever
 * holds the weights gives these; parts are used in ascending order. */
struct weight_feed {
    bool (*need)(void *user, size_t part, struct error *err);
    void (*done)(void *user, size_t part);
    void *user;
};

/* How work reports the share of it that is done; false: stop, with err->interrupted.  report may be
 * NULL. */
struct step_progress {
    bool (*report)(void *user, double share);
    void *user;
};

struct batch {
    size_t n_windows, n_tokens;
    const size_t *start;            /* [n_windows + 1]: first row of each window; ascending */
    const size_t *skipped;          /* [n_windows]: tokens of each window before its first row; NULL:
                                       none.  For messages. */
    const size_t *output_rows;      /* [n_windows + 1]: rows, the last ones of their windows, whose output
                                       is needed, counted over the windows before each; NULL: all */
    size_t longest;                 /* tokens of the longest window */
    size_t first_window;            /* number of the first one in the whole job, for messages */
};

/* Rows [row, row + n) of the residual stream. */
struct tile {
    size_t row, n;
    size_t n_windows;               /* 1 for a piece */
    const size_t *start;            /* [n_windows + 1] rows in the stream; of a piece, its window's */
    const size_t *output_rows;      /* [n_windows + 1] as in the batch; NULL: all */
    size_t n_output_rows;           /* rows of the tile whose output is needed */
    size_t offset;                  /* tokens of the window before this piece; 0 for whole ones */
    bool is_piece;
};

/* Advances over the tiles of a batch: false after the last.  Start with *t zeroed.  max_tokens is
 * a multiple of DELTA_CHUNK; tiles depend on the batch and max_tokens alone. */
bool tile_next(struct tile *t, const struct batch *b, size_t max_tokens);

/* What lies in the tile of one of its windows, rows counted from tile->row. */
struct tile_window {
    size_t begin, end;              /* rows [begin, end) */
    size_t first_output;            /* of rows [first_output, end) the output is needed */
    size_t out;                     /* the number of the first of these among the tile's output rows */
};

struct tile_window tile_window(const struct tile *t, size_t w);

/* rows [n, row_floats] of the tile: moves the output rows to the front, in their order. */
void tile_keep_output_rows(const struct tile *t, float *rows, size_t row_floats);

#endif
