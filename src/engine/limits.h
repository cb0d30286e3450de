/* limits.h - the limits of this machine.
 *
 * The roofline of an evaluation: arithmetic in registers, memory and disk, each measured
 * separately. */
#ifndef SURPRISAL_ENGINE_LIMITS_H
#define SURPRISAL_ENGINE_LIMITS_H

#include "base/error.h"
#include "kernels/kernels.h"

/* ---- arithmetic ------------------------------------------------------- */

/* Only the arithmetic of products, in n_threads at once: fused multiply-adds in registers, or BF16
 * dots.  A set whose products are computed by BLAS gets the limit of the best set, since BLAS
 * chooses its own instructions. */
struct limits_peak {
    const struct gemm_ops *gemm;
    int n_threads;
    size_t steps, flop;             /* of a call: flop of one thread */
};

/* Takes some 10 ms to find a number of steps for which the start of threads costs nothing. */
struct limits_peak limits_peak(const struct kernels *kn, enum compute_type type, int n_threads);
/* FLOP/s of one round of `seconds`. */
double limits_peak_round(struct limits_peak *peak, double seconds);
/* FLOP/s of the best of STOPWATCH_ROUNDS. */
double limits_peak_flops(struct limits_peak *peak, double seconds);
/* Does the set have an instruction for products of BF16 values? */
bool limits_has_dot(const struct kernels *kn);

/* ---- memory and disk -------------------------------------------------- */

/* The speed of reading; 0 if it was not measured. */
struct limits_rate {
    double bytes_per_second;
    size_t bytes;                   /* of the buffer, or of the part of a file that was read */
};

/* A buffer of several times the last-level cache, but at most an eighth of the free memory, read
 * by all threads and by one. */
bool limits_memory(struct limits_rate *all, struct limits_rate *one, int n_threads,
                   double seconds, struct error *err);

/* Reads the beginning of a file from the disk, not from the page cache: with direct reads, or else
 * by dropping each part from the cache just before it is read.  Stops after max_bytes or
 * max_seconds. */
bool limits_disk(struct limits_rate *rate, const char *path, size_t max_bytes, double max_seconds,
                 struct error *err);

#endif
