/* lockstep.h - two checkpoints of one architecture side by side over the same windows, layer by
 * layer: where do they differ?
 *
 * A is the original.  With x_A and x_B the two residual streams before a layer, and A() and B() the
 * layer (mixer and MLP) in the two checkpoints:
 *     residual error   ||B(x_B) - A(x_A)|| / ||A(x_A)||           the error accumulated so far
 *     output error     ||B(x_A) - A(x_A)|| / ||A(x_A) - x_A||     of the layer alone: what it adds
 *                                                                 to A's own stream
 * Norms are over all tokens that go through the layers and all channels: the squares are summed in
 * double, channels of a token in order, then tokens in order, so that the figures depend neither on
 * threads nor on passes.  A quotient of zeros is 0; another one by zero is NaN.
 *
 * A pass takes one stream through A and, so that each weight is read once, two through B: its own
 * and a copy of A's, as if they were two windows.  Everything else is as in engine.h. */
#ifndef SURPRISAL_ENGINE_LOCKSTEP_H
#define SURPRISAL_ENGINE_LOCKSTEP_H

#include "engine/engine.h"
#include "formats/config.h"

struct lockstep_layer {
    enum layer_type type;
    double residual_error, output_error;
    /* Of a mixture of experts, over all tokens, each model on its own stream: */
    size_t same_sets;               /* tokens that have the same experts in both */
    size_t changed_experts;         /* of A's tokens * top_k choices, those that are not B's */
};

/* Zero-initialise; release with lockstep_free. */
struct lockstep {
    size_t n_layers, num_experts, top_k;    /* the last two are 0 in dense models */
    size_t tokens;                          /* that went through the layers, of each model */
    struct lockstep_layer *layers;          /* owned [n_layers] */
    size_t *load[2];                        /* owned [n_layers, num_experts], of A and of B: tokens
                                               that an expert got */
    struct engine_statistics statistics;    /* of both; model_tokens counts all three streams */
};

/* a and b share one budget, the smaller of the two.  Checkpoints whose settings differ are refused
 * with an error that names the setting; compute types may differ.  Windows as for
 * engine_score_windows; their targets do not matter. */
bool lockstep_run(struct lockstep *out, const struct engine *a, const struct engine *b,
                  const int32_t *ids, size_t n_ids, const struct engine_window *windows,
                  size_t n_windows, struct error *err);
void lockstep_free(struct lockstep *l);

/* The cost of lockstep_run; no state is saved.  *seconds (may be NULL): estimated by measuring
 * (engine_seconds); cost->load stays empty. */
bool lockstep_cost(struct engine_cost *cost, double *seconds, const struct engine *a,
                   const struct engine *b, const struct engine_window *windows, size_t n_windows,
                   struct error *err);

#endif
