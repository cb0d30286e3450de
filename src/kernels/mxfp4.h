/* mxfp4.h - from 32 numbers to a scale byte and 32 codes.
 *
 * The format is in kernels/stored.h.  Three rules choose the exponent k of the
 * scale 2^k:
 *
 * QSTREAM  qstream's, in its float32 arithmetic (github.com/olka/qstream).
 *          anchor = a percentile of |w| (linear between order statistics); below 1e-6 the block
 *          becomes zeros.  f = floor(log2(anchor / 6)); of f - 1, f, f + 1 the first with the least
 *          mean of (q 2^k - w)^2; if then some |w| > 6 * 2^k and k < safe - 1, k = safe with
 *          safe = ceil(log2(max |w| / 6)).  Means are summed in the order of torch on x86-64, which
 *          is not part of the algorithm: choices that it may have decided are counted.
 * EXACT    the k of least error, of all: sums in double, in order; ties to the larger k.  At most
 *          125, beyond which a code may mean an infinity.
 * OCP      k = floor(log2(max |w|)) - 2, at least -127 (OCP Microscaling 1.0, 6.3).
 *
 * Codes are the nearest magnitudes of w / 2^k, at most 6; ties go toward zero, in OCP to the even
 * code; the sign bit is set where w / 2^k < 0.  A block of zeros has scale byte 0 in EXACT and OCP.
 *
 * QSTREAM and EXACT weigh the errors when they are told how: by a factor for each channel, or by a
 * matrix H [32, 32], the error being d H d^T with d = q 2^k - w. */
#ifndef SURPRISAL_KERNELS_MXFP4_H
#define SURPRISAL_KERNELS_MXFP4_H

#include "kernels/kernels.h"

enum mxfp4_scale { MXFP4_QSTREAM, MXFP4_EXACT, MXFP4_OCP };

/* Weights that share a scale. */
static inline size_t mxfp4_block_size(void)
{
    return MXFP4_BLOCK;
}

struct mxfp4_rule {
    enum mxfp4_scale scale;
    struct mxfp4_percentile anchor;     /* of QSTREAM */
};

/* percentile: above 0, at most 100. */
struct mxfp4_rule mxfp4_rule(enum mxfp4_scale scale, double percentile);

/* How errors count; both NULL: all alike.  Borrows. */
struct mxfp4_importance {
    const float *channels;              /* [cols] factors of squared errors */
    const float *hessian;               /* [cols / 32, 32, 32] */
};

/* The definition, one block of finite numbers.  channels [32] and hessian [32, 32] may be NULL, and
 * one of them is.  Returns whether the choice hung on less than MXFP4_UNDECIDED of the error. */
bool mxfp4_quantize_block(uint8_t packed[16], uint8_t *scale, const float w[32],
                          const struct mxfp4_rule *rule, const float *channels,
                          const float *hessian);

/* n blocks of rows of `period` blocks, the first of them being block `first` of its row; packed [n,
 * 16], scale [n].  By the kernel where there is one for the rule, with the same result.  Returns
 * the number of undecided blocks. */
size_t mxfp4_quantize(uint8_t *packed, uint8_t *scale, const float *w, size_t n, size_t first,
                      size_t period, const struct mxfp4_rule *rule,
                      const struct mxfp4_importance *importance, const struct kernels *kn);

#endif
