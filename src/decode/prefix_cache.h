/* prefix_cache.h - states of the beginnings of prompts, to go on from where another prompt begins
 * with the same tokens.
 *
 * A delta net cannot go back to an earlier token, so a state is kept at the places that another
 * prompt is likely to share: before the second and before the last <|im_start|> (what follows the
 * system block; what follows the last answer), and before the end.  Places are multiples of
 * DELTA_CHUNK, and states there are made by prefill alone: so a hit gives the bits of a cold start.
 *
 * The key is the token ids themselves, and a salt that keeps clients apart; both are compared
 * exactly.  Delta nets are copied; keys and values are blocks of the requests' pool, which are
 * shared (sequence_state_copy).  The MTP layer's state (drafter.h) is kept beside the model's.
 * What was not used for the longest time goes first: for a new state, when all would take more than
 * the budget, and for a block that a request needs.
 *
 * Used by one thread at a time. */
#ifndef SURPRISAL_DECODE_PREFIX_CACHE_H
#define SURPRISAL_DECODE_PREFIX_CACHE_H

#include "decode/drafter.h"
#include "decode/sequence_state.h"

struct prefix_cache_entry;

/* Set the first members; release with prefix_cache_close, before the pool. */
struct prefix_cache {
    const struct config *config;            /* borrowed, as is the pool */
    struct kv_pool *pool;
    struct drafter *drafter;                /* borrowed; NULL: nothing is drafted */
    size_t capacity;                        /* of the requests' states */
    size_t budget_bytes;                    /* 0: nothing is kept */
    int32_t turn_id;                        /* of <|im_start|>; -1: there is none */
    struct prefix_cache_entry *newest;      /* owned: a list by last use */
    size_t n_entries, bytes;                /* bytes: blocks of the pool apart */
};

void prefix_cache_close(struct prefix_cache *p);

enum { PREFIX_CACHE_PLACES = 3 };
/* Where a state of a prompt is worth keeping, ascending; 0: nowhere. */
void prefix_cache_places(const struct prefix_cache *p, size_t places[PREFIX_CACHE_PLACES],
                         const int32_t *ids, size_t n);

/* The state of the longest beginning of ids, of at most `most` tokens: borrowed until the next
 * change of the cache; NULL: there is none.  It counts as used now.  *drafts: the state of drafts
 * beside it, borrowed likewise; NULL: it has none. */
const struct sequence_state *prefix_cache_find(struct prefix_cache *p, const char *salt,
                                               const int32_t *ids, size_t most,
                                               const struct drafter_state **drafts);
/* Keeps a copy of a state that holds the first s->n_past of ids, and of the one of drafts (NULL:
 * none), if it fits into the budget and memory can be had. */
void prefix_cache_keep(struct prefix_cache *p, const char *salt, const int32_t *ids,
                       const struct sequence_state *s, const struct drafter_state *drafts);

/* Gives up the state that was not used for the longest time: of all, or of those that have a block
 * for themselves, which becomes free.  False: there is none. */
bool prefix_cache_drop(struct prefix_cache *p, bool must_free);

#endif
