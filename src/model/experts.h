/* experts.h - the routed experts of a sparse layer (Qwen3_5MoeExperts).
 *
 * Tokens are grouped by expert over the whole pass, so that each expert's weights are read and
 * packed once a pass and multiplied with all their tokens at once.  A token's output is summed in a
 * fixed order: the shared expert (moe.h), then its routed experts by ascending index.  (In BF16
 * compute the sum of the routed experts is rounded before the shared expert is added: see layer.c.)
 *
 * Threads that finish their blocks of an expert's tokens pack the next expert while the others
 * still work: an expert has one or two blocks for each thread, of unequal length. */
#ifndef SURPRISAL_MODEL_EXPERTS_H
#define SURPRISAL_MODEL_EXPERTS_H

#include "model/buffers.h"
#include "model/moe.h"

/* Called before and after each expert, in order, whether it has tokens or not; false stops.  An
 * expert begins before the previous one ends, because it is packed during that time.  With few rows
 * only experts that have tokens are called for, all before the first of them ends. */
struct expert_callbacks {
    bool (*begin)(void *user, size_t expert, struct error *err);
    bool (*end)(void *user, size_t expert, size_t num_experts, struct error *err);
    void *user;
};

/* The (token, slot) pairs of all experts. */
struct expert_groups {
    size_t *begin;                  /* [E + 1]: expert e has pairs [begin[e], begin[e + 1]) */
    size_t *pair;                   /* [n_tokens * k]: token * k + slot, by expert, then token */
};

/* gate and up are one operand, so that rows of x are packed once for both. */
struct packed_expert {
    struct packed_b gate_up;        /* [D, gate_up columns] */
    struct packed_b down;           /* [I, D] */
};

/* Of a few rows (struct compute), in the order of the pairs. */
struct experts_few_rows {
    float *x;                       /* [pairs, D] */
    float *gate, *up;               /* [pairs, I] */
    float *y;                       /* [pairs, D] */
    struct thread_buffers linear;   /* linear.h */
};

struct experts_buffers {
    struct expert_groups groups;
    struct experts_few_rows few;    /* and bad_slot alone; otherwise: */
    struct packed_expert packed[2]; /* of even and of odd experts */
    char *gemm_scratch;             /* linear.h */
    /* A block of an expert's tokens: */
    struct thread_buffers x, y;     /* [KERNEL_ROWS, D] */
    struct thread_buffers gate_up;  /* [KERNEL_ROWS, gate_up columns] */
    /* [n_tokens], set by experts_forward: the first slot of the token whose expert's output is not
     * finite; k: none. */
    int32_t *bad_slot;
};

struct experts_buffers experts_buffers_take(struct arena *a, const struct compute *cm,
                                            size_t n_tokens);

/* Adds the routed experts of all n_tokens to out [n_tokens, D].  x is the residual stream
 * [n_tokens, D], normed again with `norm` [D] while rows are gathered. */
bool experts_forward(const struct compute *cm, const struct experts_buffers *b, float *out,
                     const float *x, const float *norm, size_t n_tokens,
                     const struct layer_weights *w, const struct routing *routing,
                     const struct expert_callbacks *callbacks, struct error *err);

#endif
