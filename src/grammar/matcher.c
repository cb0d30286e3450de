#include "grammar/matcher.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "grammar/states.h"

#define N_STANDS    (MATCHER_MAX_BACK + 1)
#define N_MASKS     ((size_t)256)           /* that are kept: 31 KiB each for 248 k tokens */
#define HELD_BYTES  ((size_t)32 << 20)      /* as many bytes of states are always kept */

/* How many cells of a chain a walk sees first, and how many when it needs more. */
static const size_t depths[] = { 32, 256, SIZE_MAX };
enum { N_DEPTHS = sizeof depths / sizeof *depths };

struct mask {
    uint32_t state;             /* STATES_DEAD: free */
    size_t part;
    uint64_t *bits;             /* NULL: the state sees too little */
};

struct matcher {
    const struct token_trie *trie;
    struct states states;
    size_t tidy_at;             /* bytes of states beyond which the old ones are forgotten */
    uint32_t stands[N_STANDS];  /* after token i: stands[i % N_STANDS] */
    size_t n_tokens;
    bool has_ended;
    int32_t *end_ids;
    size_t n_end_ids, n_words;
    struct mask masks[N_MASKS];
    size_t next_mask;           /* the oldest, which makes room */
    uint64_t *allowed;          /* [n_words] */
    uint32_t *path;             /* [longest token + 1]: states along a token */
    struct matcher_figures figures;
};

struct matcher *matcher_new(const struct graph *g, uint32_t start, const struct token_trie *trie,
                            const int32_t *end_ids, size_t n_end_ids, struct error *err)
{
    struct matcher *m = NULL;
    for (size_t i = 0; i < n_end_ids; i++)
        if (end_ids[i] < 0 || (size_t)end_ids[i] >= trie->vocab_size) {
            error_set(err, "end token %d: the vocabulary has %zu", (int)end_ids[i],
                      trie->vocab_size);
            return NULL;
        }
    if (!(m = mem_array(1, sizeof *m, "mask of tokens", err)))
        return NULL;
    m->trie = trie;
    m->n_words = (trie->vocab_size + 63) / 64;
    m->n_end_ids = n_end_ids;
    m->tidy_at = HELD_BYTES;
    m->end_ids = mem_array(n_end_ids, sizeof *end_ids, "mask of tokens", err);
    m->allowed = mem_array(m->n_words, sizeof *m->allowed, "mask of tokens", err);
    m->path = mem_array(size_max(trie->parts[0].longest, trie->parts[1].longest) + 1,
                        sizeof *m->path, "mask of tokens", err);
    if (m->end_ids && m->allowed && m->path
        && states_open(&m->states, g, start, &m->stands[0], err)) {
        if (n_end_ids)
            memcpy(m->end_ids, end_ids, n_end_ids * sizeof *end_ids);
        return m;
    }
    matcher_free(m);
    return NULL;
}

void matcher_free(struct matcher *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < N_MASKS; i++)
        free(m->masks[i].bits);
    states_close(&m->states);
    free(m->end_ids);
    free(m->allowed);
    free(m->path);
    free(m);
}

static uint32_t *stand(struct matcher *m)
{
    return &m->stands[m->n_tokens % N_STANDS];
}

/* ---- masks ----------------------------------------------------------------------- */

/* Sets the bits of the tokens of a part that can follow `state`; false when the state sees too
 * little, or on a failure of the states. */
static bool walk(struct matcher *m, uint64_t *bits, uint32_t state,
                 const struct token_trie_part *part)
{
    const uint8_t *rest = part->rest;
    size_t alive = 0;           /* bytes of the last token that could follow: path[0 ... alive] */
    m->path[0] = state;
    for (size_t i = 0; i < part->n; i++) {
        size_t shared = part->shared[i], n = part->length[i];
        if (shared <= alive) {  /* else it begins with what could not follow */
            uint32_t at = m->path[alive = shared];
            while (alive < n) {
                at = states_step(&m->states, at, rest[alive - shared]);
                if (at == STATES_DEAD)
                    break;
                if (m->states.all[at].is_cut)
                    return false;
                m->path[++alive] = at;
            }
            if (alive == n)
                bits[part->ids[i] / 64] |= (uint64_t)1 << (part->ids[i] % 64);
        }
        rest += n - shared;
    }
    return !m->states.failed;
}

static struct mask *find_mask(struct matcher *m, uint32_t state, size_t part)
{
    for (size_t i = 0; i < N_MASKS; i++)
        if (m->masks[i].state == state && m->masks[i].part == part)
            return &m->masks[i];
    return NULL;
}

static struct mask *make_mask(struct matcher *m, uint32_t state, size_t part, struct error *err)
{
    uint64_t *bits = mem_array(m->n_words, sizeof *bits, "mask of tokens", err);
    if (!bits)
        return NULL;
    m->figures.n_walks++;
    if (!walk(m, bits, state, &m->trie->parts[part])) {
        free(bits);
        bits = NULL;
        if (m->states.failed) {
            error_copy(err, &m->states.failure);
            return NULL;
        }
    }
    struct mask *mask = &m->masks[m->next_mask++ % N_MASKS];
    free(mask->bits);
    *mask = (struct mask){ state, part, bits };
    return mask;
}

