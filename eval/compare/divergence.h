/* divergence.h - KL divergence over the whole vocabulary of two runs of one text, from the final
 * hidden states that the runs kept and the heads of their checkpoints.  (engine/divergence.h) */
#ifndef SURPRISAL_EVAL_COMPARE_DIVERGENCE_H
#define SURPRISAL_EVAL_COMPARE_DIVERGENCE_H

#include "engine/divergence.h"
#include "eval/score/model.h"

/* One of the two runs; borrows everything. */
struct divergence_source {
    struct model_source checkpoint;
    const char *head_sha256;            /* 64 hexadecimal digits, as the run's summary has them;
                                           NULL: there is no run yet (divergence_least) */
    enum compute_type compute;          /* the run's, which rounds its logits */
    struct engine_hidden hidden;        /* of the scored tokens */
};

struct divergence_options {
    struct surprisal_machine machine;   /* but its compute: each run has its own */
    bool *other_head;                   /* set when it fails because of a head; may be NULL */
};

/* The smallest memory budget with which divergence_measure of n tokens can do, by what the process
 * holds now and what it will have taken beside until then.  Hidden states are not looked at.  Heads
 * are taken for different where no run says what they are, unless that is too much for the memory
 * budget: then they are hashed. */
bool divergence_least(size_t *bytes, const struct divergence_source *a,
                      const struct divergence_source *b, size_t n, size_t beside_bytes,
                      const struct divergence_options *options, struct error *err);

/* Opens both checkpoints and fills rows [scored].  A checkpoint whose head is not the one that the
 * run was made with is refused, since its hidden states mean nothing to another.  Heads of equal
 * digest and shape are read once. */
bool divergence_measure(struct divergence_row *rows, const struct divergence_source *a,
                        const struct divergence_source *b, const struct divergence_options *options,
                        struct error *err);

#endif
