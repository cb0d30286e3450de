/* verify_levels.h - quantized weights that are a power of two too large or too small.
 *
 * RMS = sqrt(sum q^2 / n) of a kind in a layer, all experts together, against the linears of that
 * layer that are not quantized, of at least 64 rows and columns, routers left out.  A kind is
 * suspect when its RMS is 1.6 times above the largest of these, or below the smallest, in two
 * thirds of the layers that have at least two, and if the same is true of those of its own name
 * (the shared expert's down_proj), or, without any, of RMS times sqrt(columns): what is initialised
 * by its columns differs by them.  One step of a scale makes a factor of two, bias 125 instead of
 * 127 four; 1.6 leaves room for what the smallest and the largest linear differ by.  A single layer
 * is suspect at 2.5 times, if it is also 2.5 times away from where the kind is in the middle layer,
 * and its bulk (verify_extremes.h) an octave, which a few large weights do not move.  Nothing is
 * said of a checkpoint whose linears are all quantized.
 *
 * compressed-tensors 0.13, the first that wrote MXFP4, wrote its scales with bias 125
 * (github.com/vllm-project/compressed-tensors, pull request 538): named by the version. */
#ifndef SURPRISAL_VERIFY_VERIFY_LEVELS_H
#define SURPRISAL_VERIFY_VERIFY_LEVELS_H

#include "verify/verify_label.h"
#include "verify/verify_scan.h"

#define VERIFY_LEVEL_KIND  1.6
#define VERIFY_LEVEL_LAYER 2.5

double verify_levels_rms(const struct tally *t);

bool verify_levels(const struct tally *tallies, const struct verify_folder *f,
                   const struct weight_list *w, const struct verify_labels *labels,
                   struct findings *found, struct error *err);

#endif
