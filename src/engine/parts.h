/* parts.h - what a pass reads, in the order in which the model uses it.
 *
 *     embedding, a tile of the vocabulary at a time
 *     layer after layer: all but the experts (in dense models: the mixer, then the MLP), then
 *                        expert by expert
 *     head, a tile of the vocabulary at a time (the last norm with the first) */
#ifndef SURPRISAL_ENGINE_PARTS_H
#define SURPRISAL_ENGINE_PARTS_H

#include "engine/stream.h"
#include "formats/weights.h"

struct parts {
    struct stream_parts list;           /* owned */
    size_t *layer;                      /* owned [n_layers + 1]: first part of each layer; of the head */
    size_t bytes;                       /* of all parts */
    size_t largest;                     /* bytes of the largest part */
    size_t largest_layer;
};

/* ck and w stay borrowed. */
bool parts_make(struct parts *p, const struct checkpoint *ck, const struct weights *w,
                struct error *err);
void parts_free(struct parts *p);

#endif
