/* acceptance.h - how often drafts are accepted.
 *
 * With p the model's distribution of a token and q the one that a draft is drawn from, rejection
 * sampling accepts the draft with the probability
 *
 *     sum over the vocabulary of min(p, q)
 *
 * (Leviathan, Kalman and Matias, arXiv 2211.17192, section 3.3.)  In one pass over tiles
 * (vocabulary.h), from the log-sum-exp of either side's logits, which is known.  Probabilities are
 * f32, their sum is double. */
#ifndef SURPRISAL_MODEL_ACCEPTANCE_H
#define SURPRISAL_MODEL_ACCEPTANCE_H

#include "model/vocabulary.h"

struct acceptance_task {
    struct vocabulary_side sides[VOCABULARY_SIDES];     /* p, q: vocabularies of one size */
    const float *logsumexp[VOCABULARY_SIDES];           /* [n] */
    double *accepted;               /* [n] */
    size_t n;
    struct step_progress progress;
};

bool acceptance_forward(const struct acceptance_task *task, const struct vocabulary_buffers *b,
                        struct error *err);

#endif
