/* delta_net.h - Gated DeltaNet, the linear attention of three layers in four
 * (Qwen3_5MoeGatedDeltaNet; Gated Delta Networks, arXiv 2412.06464).
 *
 * qkv and z by projection; qkv through a causal depthwise convolution and SiLU; q and k to unit
 * length; decay = exp(-exp(A_log) softplus(a + dt_bias)), beta = sigmoid(b); the delta rule head
 * by head (kernels/delta_rule.h); the output RMS-normed per head, times norm.weight, times
 * SiLU(z).  Key heads are repeated for consecutive value heads. */
#ifndef SURPRISAL_MODEL_DELTA_NET_H
#define SURPRISAL_MODEL_DELTA_NET_H

#include "formats/weights.h"
#include "model/compute.h"

/* Recurrent and convolution states of the window whose pieces are being processed. */
struct delta_net_state;

/* Takes the state of one layer from the arena. */
struct delta_net_state *delta_net_state_take(const struct compute *cm);

/* out [n_output_rows, D] = delta net of h [n, D], the normed input of the tile, which is used up.
 * Pieces of a window come in their order.  Scratch comes from the arena. */
void delta_net_forward(const struct compute *cm, float *out, float *h,
                       const struct delta_net_weights *w, const struct tile *tile,
                       struct delta_net_state *state);

#endif
