/* cost.h - FLOP of matrix products with weights, a multiply-add counted as two.  What depends on the
 * length of a window (attention's scores, the delta rule) is left out: a few per cent. */
#ifndef SURPRISAL_ENGINE_COST_H
#define SURPRISAL_ENGINE_COST_H

#include "formats/config.h"

/* A token through a layer's mixer; through its MLP, of whose experts it meets top_k. */
double cost_mixer_flop(const struct config *c, enum layer_type type);
double cost_mlp_flop(const struct config *c);
/* The part of the mixer that only tokens whose output is wanted go through: queries or z, the gate and
 * the output's projection. */
double cost_wanted_flop(const struct config *c, enum layer_type type);
/* A scored token through the head. */
double cost_head_flop(const struct config *c);

#endif
