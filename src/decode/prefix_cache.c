#include "decode/prefix_cache.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/delta_rule.h"

/* Finding one looks at all; and each has mappings of its own, of which a process has some
 * 65,000. */
#define MOST_ENTRIES ((size_t)1024)

struct prefix_cache_entry {
    struct prefix_cache_entry *older;
    struct sequence_state state;            /* of n_past tokens: */
    struct drafter_state drafts;            /* all zero: none */
    int32_t *ids;                           /* owned */
    char *salt;                             /* owned */
    size_t bytes;
};

static void entry_free(struct prefix_cache_entry *e)
{
    sequence_state_close(&e->state);
    drafter_state_close(&e->drafts);
    free(e->ids);
    free(e->salt);
    free(e);
}

/* The entry that *link points at leaves the list. */
static struct prefix_cache_entry *unlink_entry(struct prefix_cache *p,
                                               struct prefix_cache_entry **link)
{
    struct prefix_cache_entry *e = *link;
    *link = e->older;
    p->bytes -= e->bytes;
    p->n_entries--;
    return e;
}

static void link_newest(struct prefix_cache *p, struct prefix_cache_entry *e)
{
    e->older = p->newest;
    p->newest = e;
    p->bytes += e->bytes;
    p->n_entries++;
}

void prefix_cache_close(struct prefix_cache *p)
{
    while (p->newest)
        entry_free(unlink_entry(p, &p->newest));
}

/* ---- places ---------------------------------------------------------------------- */

void prefix_cache_places(const struct prefix_cache *p, size_t places[PREFIX_CACHE_PLACES],
                         const int32_t *ids, size_t n)
{
    size_t turns = 0, second = 0, last = 0;
    for (size_t i = 0; p->turn_id >= 0 && i < n; i++) {
        if (ids[i] != p->turn_id)
            continue;
        last = i;
        if (++turns == 2)
            second = i;
    }
    const size_t ends[PREFIX_CACHE_PLACES] = { second, last, n - 1 };
    for (size_t i = 0; i < PREFIX_CACHE_PLACES; i++)
        places[i] = p->budget_bytes ? ends[i] / DELTA_CHUNK * DELTA_CHUNK : 0;
}

/* ---- looking up -------------------------------------------------------------------- */

static bool begins_with(const struct prefix_cache_entry *e, const char *salt, const int32_t *ids,
                        size_t most)
{
    size_t n = e->state.n_past;
    return n <= most && strcmp(e->salt, salt) == 0 && memcmp(e->ids, ids, n * sizeof *ids) == 0;
}

const struct sequence_state *prefix_cache_find(struct prefix_cache *p, const char *salt,
                                               const int32_t *ids, size_t most,
                                               const struct drafter_state **drafts)
{
    struct prefix_cache_entry **best = NULL;
    for (struct prefix_cache_entry **at = &p->newest; *at; at = &(*at)->older)
        if ((!best || (*at)->state.n_past > (*best)->state.n_past)
            && begins_with(*at, salt, ids, most))
            best = at;
    *drafts = NULL;
    if (!best)
        return NULL;
    link_newest(p, unlink_entry(p, best));
    if (p->newest->drafts.hidden)
        *drafts = &p->newest->drafts;
    return &p->newest->state;
}

/* ---- keeping and dropping ------------------------------------------------------------ */

static bool frees_a_block(const struct prefix_cache_entry *e)
{
    const struct kv_table *t = e->state.keys;
    for (size_t i = 0; i < t->n; i++)
        if (t->pool->users[t->block[i]] == 1)
            return true;
    return false;
}

bool prefix_cache_drop(struct prefix_cache *p, bool must_free)
{
    struct prefix_cache_entry **oldest = NULL;
    for (struct prefix_cache_entry **at = &p->newest; *at; at = &(*at)->older)
        if (!must_free || frees_a_block(*at))
            oldest = at;
    if (oldest)
        entry_free(unlink_entry(p, oldest));
    return oldest != NULL;
}

static struct prefix_cache_entry *entry_of(const struct prefix_cache *p, const char *salt,
                                           const int32_t *ids, const struct sequence_state *s,
                                           const struct drafter_state *drafts)
{
    struct prefix_cache_entry *e = mem_array(1, sizeof *e, "a kept state", NULL);
    if (!e)
        return NULL;
    e->ids = mem_array(s->n_past, sizeof *ids, "a kept state", NULL);
    e->salt = mem_string(salt, NULL);
    if (!e->ids || !e->salt
        || !sequence_state_open(&e->state, p->config, p->pool, p->capacity, NULL)
        || (drafts && !drafter_state_open(&e->drafts, p->drafter, p->capacity, NULL))) {
        entry_free(e);
        return NULL;
    }
    memcpy(e->ids, ids, s->n_past * sizeof *ids);
    sequence_state_copy(&e->state, s, p->config);
    if (drafts)
        drafter_state_copy(&e->drafts, drafts, p->config->hidden_size);
    return e;
}

void prefix_cache_keep(struct prefix_cache *p, const char *salt, const int32_t *ids,
                       const struct sequence_state *s, const struct drafter_state *drafts)
{
    size_t bytes = sizeof(struct prefix_cache_entry) + s->n_past * sizeof *ids + strlen(salt) + 1
                 + sequence_state_bytes(p->config, p->capacity)
                 + (drafts ? drafter_state_bytes(p->config, p->capacity) : 0);
    const struct drafter_state *its;
    const struct sequence_state *known = prefix_cache_find(p, salt, ids, s->n_past, &its);
    if (bytes > p->budget_bytes || (known && known->n_past == s->n_past))
        return;
    while (p->n_entries == MOST_ENTRIES || p->budget_bytes - p->bytes < bytes)
        prefix_cache_drop(p, false);
    struct prefix_cache_entry *e = entry_of(p, salt, ids, s, drafts);
    if (!e)
        return;
    e->bytes = bytes;
    link_newest(p, e);
}
