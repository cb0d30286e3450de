/* delta_rule.h - the two forms of the gated delta rule (struct delta_rule in kernels.h).
 *
 * Sequential: token by token, as in the formula; the definition.
 *
 * Chunked: with G_t the product of the chunk's decays up to t, and G_t / G_i those after i,
 * unrolling the recurrence over a chunk of C tokens gives
 *
 *     e_t   = beta_t (v_t - G_t S0^T k_t - sum_{i<t} G_t / G_i (k_t . k_i) e_i)
 *     out_t = G_t S0^T q_t + sum_{i<=t} G_t / G_i (q_t . k_i) e_i
 *     S     = G_C S0 + sum_i G_C / G_i k_i e_i^T
 *
 * so that all but the triangular solve for e are matrix products.  The quotients are never
 * divided: they are products of decays (in double), so nothing overflows however fast a head
 * forgets. */
#ifndef SURPRISAL_KERNELS_DELTA_RULE_H
#define SURPRISAL_KERNELS_DELTA_RULE_H

#include "kernels/kernels.h"

void delta_rule_sequential(const struct kernels *kn, const struct delta_rule *d);
/* Products through kn. */
void delta_rule_chunked(const struct kernels *kn, const struct delta_rule *d);

#endif
