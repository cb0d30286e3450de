/* compute.h - the settings that every step of the model computes with, and the tokens it computes
 * on.
 *
 * In BF16 compute values are rounded where transformers 5 in bfloat16 rounds them (grouped_mm
 * experts, sdpa attention), and nowhere else; they stay in f32 arrays.  Sums are f32 or double, as
 * in f32 compute.
 *
 *     weights                       all, before they are used (1 + w of a norm is a sum in f32)
 *     embedding, residual stream    after each addition
 *     norms over hidden_size,       their outputs
 *       q_norm, k_norm
 *     linear layers                 their outputs: projections, experts, router, gates, logits
 *     rotary embedding              cosine, sine, each product, the sum
 *     attention                     exp(score - max) before it meets the values, not in its own
 *                                   sum; the result; sigmoid(gate); their product
 *     delta net                     convolution; its SiLU; beta; the result of the delta rule;
 *                                   that normed; times weight; times SiLU(z), which is not rounded
 *                                   (decays and the rule itself: f32 and double)
 *     MLPs                          SiLU(gate); times up
 *     experts                       a token's weights (softmax itself: double); output times
 *                                   weight; the sum over experts
 *     shared expert                 sigmoid(gate); times output; plus the experts' sum
 *     log-sum-exp, NLL              not rounded
 *
 * A batch is the windows of one pass, their tokens back to back in the residual stream.  A window
 * is the rows of one sequence: all of them, or those that follow what its states hold (attention.h,
 * delta_net.h).  Mixers work on tiles: the windows that fit, or a piece of one long window, so that
 * the size of buffers follows the tile and not the text. */
#ifndef SURPRISAL_MODEL_COMPUTE_H
#define SURPRISAL_MODEL_COMPUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "formats/config.h"
#include "kernels/kernels.h"

/* Gets the inputs of linear layers: x [n, w->cols], rows ldx apart, as it is multiplied with w.
 * Called once for gate and up of a routed expert, which share their input (w is gate).  The rows of
 * a weight come in the order of the tokens, one call at a time; observe() may use n_threads. */
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
    /* A few rows: linear layers and experts multiply each weight with all of them while it is
     * decoded (struct dots_ops of kernels.h), and not by the large products.  Sums have another
     * order. */
    bool few_rows;
    const struct input_observer *observer;  /* of the layers' linear layers; NULL: none */
};

/* Row kernels that round as the table says in BF16 compute, and not at all in f32. */
static inline const struct row_kernels *compute_rows(const struct compute *cm)
{
    return cm->type == COMPUTE_BF16 ? cm->kernels->rows_bf16 : cm->kernels->rows;
}

/* Weights are streamed in parts.  need() blocks until a part is resident; done() releases it.
 * Parts are used in ascending order. */
struct weight_feed {
    bool (*need)(void *user, size_t part, struct error *err);
    void (*done)(void *user, size_t part);
    void *user;
};

/* Gets the fraction of a step that is done.  Returns false to stop it, with err->interrupted.
 * report may be NULL. */
struct step_progress {
    bool (*report)(void *user, double fraction);
    void *user;
};

struct batch {
    size_t n_windows, n_tokens;
    const size_t *start;            /* [n_windows + 1]: first row of each window; ascending */
    const size_t *skipped;          /* [n_windows]: tokens of each window that have no row here,
                                       before its first row; NULL: none.  For messages. */
    /* [n_windows + 1]: output rows of the windows before each one.  The output rows of a window,
     * those whose output is needed, are its last rows.  NULL: all rows. */
    const size_t *output_rows;
    size_t longest;                 /* tokens of the longest window */
    size_t first_window;            /* number of the first one in the whole job, for messages */
};

/* The window of a row, and *token: the row's token in it. */
static inline size_t batch_window(const struct batch *b, size_t row, size_t *token)
{
    size_t window = 0;
    while (b->start[window + 1] <= row)
        window++;
    *token = row - b->start[window] + (b->skipped ? b->skipped[window] : 0);
    return window;
}

/* Rows [row, row + n) of the residual stream: windows [window, window + n_windows) of the batch, or
 * a piece of one. */
struct tile {
    size_t row, n;
    size_t window, n_windows;
    const size_t *start;            /* [n_windows + 1]: rows in the stream, of whole windows */
    const size_t *output_rows;      /* [n_windows + 1] as in the batch; NULL: all */
    size_t n_output_rows;           /* output rows of the tile */
    bool is_piece;                  /* n_windows is 1, and pieces of the window come in order */
};

/* Advances over the tiles of a batch: false after the last.  Start with *t zeroed.  max_tokens is
 * a multiple of DELTA_CHUNK; tiles depend on the batch and max_tokens alone. */
bool tile_next(struct tile *t, const struct batch *b, size_t max_tokens);

/* The part of window tile->window + w that is in the tile; rows are counted from tile->row. */
struct tile_window {
    size_t begin, end;              /* rows [begin, end) */
    size_t first_output;            /* rows [first_output, end) are output rows */
    size_t out;                     /* index of the first of these among the tile's output rows */
};

struct tile_window tile_window(const struct tile *t, size_t w);
size_t tile_window_rows(const struct tile *t, size_t w);

/* rows [n, row_floats] of the tile: moves the output rows to the front, in their order. */
void tile_keep_output_rows(const struct tile *t, float *rows, size_t row_floats);

#endif
