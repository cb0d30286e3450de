/* calibration_file.h - activation statistics as a safetensors file, for quantizers.
 *
 * For each linear layer X but the head, with names as in a checkpoint whose experts are split
 * ("model.language_model.layers.3.mlp.experts.7.gate_proj"), however they are stored:
 *     X.tokens               I64 [1]     tokens that X saw: for an expert those routed to it
 *     X.input_mean_square    F32 [in]    mean over them of the square of each input channel; zeros
 *                                        when there were none
 * Metadata says whose statistics they are: surprisal (version), checkpoint (SHA-256, weights.h),
 * text (SHA-256), protocol, context, stride, windows, tokens, compute.  A quantizer that weighs
 * squared errors of a weight's column c by X.input_mean_square[c] (qstream: gamma^2) makes the
 * error of X's output small, as far as channels do not depend on one another. */
#ifndef SURPRISAL_EVAL_SCORE_CALIBRATION_FILE_H
#define SURPRISAL_EVAL_SCORE_CALIBRATION_FILE_H

#include "engine/calibration.h"
#include "formats/safetensors.h"

/* About the bytes that the file will have. */
size_t calibration_file_bytes(const struct calibration *c);
/* The file appears at `path` when it is complete.  A mean beyond F32 is refused by name. */
bool calibration_file_write(const char *path, const struct calibration *c,
                            const struct checkpoint *ck, const struct weights *w,
                            const struct safetensors_note *notes, size_t n_notes,
                            struct error *err);

#endif
