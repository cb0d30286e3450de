/* inspect.h - what a checkpoint is: architecture, weights by kind and dtype, what is quantized,
 * where config and files contradict each other, and what an evaluation costs.
 *
 * The JSON:
 *     path, revision (of the hub's repository, null: not known), model_type,
 *     architecture {the config's sizes},
 *     parameters, bytes, quantized_bytes          of the weights that an evaluation uses
 *     modules [{module, used, dtypes [{dtype, tensors, parameters, bytes}]}]
 *                                                 used first; then visual, mtp, other, stale;
 *                                                 mtp is for eval --mtp and --speculative alone
 *     contradictions [line], stale_tensors,
 *     warnings [line]                             choices left open (formats/notes.h)
 *     unread_settings [name]                      of the text model's config (config_unread.h)
 *     cost {bytes_per_pass                        read from disk for a pass over the layers
 *           flop_per_token                        2 x multiply-adds of the layers' matrix products
 *           head_flop_per_scored_token            and of the head's
 *           residual_bytes_per_token}             f32 residual stream
 * Packed weights count as dtype MXFP4, two stored tensors (codes, scales) for one matrix. */
#ifndef SURPRISAL_EVAL_SCORE_INSPECT_H
#define SURPRISAL_EVAL_SCORE_INSPECT_H

#include "base/json.h"
#include "base/memory.h"
#include "formats/weights.h"

/* Gives *out, to be freed by cJSON_Delete.  Reads headers, not weights.  A checkpoint that cannot
 * be evaluated is an error. */
bool inspect_checkpoint(cJSON **out, const char *path, struct error *err);
/* The same of one that is open. */
bool inspect_opened(cJSON **out, const struct checkpoint *ck, const struct weights *w,
                    struct error *err);

/* Appends the same for people: aligned tables of plain text. */
bool inspect_text(struct buffer *out, const cJSON *inspection, struct error *err);

#endif
