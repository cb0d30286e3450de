/* divergence_row.h - the divergence of two models at one token. */
#ifndef SURPRISAL_MODEL_DIVERGENCE_ROW_H
#define SURPRISAL_MODEL_DIVERGENCE_ROW_H

#include <stdbool.h>
#include <stdint.h>

#define DIVERGENCE_TOP 5        /* first choices of each model that are compared */

/* Of one token. */
struct divergence_row {
    double kld, kld_reverse;        /* nats: KL(A || B), KL(B || A) */
    float top_a;                    /* probability that A gives its first choice */
    int8_t overlap5;                /* ids among the five first choices of both, 0 to 5; where the
                                       vocabulary has fewer, the missing ones count as shared */
    bool same_top1;                 /* first choices agree; of equal logits the lowest id wins */
    double kld_same_head;           /* KL(A || B) with A's head on B's hidden states; NaN where it
                                       does not fit them.  Set by engine/divergence */
};

#endif
