#include "generate/drafting.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(SURPRISAL_MTP_MOST == DRAFTER_MOST, "as many as the drafter makes");

/* ---- memory -------------------------------------------------------------------- */

bool drafting_open(struct drafting *d, const struct checkpoint *ck, size_t n_drafts,
                   struct error *err)
{
    d->n_drafts = n_drafts;
    d->config = &ck->config;
    return !n_drafts || weights_bind_mtp(&d->mtp, ck, err);
}

void drafting_close(struct drafting *d)
{
    drafter_state_close(&d->state);
    drafter_close(d->drafter);
    free(d->kept);
    weights_free_mtp(&d->mtp);
}

static struct drafter_options options_of(const struct drafting *d, enum dtype kv, size_t capacity)
{
    return (struct drafter_options){ .max_sequences = 1, .n_drafts = d->n_drafts,
                                     .pool_tokens = capacity, .kv = kv };
}

size_t drafting_bytes(const struct drafting *d, const struct engine *e, enum dtype kv,
                      size_t capacity)
{
    const struct drafter_options options = options_of(d, kv, capacity);
    const struct config *c = d->config;
    size_t bytes;
    if (!d->n_drafts)
        return 0;
    return size_sum(&bytes, drafter_bytes(e, &options), drafter_state_bytes(c, capacity))
                && size_sum(&bytes, bytes, c->hidden_size * sizeof *d->kept)
                && size_sum(&bytes, bytes, sequence_state_rows_bytes(c, d->n_drafts))
         ? bytes : SIZE_MAX;
}

size_t drafting_weight_bytes(const struct drafting *d, const struct engine *e)
{
    return d->n_drafts ? drafter_weight_bytes(e) : 0;
}

bool drafting_reserve(struct drafting *d, const struct engine *e, enum dtype kv, size_t capacity,
                      struct sequence_state *state, struct error *err)
{
    const struct drafter_options options = options_of(d, kv, capacity);
    if (!d->n_drafts)
        return true;
    d->drafter = drafter_open(e, &options, err);
    d->kept = mem_array(d->config->hidden_size, sizeof *d->kept, "a state of drafts", err);
    return d->drafter && d->kept && drafter_state_open(&d->state, d->drafter, capacity, err)
        && sequence_state_keep_rows(state, d->config, d->n_drafts, err);
}

/* ---- the prompt ------------------------------------------------------------------ */

static bool prefilled(void *user, const struct sequence_state *s, const int32_t *ids,
                      const float *hidden, size_t n, struct error *err)
{
    struct drafting *d = user;
    (void)s;
    return drafter_prefill(d->drafter, &d->state, ids, hidden, n, err);
}

struct decoder_observer drafting_observer(struct drafting *d)
{
    return (struct decoder_observer){ d->n_drafts ? prefilled : NULL, d };
}

void drafting_keep(struct drafting *d)
{
    if (d->n_drafts)
        memcpy(d->kept, d->state.hidden, d->config->hidden_size * sizeof *d->kept);
}

void drafting_go_back(struct drafting *d, size_t n_tokens)
{
    if (d->n_drafts)
        drafter_state_go_back(&d->state, n_tokens, d->kept, d->config->hidden_size);
}

/* ---- the answer ------------------------------------------------------------------ */

void drafting_begin(struct drafting *d)
{
    d->speculation = (struct speculation){ .n_drafts = d->n_drafts };
    d->stopped = 0;
    d->hidden = NULL;
    d->rows = 1;
}

bool drafting_next(struct drafting *d, const struct continuation *answer, int32_t *drafts,
                   size_t *n, struct error *err)
{
    *n = speculation_wanted(&d->speculation, answer->limits.max_tokens - answer->n - 1);
    const struct draft_request request = {
        .state = &d->state, .hidden = d->hidden, .ids = answer->ids + answer->n - d->rows,
        .n = d->rows, .n_drafts = *n, .drafts = drafts,
    };
    if (*n == 0)
        return true;
    if (!drafter_draft(d->drafter, &request, 1, err))
        return false;
    if (d->source.draft)
        d->source.draft(d->source.user, answer->n, drafts, *n);
    return true;
}

void drafting_add(struct drafting *d, const struct continuation *answer, const float *hidden,
                  size_t rows, size_t n, bool last_drafted)
{
    bool was_off = d->speculation.off;
    d->hidden = hidden;
    d->rows = rows;
    speculation_add(&d->speculation, n, last_drafted ? rows : rows - 1,
                    last_drafted && answer->finished);
    if (d->speculation.off && !was_off)
        d->stopped = answer->n;
}

struct surprisal_draft_count drafting_count(const struct drafting *d, size_t i)
{
    return (struct surprisal_draft_count){ d->speculation.drafted[i], d->speculation.accepted[i] };
}
