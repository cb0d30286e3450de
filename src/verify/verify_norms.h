/* verify_norms.h - norms to which a converter added 1 once more, or took it away.
 *
 * The norms of the text model store w and scale by 1 + w, so that w is near 0; the gated norm of
 * the delta net stores its factor, near 1.  Engines that fold the 1 into the weights write
 * checkpoints that others cannot tell from the original by names and shapes.
 *
 * A norm looks as if 1 were added when its middle value is above 0.5 (a factor: 1.4) and, for norms
 * that store w, each of its values is a multiple of 2^-p, p the bits of its type's significand
 * (BF16 8, F16 11, F32 24): sums 1 + w in [0.5, 2) are, while of weights around 0 many are not.  It
 * looks as if 1 were taken away when its middle value is below -0.75 (a factor: 0.25).
 *
 * Suspect is a kind of norm of which at least two thirds of the layers, and two, look so; else a
 * layer that does, and differs by 0.6 from the layers of its kind before and after that do not: one
 * layer's norms are like the next ones', and a step of 1 is not.  Where a model has a norm once, it
 * is suspect with another kind, or with two more such: the last norm of Qwen3.5 is far from 0 by
 * itself.  Released checkpoints have means of w from -0.03 to 0.25, converted ones 0.97 to 1.36
 * (github.com/ml-explore/mlx-lm, pull request 1623; mlx-swift-lm 598; Blaizzy/mlx-vlm 2041,
 * 2114). */
#ifndef SURPRISAL_VERIFY_VERIFY_NORMS_H
#define SURPRISAL_VERIFY_VERIFY_NORMS_H

#include "verify/verify_label.h"
#include "verify/verify_folder.h"

/* Whether each of n values is a multiple of 2^-p of the type: F32, F16 or BF16. */
bool verify_norms_are_sums(const float *x, size_t n, enum dtype dtype);

bool verify_norms(const struct verify_folder *f, const struct weight_list *w,
                  const struct verify_labels *labels, struct findings *found, struct error *err);

#endif
