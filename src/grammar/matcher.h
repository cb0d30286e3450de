/* matcher.h - an answer as it grows beside a graph: which tokens may come next.
 *
 * A token may come when all its bytes can go on from where the answer stands; an end token when the
 * answer is complete.  The mask of a state is a walk over the trie of tokens, and kept: states are
 * compared only as far as a token can see (states_ahead), so they return often. */
#ifndef SURPRISAL_GRAMMAR_MATCHER_H
#define SURPRISAL_GRAMMAR_MATCHER_H

#include "grammar/graph.h"
#include "grammar/token_trie.h"

#define MATCHER_MAX_BACK ((size_t)64)       /* tokens that can be taken back */

/* One answer, one thread. */
struct matcher;

struct matcher_figures {
    size_t n_masks, n_walks;    /* masks asked for, walks over a part of the trie for them */
    size_t held_bytes;          /* of states and masks, now */
};

/* g: finished.  The graph and the trie are borrowed until matcher_free.  end_ids: what ends an
 * answer; refused outside of the vocabulary. */
struct matcher *matcher_new(const struct graph *g, uint32_t start, const struct token_trie *trie,
                            const int32_t *end_ids, size_t n_end_ids, struct error *err);
void matcher_free(struct matcher *m);

/* Bit id % 64 of word id / 64 is set if the token may come next: [(vocab_size + 63) / 64], borrowed
 * until the next call.  No bit is set after an end token.  Fails where no token can go on, because
 * the vocabulary lacks the bytes. */
const uint64_t *matcher_allowed(struct matcher *m, struct error *err);
/* The answer goes on with this token.  Refuses one that may not come, and stays where it was. */
bool matcher_advance(struct matcher *m, int32_t id, struct error *err);
/* Takes back the last n tokens, as rejected drafts are; n is at most MATCHER_MAX_BACK and what has
 * come. */
void matcher_back(struct matcher *m, size_t n);

/* May the answer end here? */
bool matcher_is_complete(const struct matcher *m);
/* Has it ended with an end token? */
bool matcher_has_ended(const struct matcher *m);
void matcher_read_figures(const struct matcher *m, struct matcher_figures *f);

#endif
