/* bench_work.h - what the parts of bench share: the list of figures, and how one is measured. */
#ifndef SURPRISAL_BENCH_BENCH_WORK_H
#define SURPRISAL_BENCH_BENCH_WORK_H

#include "bench/bench.h"
#include "model/compute.h"

/* Rows that fill the tiles of many threads: linear layers see a tile of tokens at a time. */
#define BENCH_ROWS_MOST (8 * KERNEL_ROWS)

struct bench {
    const struct config *config;
    const struct kernels *kernels;
    struct bench_result *result;
    const struct bench_options *options;
    struct limits_peak peaks[COMPUTE_TYPES];
    size_t planned, done;           /* figures */
};

/* Reports the next figure; false with err->interrupted when the caller asked to stop. */
bool bench_next(struct bench *b, const char *name, struct error *err);
/* Times work(user) and adds its figure to the result; seconds and limit are filled in here.
 * Rounds of work alternate with rounds of the arithmetic alone: a processor's clock changes with
 * its load, its heat and its neighbours, so both must be measured at the same moment. */
bool bench_add(struct bench *b, const struct bench_figure *figure, void (*work)(void *user),
               void *user, struct error *err);
/* Fills x with values of size one that are exact in BF16. */
void bench_fill(float *x, size_t n);

/* Does any layer have this type? */
bool bench_has(const struct config *c, enum layer_type type);

/* ---- the parts ---------------------------------------------------------- */

enum bench_use {
    BENCH_PLAIN,
    BENCH_MLP,                      /* experts or dense MLP: what is quantized first */
    BENCH_HEAD                      /* its output is a tile of the vocabulary at a time */
};

/* A linear layer; several of one shape are one. */
struct bench_shape {
    char name[BENCH_NAME_BYTES];
    size_t rows, n, k;
    size_t per_token;               /* times in the layer, for one token */
    enum bench_use use;
};
#define BENCH_SHAPES_MOST 16

/* The linear layers of config, the head among them; their number. */
size_t bench_products_shapes(struct bench_shape shapes[BENCH_SHAPES_MOST], const struct config *c);
/* Products of all shapes in both types, and the layer's sum. */
bool bench_products(struct bench *b, struct error *err);
/* Delta rule and attention. */
bool bench_mixers(struct bench *b, struct error *err);
bool bench_rows(struct bench *b, struct error *err);
/* Products of a few rows in both types; after memory was measured. */
bool bench_few(struct bench *b, struct error *err);
/* After the products, with whose head it compares itself: a figure for each type. */
bool bench_divergence(struct bench *b, struct error *err);

/* How many figures each adds. */
size_t bench_products_count(const struct config *c);
size_t bench_mixers_count(const struct config *c);
size_t bench_rows_count(void);
size_t bench_few_count(void);

#endif
