#include "decode/running.h"

#include <assert.h>
#include <stdlib.h>

#include "engine/pass.h"

#define MAX_SEQUENCES 8
#define MAX_QUEUE 1024
#define DECODING_PIECE ((size_t)512)

/* ---- memory -------------------------------------------------------------------- */

static size_t product(size_t a, size_t b)
{
    size_t p;
    return size_product(&p, a, b) ? p : SIZE_MAX;
}

static struct scheduler_options with_defaults(const struct scheduler_options *o)
{
    struct scheduler_options full = *o;
    full.max_sequences = o->max_sequences ? o->max_sequences : MAX_SEQUENCES;
    full.max_queue = o->max_queue ? o->max_queue : MAX_QUEUE;
    full.decoding_piece = decoder_whole_chunks(o->decoding_piece ? o->decoding_piece
                                                                 : DECODING_PIECE);
    if (o->kv_tokens)
        full.kv_tokens = size_max(o->kv_tokens, o->context);
    return full;
}

/* Blocks for what was asked for, or for what the budget leaves beside the weights, which are slow
 * when they have to be read again. */
static size_t choose_blocks(const struct running *w)
{
    const struct scheduler_options *o = &w->options;
    const struct kv_shape shape = kv_shape_of(&w->engine->ck->config, o->kv_dtype);
    size_t left = budget_left(&w->engine->budget);
    size_t others = size_total(size_total(w->memory.state_bytes, w->memory.buffer_bytes),
                               size_total(o->prefix_cache_bytes, w->engine->parts.bytes));
    size_t wanted = product(kv_pool_blocks(o->context), o->max_sequences);
    if (o->kv_tokens)
        return kv_pool_blocks(o->kv_tokens);
    if (left != SIZE_MAX)
        wanted = size_min(wanted, (left - size_min(left, others)) / kv_pool_bytes(&shape, 1));
    return size_max(wanted, kv_pool_blocks(o->context));
}

static bool open_pool(struct running *w, struct error *err)
{
    const struct config *c = &w->engine->ck->config;
    struct scheduler_memory *m = &w->memory;
    m->kv_tokens = product(choose_blocks(w), KV_BLOCK);
    m->kv_bytes = sequence_state_pool_bytes(c, w->options.kv_dtype, m->kv_tokens);
    m->prefix_cache_bytes = w->options.prefix_cache_bytes;
    m->bytes = size_total(size_total(m->kv_bytes, m->state_bytes),
                          size_total(m->prefix_cache_bytes, m->buffer_bytes));
    w->figures.kv_total = m->kv_tokens;
    w->cache = (struct prefix_cache){
        .config = c, .pool = &w->pool, .capacity = w->options.context,
        .budget_bytes = w->options.prefix_cache_bytes, .turn_id = w->options.turn_id,
    };
    return sequence_state_pool_open(&w->pool, c, w->options.kv_dtype, m->kv_tokens, err);
}

static bool open_states(struct running *w, struct error *err)
{
    const char *what = "the states of requests";
    size_t n = w->options.max_sequences;
    w->states = mem_array(n, sizeof *w->states, what, err);
    w->unused = mem_array(n, sizeof *w->unused, what, err);
    w->requests = mem_array(n, sizeof *w->requests, what, err);
    w->decoding = mem_array(n, sizeof *w->decoding, what, err);
    w->sequences = mem_array(n, sizeof *w->sequences, what, err);
    w->ids = mem_array(n, sizeof *w->ids, what, err);
    if (!w->states || !w->unused || !w->requests || !w->decoding || !w->sequences || !w->ids)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!sequence_state_open(&w->states[i], &w->engine->ck->config, &w->pool,
                                 w->options.context, err))
            return false;
        w->unused[i] = &w->states[i];
    }
    return true;
}

