/* verify_scan.h - the values of a checkpoint, read once: what is odd in them, and how far they
 * are from the original's.
 *
 * With w the original's weights and q this checkpoint's, sums over a tensor in double:
 *     SQNR = 10 log10(sum w^2 / sum (w - q)^2) dB,   relative error = sqrt(sum (w - q)^2 / sum w^2)
 * A block is `off` when another power of two would fit its codes better, that is when the best
 * factor s = sum wq / sum q^2 is at least 1.75 or at most 0.57 although codes and weights agree
 * otherwise: (sum wq)^2 > 0.9 sum w^2 sum q^2.  A quantizer that rounds to nearest under a scale
 * that fits the block's largest weight is near s = 1; a scale byte that is one too small gives 2,
 * one too large 1/2.
 *
 * Streams: rows in tiles by all threads, pages released after use; partial sums are added in the
 * order of the rows, so the result does not depend on the threads. */
#ifndef SURPRISAL_VERIFY_VERIFY_SCAN_H
#define SURPRISAL_VERIFY_VERIFY_SCAN_H

#include "base/progress.h"
#include "kernels/stored.h"
#include "verify/verify_folder.h"

/* A block that is zero is no fault when its largest weight is not above this: qstream makes
 * blocks below 1e-6 zero. */
#define VERIFY_ZERO_WEIGHT 1e-5f

/* The largest magnitude of each run of a row that is finite and not zero: TALLY_RUN columns, one of
 * a vector.  A tensor's largest values are all seen, and most of the others cost nothing. */
#define TALLY_RUN ((size_t)32)
struct tally_peaks {
    size_t n;
    uint64_t sum_bits;                          /* of the peaks as f32: 2^23 times their log2 */
    uint64_t exponents[4];                      /* a bit for each biased exponent that a peak has */
    uint32_t largest; /* bits of the largest, and its index in the weight */
    size_t at_largest;
};

struct tally {
    size_t elements;
    size_t non_finite, first_non_finite;        /* elements; index in the weight */
    uint32_t largest;                           /* bits of the largest magnitude */
    bool varies;                                /* not all elements are the same */
    uint32_t first_bits;
    double sum_q2;                              /* of finite elements */
    struct tally_peaks peaks;
    /* packed, in blocks of a row (stored_largest_code) */
    size_t codes;                               /* in blocks */
    size_t blocks, nan_scales, first_nan_scale; /* index of the block */
    struct stored_nan bad;                      /* in rows without a tensor of scales; what: NULL */
    size_t zero_blocks, rows, zero_rows;
    size_t largest_codes, small_blocks; /* codes at 6; blocks, not zero, with none above 1 */
    /* against the original */
    bool compared;
    size_t different, first_different;          /* elements whose bits differ, or that differ by
                                                   more than rounding if both are plain */
    double sum_w2, sum_error2;                  /* blocks with a NaN scale left out */
    size_t original_non_finite;
    size_t clipped;                             /* |w| > 6 * 2^(scale - 127) */
    size_t off_blocks, first_off;
    double off_factor;                          /* of the first */
    size_t zeroed_blocks, first_zeroed;         /* zero here, above VERIFY_ZERO_WEIGHT there */
    size_t zero_rows_there;                     /* zero rows that are zero in the original too */
};

/* tallies: [w->n]; original NULL: not compared.  A weight is compared with the one of its name when
 * both are whole and of one shape. */
bool verify_scan(struct tally *tallies, const struct verify_folder *f, const struct weight_list *w,
                 const struct verify_folder *original_folder, const struct weight_list *original,
                 int n_threads, const struct progress *progress, struct error *err);

/* The weight's counterpart, NULL when there is none to compare it with. */
const struct listed_weight *verify_scan_counterpart(const struct listed_weight *w,
                                                    const struct weight_list *original);

/* sum += t, the rows of t following those of sum. */
void tally_add(struct tally *sum, const struct tally *t);
double tally_sqnr(const struct tally *t); /* dB; NaN when not known, infinity: exact */
double tally_relative_error(const struct tally *t);

#endif
