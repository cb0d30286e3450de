/* row_sample.h - a little of each kind of work on rows, as an evaluation does it, to time it.
 *
 * Values are made up.  Rows come from a pool of memory that is larger than the caches of a thread,
 * unless an evaluation has them in a cache. */
#ifndef SURPRISAL_ENGINE_ROW_SAMPLE_H
#define SURPRISAL_ENGINE_ROW_SAMPLE_H

#include "engine/workload.h"
#include "model/buffers.h"
#include "model/delta_net.h"

/* Zero-initialise; release with row_sample_close. */
struct row_sample {
    const struct compute *cm;       /* borrowed */
    struct arena arena;             /* owned; in it: */
    float *x, *y;                   /* the pool: [pool] each */
    float *weight;                  /* [widest] */
    double *frequency;              /* [rotary_dim / 2] */
    struct delta_net_gates gates;
    struct thread_buffers values, others;       /* [widest]: in a thread's cache */
    struct thread_buffers doubles;
    size_t pool, widest;            /* values; of the longest row */
    size_t at;                      /* where the next rows are */
    /* Of the kind that is being timed: */
    const struct row_sample_kind *kind;
    size_t n, rows;                 /* values of a row, rows of a call */
};

/* Memory for samples of at most `pool` values. */
bool row_sample_open(struct row_sample *s, const struct compute *cm, size_t pool,
                     struct error *err);
void row_sample_close(struct row_sample *s);

/* Does it sample this kind?  Not attention's products, nor the delta rule (mixer_sample.h). */
bool row_sample_has(enum workload_kind kind);
/* Seconds of one value (of workload.h's count), all threads at work, by rounds of `seconds`. */
double row_sample_seconds(struct row_sample *s, enum workload_kind kind, double seconds);

#endif
