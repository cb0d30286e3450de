/* verify_extremes.h - values that are finite and yet unlike all others: a flipped bit, 1e30.
 *
 * Of each tensor its peaks are known (struct tally_peaks).  The bulk is the mean of their log2.
 * Going up from the peak nearest to it, the tensor's own values end where no peak has any of the
 * next APART octaves; what lies above is apart.  It is suspect when it is also APART octaves above
 * the own values of every tensor of its kind, in any layer, and at least 4, or, where the tensor is
 * the only one, 16.
 *
 *     APART = 8 octaves, 256 times.  The largest of Student's t with 3 degrees is 256 times the
 *     second one in 256^-3 = 6e-8 of all tensors.  Outlier channels and the single weights behind
 *     massive activations (arXiv:2402.17762, 2411.07191) are not as far from the next ones.  A flip
 *     of the highest bit of the exponent is 2^128 in BF16 and 2^16 in F16.
 *     APART = 10 octaves above 1 or its own values for a vector: in a norm, single weights are far
 *     above the others, which may be near 0.
 *
 * A whole tensor is suspect whose peaks are in the mean 10 octaves above those of the middle tensor
 * of its kind and above 16, or above 2^20 in any case. */
#ifndef SURPRISAL_VERIFY_VERIFY_EXTREMES_H
#define SURPRISAL_VERIFY_VERIFY_EXTREMES_H

#include "verify/verify_label.h"
#include "verify/verify_scan.h"

/* The mean of the peaks' log2; of no peak: -infinity.  Of each peak, the bits of its f32 are taken
 * as 2^23 (127 + log2), which is wrong by 0.09 at most. */
double verify_extremes_bulk(const struct tally_peaks *p);
/* The exponent (as ilogb) of the largest of the tensor's own values. */
int verify_extremes_own(const struct tally_peaks *p, bool is_vector);

bool verify_extremes(const struct tally *tallies, const struct weight_list *w,
                     const struct verify_labels *labels, struct findings *found,
                     struct error *err);

#endif
