/* weight_schedule.h - the weights that a pass reads, in parts, in the order in which the model uses
 * them.
 *
 *     part 0 .. V-1     V           V+1        ...  V+E          V+E+1            layer[L] .. +V-1
 *     +-----------+-----------+----------+-----+----------+-----------+-----+-------------------+
 *     | embedding | layer 0:  | expert 0 | ... | expert   | layer 1:  | ... | last norm, head   |
 *     | in tiles  | all but   |          |     | E - 1    | all but   |     | in tiles          |
 *     |           | experts   |          |     |          | experts   |     |                   |
 *     +-----------+-----------+----------+-----+----------+-----------+-----+-------------------+
 *                 ^ layer[0]                              ^ layer[1]        ^ layer[L]
 *
 * V tiles of the vocabulary, E experts, L layers.  A layer of a dense model has two parts: all but
 * the MLP, then the MLP.  The first tile of the head brings the last norm with it.
 *
 * How the words fit together:
 *
 *     pass     windows that go through all layers together; the memory budget sets their number
 *      |
 *     layer    the outer loop: mixer, then MLP or experts, on the rows of all windows
 *      |
 *      +-- part    weights that are read and released together: what this file lists
 *      |
 *      +-- tile    rows that the mixer computes together: whole windows, or a piece of one long
 *                  window (model/compute.h)
 *
 * A tile of the vocabulary is VOCABULARY_TILE rows of the embedding or the head; a tile of a matrix
 * product is MR x NR of its elements (kernels/gemm.h). */
#ifndef SURPRISAL_ENGINE_WEIGHT_SCHEDULE_H
#define SURPRISAL_ENGINE_WEIGHT_SCHEDULE_H

#include "engine/stream.h"
#include "formats/weights.h"

struct weight_schedule {
    struct stream_parts list;           /* owned */
    size_t *layer; /* owned [n_layers + 1]: first part of each layer, and of the head */
    size_t bytes;                       /* of all parts */
    size_t largest;                     /* bytes of the largest part */
    size_t largest_layer;
};

/* ck and w stay borrowed. */
bool weight_schedule_make(struct weight_schedule *p, const struct checkpoint *ck,
                          const struct weights *w, struct error *err);
/* What one draft of all rows reads: the embedding in tiles, the MTP layer as layer 0, the head in
 * tiles (from layer[1] on), and the head again (from layer[2] on). */
bool weight_schedule_make_draft(struct weight_schedule *p, const struct checkpoint *ck,
                                const struct weights *w, const struct mtp_weights *mtp,
                                struct error *err);
void weight_schedule_free(struct weight_schedule *p);

#endif