/* Adds the tokens of a part that may come next. */
static bool add_part(struct matcher *m, size_t part, struct error *err)
{
    const struct token_trie_part *p = &m->trie->parts[part];
    struct mask *mask = NULL;
    for (size_t i = 0; i < N_DEPTHS && !(mask && mask->bits); i++) {
        uint32_t ahead = states_ahead(&m->states, *stand(m), p->longest, depths[i]);
        if (m->states.failed)
            return error_copy(err, &m->states.failure);
        if (!(mask = find_mask(m, ahead, part)) && !(mask = make_mask(m, ahead, part, err)))
            return false;
    }
    for (size_t i = 0; i < m->n_words; i++)
        m->allowed[i] |= mask->bits[i];
    return true;
}

/* Forgets what is not needed when the states have grown too large.  What is needed may be large
 * itself: then they grow to twice of it before the next time. */
static bool tidy(struct matcher *m, struct error *err)
{
    uint32_t kept[N_STANDS + N_MASKS];
    if (states_bytes(&m->states) <= m->tidy_at)
        return true;
    memcpy(kept, m->stands, sizeof m->stands);
    for (size_t i = 0; i < N_MASKS; i++)
        kept[N_STANDS + i] = m->masks[i].state;
    if (!states_keep(&m->states, kept, N_STANDS + N_MASKS, err))
        return false;
    m->tidy_at = size_max(HELD_BYTES, size_min(2 * states_bytes(&m->states),
                                               STATES_MAX_BYTES / 4 * 3));
    memcpy(m->stands, kept, sizeof m->stands);
    for (size_t i = 0; i < N_MASKS; i++)
        m->masks[i].state = kept[N_STANDS + i];
    return true;
}

const uint64_t *matcher_allowed(struct matcher *m, struct error *err)
{
    m->figures.n_masks++;
    memset(m->allowed, 0, m->n_words * sizeof *m->allowed);
    if (m->has_ended)
        return m->allowed;
    if (!tidy(m, err))
        return NULL;
    if (word_lists_length(&m->states.members, *stand(m)) > matcher_is_complete(m)
        && !(add_part(m, 0, err) && add_part(m, 1, err)))
        return NULL;
    for (size_t i = 0; matcher_is_complete(m) && i < m->n_end_ids; i++)
        m->allowed[m->end_ids[i] / 64] |= (uint64_t)1 << (m->end_ids[i] % 64);
    for (size_t i = 0; i < m->n_words; i++)
        if (m->allowed[i])
            return m->allowed;
    error_set(err, "no token of the vocabulary can go on after %zu tokens of the answer",
              m->n_tokens);
    return NULL;
}

/* ---- steps ----------------------------------------------------------------------- */

static bool is_end_id(const struct matcher *m, int32_t id)
{
    for (size_t i = 0; i < m->n_end_ids; i++)
        if (m->end_ids[i] == id)
            return true;
    return false;
}

bool matcher_advance(struct matcher *m, int32_t id, struct error *err)
{
    size_t n;
    const uint8_t *bytes = token_trie_bytes(m->trie, id, &n);
    if (!tidy(m, err))
        return false;
    bool ends = !m->has_ended && is_end_id(m, id) && matcher_is_complete(m);
    uint32_t at = n > 0 && !m->has_ended ? *stand(m) : STATES_DEAD;
    for (size_t i = 0; i < n && at != STATES_DEAD && !ends; i++)
        at = states_step(&m->states, at, bytes[i]);
    if (m->states.failed)
        return error_copy(err, &m->states.failure);
    if (at == STATES_DEAD && !ends)
        return error_set(err, "token %d cannot come after %zu tokens of the answer", (int)id,
                         m->n_tokens);
    m->has_ended = ends;
    m->n_tokens++;
    *stand(m) = ends ? STATES_DEAD : at;
    return true;
}

void matcher_back(struct matcher *m, size_t n)
{
    assert(n <= MATCHER_MAX_BACK && n <= m->n_tokens);
    m->n_tokens -= n;
    m->has_ended = m->has_ended && n == 0;
}

bool matcher_is_complete(const struct matcher *m)
{
    return m->states.all[m->stands[m->n_tokens % N_STANDS]].accepts;
}

bool matcher_has_ended(const struct matcher *m)
{
    return m->has_ended;
}

void matcher_read_figures(const struct matcher *m, struct matcher_figures *f)
{
    *f = m->figures;
    f->held_bytes = states_bytes(&m->states);
    for (size_t i = 0; i < N_MASKS; i++)
        f->held_bytes += m->masks[i].bits ? m->n_words * sizeof *m->allowed : 0;
}
