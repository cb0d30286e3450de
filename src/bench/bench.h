/* bench.h - how close the kernels come to the machine's limits, on the shapes of one model.
 *
 * Weights and activations are random: only the config of a checkpoint is used, and one file to
 * measure the disk.  Each product gets as many rows as in a pass of BENCH_TOKENS tokens. */
#ifndef SURPRISAL_BENCH_BENCH_H
#define SURPRISAL_BENCH_BENCH_H

#include "base/progress.h"
#include "engine/limits.h"
#include "formats/config.h"

#define BENCH_TOKENS ((size_t)16384)

struct bench_options {
    const struct config *config;    /* NULL: that of Qwen3.5-35B-A3B */
    const char *isa;                /* NULL: the best of this machine */
    int n_threads;                  /* 0: all of this process */
    double seconds;                 /* of each of a figure's three rounds */
    const char *file;               /* to read from the disk; NULL: none */
    struct progress progress;
    /* Called once before the work; gets progress.user.  May be NULL. */
    void (*plan)(void *user, size_t figures, double seconds);
};

enum bench_kind {
    BENCH_PRODUCT,                  /* a linear layer */
    BENCH_FEW_ROWS,                 /* the same with the few rows of decoding */
    BENCH_MIXER,                    /* the products within a mixer: delta rule, attention */
    BENCH_ROWS                      /* a row kernel */
};

#define BENCH_NAME_BYTES 128

/* One measured kernel. */
struct bench_figure {
    enum bench_kind kind;
    char name[BENCH_NAME_BYTES];    /* of linear layers of the same shape all names */
    enum compute_type type;         /* of products */
    const char *weights;            /* of linear layers: "packed" beforehand, or as stored */
    size_t m, n, k;                 /* products: [m, k] by [k, n]; rows: m rows of n values */
    double seconds;                 /* of one call */
    double flop;                    /* of one call; 0 for row kernels */
    double limit;                   /* FLOP/s of the arithmetic alone, measured in turn with it */
    double values, bytes;           /* of one call of a row kernel: computed; read and written.
                                       bytes of few rows: of weights */
};

/* The matrix products of one layer and BENCH_TOKENS tokens: a sum of the times of its parts, which
 * is what a layer of another size than this machine's memory would take. */
struct bench_layer {
    double flop;                    /* without what a mixer multiplies within itself */
    double seconds_at_limit[COMPUTE_TYPES]; /* at the limits of its parts */
    double seconds[COMPUTE_TYPES];  /* weights in BF16, packing included */
    double seconds_mxfp4[COMPUTE_TYPES];    /* experts (of a dense model: MLP) in MXFP4 */
};

struct bench_result {
    const char *isa;
    int n_threads;
    double peak_flops[COMPUTE_TYPES][2];    /* by all threads; by one: the best of the run */
    bool has_dot;                   /* BF16 has an instruction of its own; else its peak is 0 */
    struct limits_rate memory[2];   /* by all threads; by one */
    struct limits_rate disk;
    struct bench_figure *figures;   /* owned [n_figures] */
    size_t n_figures, capacity;
    double waited_share;            /* of the processors' time, which other work had: with much of
                                       it all figures are too low */
    bool linear_attention;          /* what kind of layer it is */
    struct bench_layer layer;
    /* FLOP/s of KL divergence, both heads' products counted, by those of the head with BF16
     * weights. */
    double divergence_share[COMPUTE_TYPES];
};

/* FLOP/s that the machine allows a product: its arithmetic's; of a few rows, those with which it
 * reads the weights, if they are fewer. */
double bench_limit(const struct bench_result *result, const struct bench_figure *figure);

/* bench_free also after a failure. */
bool bench_run(struct bench_result *result, const struct bench_options *options,
               struct error *err);
void bench_free(struct bench_result *result);

#endif
