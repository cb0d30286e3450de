/* head.h - from final hidden states to NLL: logits (vocabulary.h), log-sum-exp.
 *
 * The sum of exponentials is kept relative to the largest logit so far, and rescaled as that grows
 * (Milakov and Gimelshein, arXiv 1805.02867).  The target's own logit is left out of it and, in f32
 * compute, computed in double:
 *
 *     nll = log(1 + exp(lse_of_the_others - target_logit))
 *
 * which keeps all digits of an NLL near zero and is never negative. */
#ifndef SURPRISAL_MODEL_HEAD_H
#define SURPRISAL_MODEL_HEAD_H

#include "formats/weights.h"
#include "model/linear.h"
#include "model/vocabulary.h"

struct head_score {
    double nll;                     /* nats */
    float logsumexp;
    int32_t top1;                   /* lowest id among equal largest logits */
};

struct head_task {
    const float *hidden;            /* [n, D], after the final norm */
    const int32_t *targets;         /* [n] */
    struct head_score *scores;      /* [n] */
    size_t n;
    const struct matrix *lm_head;
    const struct weight_feed *feed;
    size_t first_part;              /* vocabulary.h */
    struct step_progress progress;  /* told the fraction of the head that is done */
};

struct head_buffers {
    struct head_running *running;   /* [n]: sums of each token so far */
    struct thread_buffers target_row;       /* [D] */
    struct vocabulary_buffers vocabulary;
};

struct head_buffers head_buffers_take(struct arena *a, const struct compute *cm,
                                      const struct matrix *lm_head, size_t n);

bool head_is_finite(const struct head_score *s);
/* Fills the scores.  *bad: n, or the first row whose score is not finite (then also false). */
bool head_forward(const struct compute *cm, const struct head_buffers *b,
                  const struct head_task *task, size_t *bad, struct error *err);

struct head_logits_buffers {
    float *norm;                    /* [D] */
    struct linear_buffers linear;
};

struct head_logits_buffers head_logits_buffers_take(struct arena *a, const struct compute *cm,
                                                    const struct matrix *lm_head);

/* hidden [n, D]: n rows of the residual stream after the final norm. */
void head_norm(const struct compute *cm, const struct head_logits_buffers *b, float *hidden,
               const float *x, size_t n, const struct matrix *norm);
/* All logits [n, V] of n rows after the final norm. */
void head_logits(const struct compute *cm, const struct head_logits_buffers *b, float *logits,
                 const float *hidden, size_t n, const struct matrix *lm_head);

#endif
