/* vocabulary.h - logits of many tokens, a tile of the vocabulary at a time.
 *
 * Tiles are the outer loop and blocks of tokens the inner one, so that a head is read and packed
 * once and [tokens, vocabulary] never exists.  One model, or two side by side that share a
 * vocabulary: of the same text, each with its own hidden states and head. */
#ifndef SURPRISAL_MODEL_VOCABULARY_H
#define SURPRISAL_MODEL_VOCABULARY_H

#include "base/matrix.h"
#include "model/buffers.h"
#include "model/compute.h"

#define VOCABULARY_TILE ((size_t)2048)
#define VOCABULARY_SIDES 2

struct vocabulary_side {
    const struct compute *cm;       /* products and roundings of its logits */
    const float *hidden;            /* [n, D], after the final norm */
    const struct matrix *head;      /* [V, D]; one that both sides point at is packed once */
    const struct weight_feed *feed; /* NULL: the other side's feed covers this head */
    size_t first_part;              /* part first_part + i is tile i of the head */
};

/* consume() is called for each token with the tiles in their order, in one thread at a time, so
 * that sums have the same bits with any number of threads. */
struct vocabulary_task {
    struct vocabulary_side sides[VOCABULARY_SIDES];     /* the first gives the threads */
    size_t n_sides, n;
    /* The logits of ids [first, first + ids), of each side; they may be overwritten. */
    void (*consume)(void *user, size_t token, size_t first, size_t ids,
                    float *const logits[VOCABULARY_SIDES]);
    void *user;
    struct step_progress progress;  /* told the fraction of the vocabulary that is done */
};

struct vocabulary_buffers {
    struct {
        struct packed_b packed;     /* VOCABULARY_TILE rows of the head, which both may share */
        struct thread_buffers logits;       /* a block of tokens, [VOCABULARY_TILE] each */
        char *gemm_scratch;         /* linear.h */
    } sides[VOCABULARY_SIDES];
};

/* For any number of tokens; hidden and feed of the sides do not matter. */
struct vocabulary_buffers vocabulary_buffers_take(struct arena *a,
                                                  const struct vocabulary_side *sides,
                                                  size_t n_sides);

bool vocabulary_pass(const struct vocabulary_task *task, const struct vocabulary_buffers *b,
                     struct error *err);

#endif
