/* decoder_weights.h - the weights of a decoder: checked before their first use, in memory while
 * they are used.
 *
 * Without a budget they are mapped and the system brings them in; with one that has no room for
 * all, kept_weights.h says which of them stay. */
#ifndef SURPRISAL_DECODE_DECODER_WEIGHTS_H
#define SURPRISAL_DECODE_DECODER_WEIGHTS_H

#include "decode/kept_weights.h"
#include "engine/engine.h"
#include "model/compute.h"

struct decoder_weights {
    const struct engine *e;             /* borrowed */
    bool *checked;                      /* owned [parts]: their scales hold no NaN */
    struct kept_weights *kept;          /* owned; NULL: all weights may stay in memory */
    /* Others use embedding and head, too: both stay and are not counted here. */
    bool shares_vocabulary;
    size_t layer;                       /* in work */
};

bool decoder_weights_open(struct decoder_weights *w, const struct engine *e,
                          bool shares_vocabulary, struct error *err);
void decoder_weights_close(struct decoder_weights *w);

/* Bytes in memory at least: of what is in use at once, with n_experts of a layer's experts, and
 * with embedding and head in use for n_rows rows. */
size_t decoder_weights_least(const struct decoder_weights *w, size_t n_experts, size_t n_rows);
/* At most `bytes` of weights shall be in memory, at least the least for n_experts and n_rows. */
bool decoder_weights_limit(struct decoder_weights *w, size_t bytes, size_t n_experts,
                           size_t n_rows, struct error *err);

/* A step begins, or a piece of prefill: the scales of embedding and head are checked. */
bool decoder_weights_begin(struct decoder_weights *w, struct error *err);
/* The rows of the embedding were read. */
void decoder_weights_embedded(const struct decoder_weights *w);
/* Of the layer in work; w stays borrowed. */
struct weight_feed decoder_weights_feed(struct decoder_weights *w);
bool decoder_weights_need_head(struct decoder_weights *w, struct error *err);
void decoder_weights_head_done(struct decoder_weights *w);

#endif
