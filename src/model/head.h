/* head.h - from the residual stream to NLL: final norm, logits, log-sum-exp.
 *
 * The vocabulary goes by in tiles, so [tokens, vocabulary] never exists.  A target's own logit is
 * taken out of the sum and computed in double:
 *
 *     nll = log(1 + exp(lse_of_the_others - target_logit))
 *
 * which keeps all digits of an NLL near zero and is never negative. */
#ifndef SURPRISAL_MODEL_HEAD_H
#define SURPRISAL_MODEL_HEAD_H

#include "formats/weights.h"
#include "model/compute.h"

struct head_score {
    double nll;                     /* nats */
    float logsumexp;
    int32_t top1;                   /* lowest id among equal largest logits */
};

/* scores [n] for hidden [n, D] (after the final norm) and targets [n]; false if one is not
 * finite: *bad is its row.  Scratch comes from the arena; while it measures, nothing is done. */
bool head_score_rows(const struct compute *cm, struct head_score *scores, const float *hidden,
                     const int32_t *targets, size_t n, const struct matrix *lm_head, size_t *bad);

#endif
