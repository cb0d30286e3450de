/* workload.h - what an evaluation consists of: kinds of work, and how much of each there is.
 *
 * A count says how often a kernel meets a value, not how long that takes (rates.h).  What is too
 * little to matter is left out: norms' own weights, embeddings, sorting by expert, copies between
 * buffers.  tests/unit/engine/test_workload.c compares the counts with the calls of the kernels. */
#ifndef SURPRISAL_ENGINE_WORKLOAD_H
#define SURPRISAL_ENGINE_WORKLOAD_H

#include "engine/types.h"
#include "formats/weights.h"
#include "model/attention.h"
#include "model/compute.h"

/* Everything but products with weights, and what goes together in one pass over memory.  Values,
 * unless it says otherwise. */
enum workload_kind {
    WORKLOAD_NORM,                  /* rms_norm of the residual stream */
    WORKLOAD_RESIDUAL,              /* a step's output is added, and the sum looked at: finite? */
    WORKLOAD_CHECK,                 /* is the shared expert's output finite? */
    WORKLOAD_HEAD_NORM,             /* norm and rotary embedding of queries and keys */
    WORKLOAD_ANGLES,                /* sines and cosines: pairs */
    WORKLOAD_ATTENTION,             /* queries by keys, exponentials by values: FLOP */
    WORKLOAD_SOFTMAX,               /* scores of keys that a query sees */
    WORKLOAD_SIGMOID,               /* attention's gate */
    WORKLOAD_CONVOLUTION,
    WORKLOAD_KEY_NORM,              /* l2_norm of the delta rule's queries and keys */
    WORKLOAD_GATES,                 /* decay and beta: heads of tokens */
    WORKLOAD_DELTA_RULE,            /* heads of tokens */
    WORKLOAD_GATED_NORM,
    WORKLOAD_ROUTING,               /* router logits */
    WORKLOAD_SHARED,                /* the shared expert's output by its gate, and into the sum */
    WORKLOAD_GATHER,                /* an expert's tokens, normed again */
    WORKLOAD_SILU,                  /* of MLPs, times up */
    WORKLOAD_SCATTER,               /* an expert's output is looked at, and added */
    WORKLOAD_LOGITS,                /* log-sum-exp over the vocabulary */
    WORKLOAD_DIVERGENCE,            /* the same of two models, and their KL divergence */
    WORKLOAD_OBSERVATION,           /* of inputs of linear layers (calibration.h) */
    WORKLOAD_SQUARES,               /* of two streams' differences (lockstep.h) */
    WORKLOAD_KINDS
};

/* Where a product with weights is: what else its thread has in the caches differs. */
enum workload_place {
    WORKLOAD_LAYER,                 /* rows of a tile of tokens */
    WORKLOAD_EXPERT,                /* rows of an expert */
    WORKLOAD_HEAD                   /* rows of all scored tokens, a tile of the vocabulary */
};

/* Products whose weights are as wide and stored in the same way. */
struct workload_product {
    enum workload_place place;
    const struct matrix *w;         /* the one with the most rows; borrowed */
    size_t rows;                    /* of inputs in a product, at most */
    double flop;
    double input_values, weight_values;     /* that are packed */
};
#define WORKLOAD_PRODUCTS_MOST 16

struct workload {
    double amount[WORKLOAD_KINDS];
    struct workload_product products[WORKLOAD_PRODUCTS_MOST];
    size_t n_products;
    size_t longest;                 /* tokens of the longest window */
    struct workload_reading {       /* bytes of weights: */
        double first, first_hashed; /* before the first layer, which nothing else is done beside */
        double beside, beside_hashed;       /* while layers and head compute */
        double from_disk;           /* of all, those that the system's cache cannot keep for a
                                       second pass, or has to get for the first */
    } reading;
};

/* FLOP of all products with weights. */
double workload_flop(const struct workload *load);

/* A pass, as plan.h has it. */
struct workload_pass {
    const struct engine_window *windows;
    size_t n_windows, tile_tokens;
    bool keep_all;                  /* rows that are not scored go through all of the last layer */
};

/* Sums over passes that begin at the same place. */
struct workload_rows {
    double tokens;                  /* that go through the layers */
    double tiles;                   /* of the mixers */
    double scored;
    double passes;
    size_t longest;                 /* tokens of the longest window */
    size_t most_tokens, most_scored;        /* of a pass */
    size_t tile_rows;               /* of the largest tile */
    /* [0]: in a layer; [1]: in the last one, from the end of the mixer on. */
    struct workload_outputs {
        double rows, tiles;         /* whose output is needed; tiles that have one */
        double mlp_tiles;
        double experts;             /* that have tokens, as many as chance would give */
        struct attention_amount attention;
    } outputs[2];
};

/* Adds a pass; false when there is no memory. */
bool workload_rows_add(struct workload_rows *rows, const struct config *c,
                       const struct workload_pass *pass, struct error *err);

/* What passes go through: the model of cm, from a layer on. */
struct workload_path {
    const struct compute *cm;
    const struct checkpoint *ck;
    const struct weights *w;
    size_t layer;                   /* the first: num_hidden_layers is the head alone */
    bool mixer_done;                /* of that layer */
    bool head;                      /* to the end, not only through the layers */
    bool observed;                  /* inputs of linear layers, as calibration does */
};

/* Adds the passes' work, but not what they read.  w stays borrowed. */
void workload_add(struct workload *load, const struct workload_path *path,
                  const struct workload_rows *rows);

/* Adds n tokens through a head: its products alone; packs: times that the head is packed. */
void workload_add_head(struct workload *load, const struct matrix *lm_head, size_t n, double packs);

#endif
