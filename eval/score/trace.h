/* trace.h - what happens to one sequence inside the model, as a safetensors file:
 * ids I32 [T], residual F32 [L, T, D] after each layer, routing I32 [L, T, k] (mixture of experts
 * only), logits F32 [T, V].  Written layer by layer, so that no tensor need fit into memory. */
#ifndef SURPRISAL_EVAL_SCORE_TRACE_H
#define SURPRISAL_EVAL_SCORE_TRACE_H

#include "base/error.h"
#include "surprisal.h"

bool trace_ids(const struct surprisal_trace_options *o, struct error *err);

#endif
