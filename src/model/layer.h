/* layer.h - one decoder layer in its two steps: x += mixer(norm(x)); x += mlp(norm(x)).
 *
 * One iteration of the layer-major loop: it takes the residual stream of all windows of a pass through
 * one layer, the mixer tile by tile, the experts over all tokens at once.
 *
 * Parts of a layer's weights, counted from first_part: in a mixture of experts, part 0 is everything but
 * the experts and part 1 + e is expert e; in a dense model, part 0 is everything but the MLP and part 1
 * is the MLP. */
#ifndef SURPRISAL_MODEL_LAYER_H
#define SURPRISAL_MODEL_LAYER_H

#include "base/error.h"
#include "formats/weights.h"
#include "model/compute.h"
#include "model/moe.h"

#include <stdint.h>

struct layer_task {
    size_t index;                   /* of the layer, for messages */
    enum layer_type type;
    const struct layer_weights *weights;
    struct batch batch;
    float *x;                       /* [n_tokens, D]: the residual stream, changed in place */
    struct routing routing;         /* [n_tokens, k]: filled in a mixture of experts */
    size_t tile_tokens;             /* a multiple of DELTA_CHUNK */
    const struct weight_feed *feed;
    size_t first_part;
    struct step_progress progress;  /* told the fraction of the step that is done */
    /* In: the row of x where the step resumes.  Out: rows done so far, or LAYER_STOPPED_INSIDE_WINDOW
     * if it was stopped inside a window that is split into pieces. */
    size_t *rows_done;
};

#define LAYER_STOPPED_INSIDE_WINDOW SIZE_MAX

/* A NaN or infinity in the stream is an error that names layer, step, window and token.  While the
 * arena only measures, nothing is computed, and x, routing and feed are not touched.  Only output rows
 * (batch.output_rows) of x change. */
bool layer_mixer(const struct compute *cm, const struct layer_task *task, struct error *err);
/* May have fewer rows than the mixer: here rows do not depend on each other, and all are output rows. */
bool layer_mlp(const struct compute *cm, const struct layer_task *task, struct error *err);

#endif
