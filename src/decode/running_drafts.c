#include "decode/running_drafts.h"

#include <stdlib.h>

#include "engine/pass.h"

/* ---- memory -------------------------------------------------------------------- */

/* Without kept states, blocks are shared by those who share the model's.  Each may have a copy of
 * one of them, since the layer is a token behind; and one more for drafts (drafter.h). */
static struct drafter_options options_of(const struct scheduler_options *o, size_t kv_tokens)
{
    size_t tokens = size_total(kv_tokens, o->max_sequences * KV_BLOCK);
    return (struct drafter_options){ .max_sequences = o->max_sequences, .n_drafts = o->n_drafts,
                                     .pool_tokens = tokens, .kv = o->kv_dtype };
}

size_t running_drafts_bytes(const struct engine *e, const struct scheduler_options *o,
                            size_t kv_tokens)
{
    const struct config *c = &e->ck->config;
    const struct drafter_options options = options_of(o, kv_tokens);
    size_t each, all;
    if (!o->n_drafts)
        return 0;
    each = size_total(drafter_state_bytes(c, o->context),
                      sequence_state_rows_bytes(c, o->n_drafts));
    return size_product(&all, each, o->max_sequences)
         ? size_total(all, drafter_bytes(e, &options)) : SIZE_MAX;
}

size_t running_drafts_weight_bytes(const struct engine *e, const struct scheduler_options *o)
{
    return o->n_drafts ? drafter_weight_bytes(e) : 0;
}

bool running_drafts_open(struct running_drafts *d, const struct engine *e,
                         const struct scheduler_options *o, size_t kv_tokens,
                         struct sequence_state *states, struct error *err)
{
    const struct drafter_options options = options_of(o, kv_tokens);
    const char *what = "the drafts of requests";
    size_t n = o->max_sequences;
    *d = (struct running_drafts){ .hidden_size = e->ck->config.hidden_size, .options = o };
    if (!o->n_drafts)
        return true;
    d->drafter = drafter_open(e, &options, err);
    d->states = d->drafter ? mem_array(n, sizeof *d->states, what, err) : NULL;
    d->asked = d->states ? mem_array(n, sizeof *d->asked, what, err) : NULL;
    d->who = d->asked ? mem_array(n, sizeof *d->who, what, err) : NULL;
    bool ok = d->who != NULL;
    for (size_t i = 0; ok && i < n; i++)
        ok = drafter_state_open(&d->states[i], d->drafter, o->context, err)
          && sequence_state_keep_rows(&states[i], &e->ck->config, o->n_drafts, err);
    return ok;
}

void running_drafts_close(struct running_drafts *d)
{
    for (size_t i = 0; d->states && i < d->options->max_sequences; i++)
        drafter_state_close(&d->states[i]);
    drafter_close(d->drafter);
    free(d->states);
    free(d->asked);
    free(d->who);
    *d = (struct running_drafts){ 0 };
}

/* ---- coming and going ------------------------------------------------------------ */

static bool drafts(const struct request *r)
{
    return r->speculation.n_drafts > 0 && !r->speculation.off;
}

/* An answer of one token needs no drafts. */
void running_drafts_start(struct running_drafts *d, struct request *r, size_t i,
                          const struct drafter_state *kept)
{
    if (!d->drafter)
        return;
    r->slots = &d->states[i];
    if (!r->has_started)
        r->speculation.n_drafts = r->given.max_answer == 1 ? 0 : d->options->n_drafts;
    if (kept && drafts(r))
        drafter_state_copy(r->slots, kept, d->hidden_size);
}

void running_drafts_leave(struct running_drafts *d, struct request *r)
{
    if (!d->drafter)
        return;
    drafter_state_go_back(r->slots, 0, NULL, 0);
    r->slots = NULL;
    r->n_drafts = 0;
}

const struct drafter_state *running_drafts_state(const struct request *r)
{
    return drafts(r) ? r->slots : NULL;
}

size_t running_drafts_lacks(const struct request *r, size_t tokens)
{
    return drafts(r) ? kv_table_lacks(&r->slots->keys, r->slots->n_past, tokens + DRAFTER_MOST)
                     : 0;
}

size_t running_drafts_free(const struct running_drafts *d)
{
    return d->drafter ? d->states[0].keys.pool->n_free : 0;
}

/* ---- drafts ---------------------------------------------------------------------- */

bool running_drafts_prefill(struct running_drafts *d, struct request *r, const int32_t *ids,
                            const float *hidden, size_t n, struct error *err)
{
    return !drafts(r) || drafter_prefill(d->drafter, r->slots, ids, hidden, n, err);
}

/* Tokens that may follow the one after the last. */
static size_t room(const struct running_drafts *d, const struct request *r)
{
    size_t most = d->options->context - r->given.n_prompt;
    if (r->given.max_answer)
        most = size_min(most, r->given.max_answer);
    return most - size_min(most, r->n_answer + 1);
}

void running_drafts_ask(struct running_drafts *d, struct request *r, const float *hidden,
                        size_t rows)
{
    size_t decoded = r->state->n_past - r->given.n_prompt;
    r->n_drafts = 0;
    if (!drafts(r))
        return;
    /* Of one that waited again, tokens that are known come first. */
    if (decoded + 1 == r->n_answer)
        r->n_drafts = speculation_wanted(&r->speculation, room(d, r));
    d->who[d->n_asked] = r;
    d->asked[d->n_asked++] = (struct draft_request){
        .state = r->slots, .hidden = hidden, .ids = r->answer + decoded + 1 - rows, .n = rows,
        .n_drafts = r->n_drafts, .drafts = r->tokens + 1,
    };
}

bool running_drafts_make(struct running_drafts *d, struct error *err)
{
    size_t n = d->n_asked;
    d->n_asked = 0;
    if (n && !drafter_draft(d->drafter, d->asked, n, err))
        return false;
    for (size_t i = 0; d->options->replace_drafts && i < n; i++) {
        struct request *r = d->who[i];
        d->options->replace_drafts(r->given.user, r->given.n_prompt + r->n_answer, r->tokens + 1,
                                   r->n_drafts);
    }
    return true;
}
