/* engine.h - runs windows of token ids through the model, layer by layer.
 *
 * Layer-major: the layer is the outer loop, so that a pass reads each weight once, and the
 * residual stream of all windows of the pass stays in memory (tokens x hidden_size x 4 bytes).
 * The memory budget splits the windows into passes.
 *
 * An engine borrows the checkpoint and the weights.  Results do not depend on the number of
 * threads. */
#ifndef SURPRISAL_ENGINE_ENGINE_H
#define SURPRISAL_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/progress.h"
#include "formats/weights.h"

struct engine;

struct engine_options {
    int n_threads;              /* 0: all of this process */
    size_t memory_bytes;        /* budget for residual stream and scratch; 0: 3/4 of what is free */
    const char *isa;            /* NULL: the best of this machine */
    struct progress progress;   /* report and warn may be NULL */
};

/* ck and w stay borrowed until engine_close. */
struct engine *engine_open(const struct checkpoint *ck, const struct weights *w,
                           const struct engine_options *options, struct error *err);
void engine_close(struct engine *e);

const char *engine_isa(const struct engine *e);     /* the kernels in use */
int engine_threads(const struct engine *e);

/* ---- scoring ---------------------------------------------------------- */

/* The model sees ids[begin, end) and the targets ids[first, end) are scored, each given what
 * stands before it in the window: begin < first <= end. */
struct engine_window {
    size_t begin, end, first;
};

/* What one scored target gets. */
struct engine_score {
    double nll;                 /* nats; >= 0 */
    float logsumexp;            /* of the logits that predicted it */
    int32_t top1;               /* id of the largest logit, the lowest id among equals */
};

/* Receives the scores in text order: rows [row, row + n) of all scored targets (counted over the
 * windows in their order).  hidden: final hidden states after the last norm that predicted them,
 * [n, hidden_size].  Returns false to stop with an error of its own. */
struct engine_sink {
    bool (*take)(void *user, size_t row, size_t n, const struct engine_score *scores,
                 const float *hidden, struct error *err);
    void *user;
};

struct engine_statistics {      /* of the last engine_score_windows */
    size_t passes;
    size_t bytes_read;          /* of weights, over all passes */
    size_t model_tokens;        /* tokens that went through the layers */
};

/* ids: [n_ids], each checked to be in [0, vocab_size) (an error names index and id); windows
 * checked to lie within.  A NaN or infinity in the residual stream is an error that names layer,
 * step and token. */
bool engine_score_windows(struct engine *e, const int32_t *ids, size_t n_ids,
                          const struct engine_window *windows, size_t n_windows,
                          const struct engine_sink *sink, struct engine_statistics *statistics,
                          struct error *err);

/* How many passes engine_score_windows will make. */
size_t engine_passes(const struct engine *e, const struct engine_window *windows,
                     size_t n_windows);

/* ---- tracing ---------------------------------------------------------- */

/* Receives, for the whole of one sequence of T ids: after each layer the residual stream [T, D]
 * and, in a mixture of experts, routing [T, k] (ids of the chosen experts by falling weight; NULL
 * in dense models); then logits, tile by tile: rows [row, row + n) of [T, V]. */
struct engine_tracer {
    bool (*layer)(void *user, size_t layer, const float *residual, const int32_t *routing,
                  struct error *err);
    bool (*logits)(void *user, size_t row, size_t n, const float *logits, struct error *err);
    void *user;
};

bool engine_trace(struct engine *e, const int32_t *ids, size_t n_ids,
                  const struct engine_tracer *tracer, struct error *err);

#endif
