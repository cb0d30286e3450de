/* cost.h - FLOP of matrix products with weights, a multiply-add counted as two.  What depends on
 * the length of a window (attention's scores, the delta rule) is left out: a few per cent. */
#ifndef SURPRISAL_ENGINE_COST_H
#define SURPRISAL_ENGINE_COST_H

#include "formats/config.h"

/* Both steps of a layer for n tokens, each of which meets top_k experts.  In the last layer only
 * output_rows rows are needed: the others skip the mixer's queries (or z), gate and output, and the
 * MLP. */
struct layer_cost {
    double mixer, mlp;
};

struct layer_cost cost_layer(const struct config *c, size_t layer, double n, double output_rows);
/* The sum over all layers. */
double cost_layers_flop(const struct config *c, double n, double output_rows);
/* A scored token through the head. */
double cost_head_flop(const struct config *c);
/* One draft of n rows by the MTP layer, of which `scored` meet the head: once for log-sum-exp, then
 * beside the model's own. */
double cost_draft_flop(const struct config *c, double n, double scored);

#endif
