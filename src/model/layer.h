/* layer.h - one decoder layer in its two steps: x += mixer(norm(x)); x += mlp(norm(x)).
 *
 * One iteration of the layer-major loop: it takes the residual stream of all windows of a pass
 * through one layer, the mixer tile by tile, the experts over all tokens at once.
 *
 * Windows are whole sequences, or they continue sequences: then the caller gives the state of each
 * in this layer, which holds the new rows too after layer_mixer.  A whole window that goes in
 * pieces uses a state among the buffers.  The results of a sequence have the same bits whatever
 * rows are beside its own, with any number of threads and any tiles, and wherever it is cut between
 * two calls, if n_past is a multiple of DELTA_CHUNK there.
 *
 * Parts of a layer's weights, counted from first_part: in a mixture of experts, part 0 is
 * everything but the experts and part 1 + e is expert e; in a dense model, part 0 is everything but
 * the MLP and part 1 is the MLP. */
#ifndef SURPRISAL_MODEL_LAYER_H
#define SURPRISAL_MODEL_LAYER_H

#include <stdint.h>

#include "base/error.h"
#include "formats/weights.h"
#include "model/attention.h"
#include "model/delta_net.h"
#include "model/experts.h"
#include "model/nonfinite.h"

struct layer_task {
    size_t index;                   /* of the layer, for messages */
    enum layer_type type;
    const struct layer_weights *weights;
    struct batch batch;
    float *x;                       /* [n_tokens, D]: the residual stream, changed in place */
    struct routing routing;         /* [n_tokens, k]: filled in a mixture of experts */
    size_t tile_tokens;             /* a multiple of DELTA_CHUNK */
    /* [n_windows], of the layer's type: the states of the sequences that the windows continue;
     * NULL: windows are whole sequences. */
    struct attention_state *const *attention_states;
    struct delta_net_state *const *delta_net_states;
    const struct weight_feed *feed;
    size_t first_part;
    struct step_progress progress;  /* told the fraction of the step that is done */
    struct nonfinite *nonfinite;    /* [n_windows]; NULL: the first NaN or infinity ends the step */
    /* In: the row of x where the step resumes.  Out: rows done so far, or
     * LAYER_STOPPED_INSIDE_WINDOW if it was stopped inside a window that is split into pieces. */
    size_t *rows_done;
};

#define LAYER_STOPPED_INSIDE_WINDOW SIZE_MAX

/* ---- buffers --------------------------------------------------------------- */

/* The rows that buffers are for. */
struct layer_shape {
    enum layer_type type;
    size_t n_tokens;                /* of the residual stream */
    size_t tile_rows;               /* of the largest tile of the mixer, */
    size_t tile_output_rows;        /*     of the one with the most output rows */
    size_t piece_tokens;            /* of the longest whole window that goes in pieces; 0: none */
    size_t mlp_rows;                /* of a tile of the MLP */
};

/* Of a task; its weights and its feed do not matter. */
struct layer_shape layer_shape_of(const struct layer_task *task);
/* An upper bound for any task of n_tokens in whole windows, each of `longest` tokens at most. */
struct layer_shape layer_shape_bound(enum layer_type type, size_t n_tokens, size_t longest,
                                     size_t tile_tokens);

struct layer_mixer_buffers {
    float *norm;                    /* [D] */
    float *h;                       /* [tile_rows, D]: the normed input */
    float *y;                       /* [tile_output_rows, D] */
    /* Of the layer's type: */
    struct attention_buffers attention;
    struct delta_net_buffers delta_net;
    void *delta_net_memory;         /* of a state */
    /* Of the window that is in pieces: */
    struct attention_state attention_state;
    struct delta_net_state delta_net_state;
};

struct layer_mlp_buffers {
    float *norm;                    /* [D] */
    /* Of a mixture of experts: */
    float *out;                     /* [n_tokens, D] */
    uint16_t *shared;               /* [n_tokens, D] in BF16 compute */
    float *sparse_h;                /* [mlp_rows, D], while moe is in use */
    struct moe_buffers moe;
    struct experts_buffers experts; /* after them, in their place */
    /* Of a dense model: */
    float *h, *y;                   /* [mlp_rows, D] */
    struct mlp_buffers mlp;
};

/* The two steps, one after the other. */
struct layer_buffers {
    struct layer_mixer_buffers mixer;
    struct layer_mlp_buffers mlp;
};

struct layer_buffers layer_buffers_take(struct arena *a, const struct compute *cm,
                                        const struct layer_shape *shape);

/* ---- the steps ------------------------------------------------------------- */

/* A NaN or infinity in the stream is an error that names layer, step, window and token, and the
 * expert if it is one's; or it is noted, and its window becomes 0 (nonfinite.h).  Else only output
 * rows (batch.output_rows) of x change. */
bool layer_mixer(const struct compute *cm, const struct layer_task *task, struct layer_buffers *b,
                 struct error *err);
/* May have fewer rows than the mixer: here rows do not depend on each other, and all are output
 * rows. */
bool layer_mlp(const struct compute *cm, const struct layer_task *task, struct layer_buffers *b,
               struct error *err);

#endif