bool running_open(struct running *w, const struct engine *e, const struct scheduler_options *o,
                  bool (*stop)(void *user), void *user, struct error *err)
{
    const struct config *c = &e->ck->config;
    assert(o->context > 0);
    *w = (struct running){ .engine = e, .options = with_defaults(o), .stop = stop, .user = user };
    o = &w->options;
    w->memory.state_bytes = product(sequence_state_bytes(c, o->context), o->max_sequences);
    size_t least = o->kv_tokens ? o->kv_tokens : o->context;
    const struct decoder_options options = {
        .piece_tokens = o->piece_tokens, .max_sequences = o->max_sequences,
        .other_bytes = size_total(size_total(w->memory.state_bytes, o->prefix_cache_bytes),
                                  sequence_state_pool_bytes(c, o->kv_dtype, least)),
        .count_weights = o->count_weights, .stop = stop, .user = user,
    };
    w->decoder = decoder_open(e, &options, err);
    if (!w->decoder)
        return false;
    w->memory.buffer_bytes = decoder_bytes(w->decoder);
    w->memory.weight_bytes = e->parts.bytes;
    w->memory.weight_memory_bytes = decoder_weight_bytes(w->decoder);
    return open_pool(w, err) && open_states(w, err);
}

void running_close(struct running *w)
{
    for (size_t i = 0; w->states && i < w->options.max_sequences; i++)
        sequence_state_close(&w->states[i]);
    prefix_cache_close(&w->cache);
    sequence_state_pool_close(&w->pool);
    decoder_close(w->decoder);
    free(w->states);
    free(w->unused);
    free(w->requests);
    free(w->decoding);
    free(w->sequences);
    free(w->ids);
    *w = (struct running){ 0 };
}

/* ---- coming and going ------------------------------------------------------------ */

/* Of a kept state, at most: the logits of next_row are still wanted. */
static const struct sequence_state *find_kept(struct running *w, const struct request *r)
{
    return prefix_cache_find(&w->cache, r->given.cache_salt, r->given.prompt, r->next_row);
}

/* Blocks for all its tokens so far and some more, without those that it has. */
static size_t needs(const struct running *w, const struct request *r)
{
    size_t tokens = r->given.n_prompt + r->n_answer + KV_BLOCK;
    size_t blocks = kv_pool_blocks(size_min(tokens, w->options.context));
    return blocks - size_min(blocks, r->state ? r->state->keys->n : 0);
}

/* Does one of the first n requests have block i of a table?  Blocks that are shared hold the same
 * tokens: they have the same place in all tables. */
static bool is_in_use(const struct running *w, const struct kv_table *t, size_t i, size_t n)
{
    for (size_t other = 0; other < n; other++) {
        const struct kv_table *o = w->requests[other]->state->keys;
        if (i < o->n && o->block[i] == t->block[i])
            return true;
    }
    return false;
}

static size_t blocks_in_use(const struct running *w)
{
    size_t blocks = 0;
    for (size_t request = 0; request < w->n; request++) {
        const struct kv_table *t = w->requests[request]->state->keys;
        for (size_t i = 0; i < t->n; i++)
            blocks += !is_in_use(w, t, i, request);
    }
    return blocks;
}

size_t running_kv_tokens(const struct running *w)
{
    return blocks_in_use(w) * KV_BLOCK;
}

bool running_may_start(struct running *w, const struct request *r)
{
    bool prefills = w->n && !request_decodes(w->requests[w->n - 1]);
    if (prefills || w->n == w->options.max_sequences)
        return false;
    const struct sequence_state *kept = find_kept(w, r);
    size_t needed = needs(w, r);
    for (size_t i = 0; kept && i < kept->n_past / KV_BLOCK; i++)
        needed -= is_in_use(w, kept->keys, i, w->n);
    for (size_t i = 0; i < w->n; i++)
        needed += needs(w, w->requests[i]);
    /* What only the cache has, it gives up when a step needs it. */
    return w->n == 0 || needed <= w->pool.n_blocks - blocks_in_use(w);
}

void running_start(struct running *w, struct request *r)
{
    struct scheduler_figures *f = &w->figures;
    r->state = w->unused[w->options.max_sequences - 1 - w->n];
    w->requests[w->n++] = r;
    const struct sequence_state *kept = find_kept(w, r);
    if (kept)
        sequence_state_copy(r->state, kept, &w->engine->ck->config);
    if (r->has_started)
        return;
    r->has_started = true;
    f->prompt_tokens += r->given.n_prompt;
    f->cache_hits += r->state->n_past;
    r->given.started(r->given.user, r->state->n_past);
}

