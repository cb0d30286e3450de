/* divergence.h - KL divergence of two models from final hidden states that were kept, without running
 * the layers again: their heads meet, tile by tile, and no logits are stored.
 *
 * Both heads are read once for each group of tokens; the budget decides how many tokens a group has:
 * its hidden states in f32, what is summed for each, a tile of logits a thread, weights in flight,
 * beside the rows of all.  Rows do not depend on threads, budget or groups. */
#ifndef SURPRISAL_ENGINE_DIVERGENCE_H
#define SURPRISAL_ENGINE_DIVERGENCE_H

#include "engine/engine.h"
#include "base/matrix.h"

/* Final hidden states [n, hidden_size] as engine_sink got them, in F32 or rounded to BF16. */
struct engine_hidden {
    struct matrix states;
    const struct mapped_file *file;     /* in whose mapping they stand: its pages are given back as they
                                           are read; NULL: none */
};

struct engine_divergence {
    const struct engine *a, *b;         /* each has its own head and type; a gives threads, progress and
                                           the budget */
    struct engine_hidden hidden_a, hidden_b;
    bool same_head;                     /* the heads hold the same values: one is read for both */
};

/* The smallest budget of the process that does for n tokens.  Hidden states are not looked at. */
size_t engine_divergence_least(const struct engine_divergence *d, size_t n);

/* Fills rows [n].  An error when shapes do not fit each other or the budget does not suffice; a token
 * whose divergence is not finite is an error that names it. */
bool engine_divergence(const struct engine_divergence *d, struct divergence_row *rows,
                       struct error *err);

#endif
