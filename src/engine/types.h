/* types.h - the plain records that the engine and its users share: its input and its output. */
#ifndef SURPRISAL_ENGINE_TYPES_H
#define SURPRISAL_ENGINE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/divergence_row.h"
#include "model/nonfinite.h"

struct mapped_file;

/* The model sees ids[begin, end); the targets ids[first, end) are scored, each given the ids before
 * it in the window.  begin < first <= end. */
struct engine_window {
    size_t begin, end, first;
};

/* The score of one target. */
struct engine_score {
    double nll;                 /* nats; >= 0; NaN: of a window that is left out */
    float logsumexp;            /* of the logits that predicted it */
    int32_t top1;               /* id of the largest logit, the lowest id among equals */
};

/* A draft of one target: q is the distribution that the MTP layer gives it, p the model's. */
struct engine_draft {
    double nll;                 /* of the target by q, nats */
    double accepted;            /* sum of min(p, q): the probability that sampling accepts it */
    float logsumexp;            /* of the logits of q */
    int32_t top1;               /* of q */
    bool same_top1;             /* and of p */
};

struct engine_statistics {
    size_t passes;
    size_t bytes_read;          /* of weights, over all passes */
    size_t model_tokens;        /* tokens that went through the layers */
};

/* The state of a run between two steps of a layer: enough to continue from there. */
struct engine_state {
    size_t first_window, n_windows;     /* of the pass */
    size_t row;                         /* scored targets of earlier passes, already in the sink */
    size_t layer;                       /* num_hidden_layers: the head, and x is its input */
    bool mixer_done;                    /* of that layer; in the last one x has scored rows only */
    size_t rows_done;                   /* rows of x that the unfinished step has changed */
    size_t n_rows;
    const float *x;                     /* [n_rows, D] */
    /* x is in the mapping of this file: code that reads x, to continue or to save it, releases its
     * pages; NULL: x is in memory. */
    const struct mapped_file *file;
    struct engine_statistics statistics;    /* of the work so far */
};

#endif