void running_leave(struct running *w, struct request *r)
{
    size_t at = 0;
    if (!r->state)
        return;
    while (w->requests[at] != r)
        at++;
    for (w->n--; at < w->n; at++)
        w->requests[at] = w->requests[at + 1];
    sequence_state_clear(r->state, &w->engine->ck->config);
    w->unused[w->options.max_sequences - 1 - w->n] = r->state;
    r->state = NULL;
}

/* ---- room for a step ---------------------------------------------------------------- */

/* Blocks that the step will take. */
static size_t step_lacks(struct running *w)
{
    size_t lacks = 0, piece = decoder_piece_tokens(w->decoder);
    if (w->n > 1)                       /* all but the last one decode */
        piece = size_min(piece, w->options.decoding_piece);
    for (size_t i = 0; i < w->n; i++) {
        const struct request *r = w->requests[i];
        size_t tokens = 1;
        if (!request_decodes(r)) {
            w->piece_end = request_piece_end(r, piece);
            tokens = w->piece_end - r->state->n_past;
        }
        lacks += sequence_state_lacks(r->state, tokens);
    }
    return lacks;
}

/* The pool holds one context at least: without kept states, one request has room. */
static void find_room(struct running *w)
{
    while (step_lacks(w) > w->pool.n_free) {
        if (prefix_cache_drop(&w->cache, true))
            continue;
        if (w->n > 1) {
            running_leave(w, w->requests[w->n - 1]);
            w->figures.waited_again++;
        } else {
            bool dropped = prefix_cache_drop(&w->cache, false);
            assert(dropped);
            (void)dropped;
        }
    }
}

/* ---- tokens ------------------------------------------------------------------------- */

static void choose(struct running *w, struct request *r, float *logits)
{
    w->figures.generated_tokens +=
        request_choose(r, logits, w->engine->ck->config.vocab_size, w->options.context);
}

/* A token of the answer for each; those that waited again still go through theirs. */
static bool decode(struct running *w, struct error *err)
{
    size_t n = 0;
    float *logits;
    for (size_t i = 0; i < w->n; i++) {
        struct request *r = w->requests[i];
        if (!request_decodes(r))
            continue;
        w->ids[n] = r->answer[r->state->n_past - r->given.n_prompt];
        w->sequences[n] = r->state;
        w->decoding[n++] = r;
    }
    if (n && !decoder_step(w->decoder, w->sequences, w->ids, n, &logits, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct request *r = w->decoding[i];
        if (r->state->n_past == r->given.n_prompt + r->n_answer)
            choose(w, r, logits + i * w->engine->ck->config.vocab_size);
    }
    return true;
}

/* Logits of rows of a piece, which begin with those that are still to come. */
static bool take_logits(void *user, size_t row, size_t n, float *logits, struct error *err)
{
    struct running *w = user;
    struct request *r = w->prefilling;
    (void)row;
    size_t before_last = size_min(n, r->given.n_prompt - 1 - r->next_row);
    if (before_last && !request_give_rows(r, before_last, logits, err))
        return false;
    if (n > before_last)
        choose(w, r, logits + before_last * w->engine->ck->config.vocab_size);
    return true;
}

static bool prefill(struct running *w, struct error *err)
{
    struct request *r = w->n ? w->requests[w->n - 1] : NULL;
    if (!r || request_decodes(r))
        return true;
    const struct decoder_sink sink = { take_logits, w };
    size_t begin = r->state->n_past, n = w->piece_end - begin;
    size_t first = r->n_answer ? n : size_min(n, r->next_row - begin);
    w->prefilling = r;
    bool ok = decoder_prefill(w->decoder, r->state, r->given.prompt + begin, n, first, &sink, err);
    bool stopped = !ok && err->interrupted && w->stop(w->user);
    w->prefilling = NULL;
    if (!ok)
        return stopped || r->is_over;
    w->figures.prefilled_tokens += n;
    for (size_t i = 0; i < PREFIX_CACHE_PLACES; i++)
        if (r->places[i] == r->state->n_past)
            prefix_cache_keep(&w->cache, r->given.cache_salt, r->given.prompt, r->state);
    return true;
}

bool running_step(struct running *w, struct error *err)
{
    find_room(w);
    w->figures.steps++;
    return decode(w, err) && prefill(w, err);
}
