/* limits.h - what this machine can do at best, and what a product reaches here.
 *
 * The roofline of an evaluation: arithmetic in registers, memory and disk, each measured for
 * itself. */
#ifndef SURPRISAL_ENGINE_LIMITS_H
#define SURPRISAL_ENGINE_LIMITS_H

#include "base/error.h"
#include "kernels/kernels.h"

/* ---- arithmetic ------------------------------------------------------- */

/* The products' arithmetic alone by n_threads at once: fused multiply-adds in registers, or BF16
 * dots.  A set that leaves its products to BLAS gets the limit of the best set, since BLAS chooses
 * its instructions for itself. */
struct limits_peak {
    const struct gemm_ops *gemm;
    int n_threads;
    size_t steps, flop;             /* of a call: flop of one thread */
};

/* Takes some 10 ms to find out how many steps make starting threads cost nothing. */
struct limits_peak limits_peak(const struct kernels *kn, enum compute_type type, int n_threads);
/* FLOP/s of one round of `seconds`. */
double limits_peak_round(struct limits_peak *peak, double seconds);
/* FLOP/s of the best of STOPWATCH_ROUNDS. */
double limits_peak_flops(struct limits_peak *peak, double seconds);
/* The products of BF16 values have an instruction of their own. */
bool limits_has_dot(const struct kernels *kn);

/* FLOP/s of a product as linear layers have it (252 tokens a thread, 512 rows of a BF16 weight of
 * 2,048 columns, packing included): for estimates of run time.  Takes some 20 ms, at most some tenths
 * of a second.  0 when there is no memory for it. */
double limits_flops(const struct kernels *kn, enum compute_type type, int n_threads);

/* ---- memory and disk -------------------------------------------------- */

/* What reading gave; 0 where it was not measured. */
struct limits_rate {
    double bytes_per_second;
    size_t bytes;                   /* of the buffer, or of the part of a file that was read */
};

/* A buffer of several times the last-level cache, but at most an eighth of the free memory, read
 * by all threads and by one. */
bool limits_memory(struct limits_rate *all, struct limits_rate *one, int n_threads,
                   double seconds, struct error *err);

/* The beginning of a file from the disk, not from the page cache: by direct reads, else by dropping
 * each part from the cache right before it is read.  Stops after max_bytes or max_seconds. */
bool limits_disk(struct limits_rate *rate, const char *path, size_t max_bytes, double max_seconds,
                 struct error *err);

#endif
