/* product_sample.h - the first rows of a weight, packed and multiplied as an evaluation does it, to
 * time both. */
#ifndef SURPRISAL_ENGINE_PRODUCT_SAMPLE_H
#define SURPRISAL_ENGINE_PRODUCT_SAMPLE_H

#include "engine/workload.h"

/* Seconds of a unit, all threads at work. */
struct product_sample {
    double flop;
    double input_value;             /* of x: packed for a product */
    double weight_value;            /* decoded and packed */
};

/* Times products like p with at most `rows` rows for each thread; each of some rounds takes
 * `seconds`.  The rows of the weight that it reads must be in memory: product_sample_weight_rows of
 * them.  False when there is no memory. */
bool product_sample_time(struct product_sample *out, const struct compute *cm,
                         const struct workload_product *p, size_t rows, double seconds,
                         struct error *err);

size_t product_sample_weight_rows(const struct matrix *w);

#endif
