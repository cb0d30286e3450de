/* divergence.h - the divergence of the next-token distributions of two models, over the whole
 * vocabulary.
 *
 * With logits a and b of one token, all sums over the vocabulary and lse = log sum exp:
 *
 *     KL(A || B) = sum p_a (log p_a - log p_b) = sum p_a (a - b) + lse_b - lse_a
 *
 * in one pass over tiles (vocabulary.h): each sum is kept relative to the largest logit so far and
 * rescaled as that grows.  Logits are as each model's compute type has them (f32, or rounded to
 * BF16); from there on everything is double, so the error is that of f32 logits: with logits off by
 * e, KL is off by some e sqrt(2 KL) + e^2.  Equal logits give exactly 0; results that rounding
 * makes negative are set to 0. */
#ifndef SURPRISAL_MODEL_DIVERGENCE_H
#define SURPRISAL_MODEL_DIVERGENCE_H

#include "model/divergence_row.h"
#include "model/vocabulary.h"

struct divergence_task {
    struct vocabulary_side sides[VOCABULARY_SIDES];     /* A, B: vocabularies of one size */
    size_t n;
    struct divergence_row *rows;    /* [n] */
    size_t first_row;               /* number of the first in the whole job, for messages */
    struct step_progress progress;
};

struct divergence_buffers {
    struct divergence_running *running;     /* [n]: sums of each token so far */
    struct vocabulary_buffers vocabulary;
};

/* For n tokens; hidden and feed of the sides do not matter. */
struct divergence_buffers
divergence_buffers_take(struct arena *a, const struct vocabulary_side sides[VOCABULARY_SIDES],
                        size_t n);

/* A token whose divergence is not finite is an error that names it. */
bool divergence_forward(const struct divergence_task *task, const struct divergence_buffers *b,
                        struct error *err);

#endif
