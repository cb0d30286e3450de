/* verdict.h - what a comparison says, in one sentence of plain words. */
#ifndef SURPRISAL_EVAL_COMPARE_VERDICT_H
#define SURPRISAL_EVAL_COMPARE_VERDICT_H

#include "eval/compare/comparison.h"

/* Real at 5 % or not, which way, how large; and, when divergence was measured, that closer to the
 * text is not closer to the original.  Appends no newline. */
bool verdict_append(struct buffer *out, const struct comparison *c, struct error *err);

/* Appends what a document says beside: how many windows are left out, which experts the tokens
 * never reached (layers.h).  Nothing where there is nothing to say. */
bool verdict_append_rest(struct buffer *out, const cJSON *document, struct error *err);

/* "p = 0.013", "p < 0.0001". */
#define VERDICT_P_BYTES 32
void verdict_p(char out[VERDICT_P_BYTES], double p);

#endif
