/* divergence.h - KL divergence of two models from their stored final hidden states, without running
 * the layers again: logits of both heads are computed tile by tile and never stored.
 *
 * Both heads are read once for each group of tokens.  The budget sets the size of a group, which
 * needs memory for its hidden states in f32, the sums of each token, a tile of logits for each
 * thread and weights in flight, beside the rows of all tokens.  Rows do not depend on threads,
 * budget or groups. */
#ifndef SURPRISAL_ENGINE_DIVERGENCE_H
#define SURPRISAL_ENGINE_DIVERGENCE_H

#include "base/matrix.h"
#include "engine/engine.h"

/* Final hidden states [n, hidden_size] as engine_sink got them, in F32 or rounded to BF16. */
struct engine_hidden {
    struct matrix states;
    const int32_t *row;         /* [n] ascending: the states that are compared; NULL: all */
    size_t n;                   /* with row */
    /* They are in the mapping of this file: its pages are released as they are read; NULL: they are
     * in memory. */
    const struct mapped_file *file;
};

struct engine_divergence {
    /* Each has its own head and type; a gives threads, progress and the budget. */
    const struct engine *a, *b;
    struct engine_hidden hidden_a, hidden_b;
    bool same_head;                     /* the heads hold the same values: one is read for both */
};

/* The smallest budget of the process that suffices for n tokens.  Does not read hidden states. */
size_t engine_divergence_least(const struct engine_divergence *d, size_t n);

/* Fills rows [n].  Where the heads differ, tokens go a second time through A's head alone, which
 * gives kld_same_head; else that is the same number.  Fails if shapes do not match or the budget
 * does not suffice, and if a divergence is not finite; that error names the token. */
bool engine_divergence(const struct engine_divergence *d, struct divergence_row *rows,
                       struct error *err);

#endif
