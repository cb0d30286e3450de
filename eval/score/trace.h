/* trace.h - what happens to one sequence inside the model, as a safetensors file:
 * ids I32 [T], residual F32 [L, T, D] after each layer, routing I32 [L, T, k] (mixture of experts
 * only), hidden F32 [T, D] after the last norm, logits F32 [T, V]; and the same beside what another
 * program wrote (trace_differences.h). */
#ifndef SURPRISAL_EVAL_SCORE_TRACE_H
#define SURPRISAL_EVAL_SCORE_TRACE_H

#include "base/error.h"
#include "base/json.h"
#include "surprisal.h"

bool trace_ids(const struct surprisal_trace_options *o, struct error *err);
/* Also compares with the trace at `against`.  Gives *json and appends to text, where they are not
 * NULL. */
bool trace_against(cJSON **json, struct buffer *text, const struct surprisal_trace_options *o,
                   const char *against, struct error *err);

#endif
