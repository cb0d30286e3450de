/* layer.h - one decoder layer: x += mixer(norm(x)); x += mlp(norm(x)).
 *
 * The unit of the layer-major loop: it takes the residual stream of all windows of a pass through
 * one layer, mixers tile by tile, experts over all tokens at once. */
#ifndef SURPRISAL_MODEL_LAYER_H
#define SURPRISAL_MODEL_LAYER_H

#include "base/error.h"
#include "formats/weights.h"
#include "model/compute.h"
#include "model/moe.h"

struct layer_task {
    size_t index;                   /* of the layer, for messages */
    enum layer_type type;
    const struct layer_weights *weights;
    struct batch batch;
    float *x;                       /* [n_tokens, D]: the residual stream, changed in place */
    struct routing routing;         /* [n_tokens, k]: filled in a mixture of experts */
    size_t tile_tokens;             /* a multiple of DELTA_CHUNK */
    /* Called now and then with the share of the layer that is done; false stops the work.  NULL
     * is fine. */
    bool (*report)(void *user, double share);
    void *user;
};

/* A NaN or infinity in the stream is an error that names layer, step, window and token; a stopped
 * task fails with err->interrupted.  While the arena only measures, nothing is computed and x and
 * routing are not touched. */
bool layer_forward(const struct compute *cm, const struct layer_task *task, struct error *err);

#endif
