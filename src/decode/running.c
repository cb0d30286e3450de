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
    size_t drafts = running_drafts_bytes(w->engine, o, 0);
    size_t block = kv_pool_bytes(&shape, 1) + running_drafts_bytes(w->engine, o, KV_BLOCK) - drafts;
    size_t wanted = product(kv_pool_blocks(o->context), o->max_sequences);
    if (o->kv_tokens)
        return kv_pool_blocks(o->kv_tokens);
    others = size_total(others, size_total(drafts, running_drafts_weight_bytes(w->engine, o)));
    if (left != SIZE_MAX)
        wanted = size_min(wanted, (left - size_min(left, others)) / block);
    return size_max(wanted, kv_pool_blocks(o->context));
}

static bool open_pool(struct running *w, struct error *err)
{
    const struct config *c = &w->engine->ck->config;
    struct scheduler_memory *m = &w->memory;
    m->kv_tokens = product(choose_blocks(w), KV_BLOCK);
    m->kv_bytes = sequence_state_pool_bytes(c, w->options.kv_dtype, m->kv_tokens);
    m->prefix_cache_bytes = w->options.prefix_cache_bytes;
    m->draft_bytes = running_drafts_bytes(w->engine, &w->options, m->kv_tokens);
    m->bytes = size_total(size_total(m->kv_bytes, m->state_bytes),
                          size_total(m->prefix_cache_bytes, m->buffer_bytes));
    m->bytes = size_total(m->bytes, m->draft_bytes);
    w->figures.kv_total = m->kv_tokens;
    w->figures.n_drafts = w->options.n_drafts;
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
    w->rows = mem_array(n, sizeof *w->rows, what, err);
    if (!w->states || !w->unused || !w->requests || !w->decoding || !w->rows)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!sequence_state_open(&w->states[i], &w->engine->ck->config, &w->pool,
                                 w->options.context, err))
            return false;
        w->unused[i] = &w->states[i];
    }
    if (!running_drafts_open(&w->drafts, w->engine, &w->options, w->memory.kv_tokens, w->states,
                             err))
        return false;
    w->cache.drafter = w->drafts.drafter;
    return true;
}

static bool prefilled(void *user, const struct sequence_state *s, const int32_t *ids,
                      const float *hidden, size_t n, struct error *err)
{
    struct running *w = user;
    (void)s;
    return running_drafts_prefill(&w->drafts, w->prefilling, ids, hidden, n, err);
}

/* What the decoder's budget must leave room for. */
static size_t other_bytes(const struct running *w)
{
    const struct scheduler_options *o = &w->options;
    size_t tokens = o->kv_tokens ? o->kv_tokens : o->context;
    size_t weights = o->count_weights ? running_drafts_weight_bytes(w->engine, o) : 0;
    size_t keys = sequence_state_pool_bytes(&w->engine->ck->config, o->kv_dtype, tokens);
    size_t drafts = size_total(running_drafts_bytes(w->engine, o, tokens), weights);
    return size_total(size_total(w->memory.state_bytes, o->prefix_cache_bytes),
                      size_total(keys, drafts));
}

bool running_open(struct running *w, const struct engine *e, const struct scheduler_options *o,
                  bool (*stop)(void *user), void *user, struct error *err)
{
    const struct config *c = &e->ck->config;
    assert(o->context > 0);
    *w = (struct running){ .engine = e, .options = with_defaults(o), .stop = stop, .user = user };
    o = &w->options;
    w->memory.state_bytes = product(sequence_state_bytes(c, o->context), o->max_sequences);
    const struct decoder_options options = {
        .piece_tokens = o->piece_tokens, .max_sequences = o->max_sequences,
        .max_rows = product(o->max_sequences, 1 + o->n_drafts),
        .observer = { o->n_drafts ? prefilled : NULL, w }, .other_bytes = other_bytes(w),
        .count_weights = o->count_weights, .shares_vocabulary = o->n_drafts > 0,
        .stop = stop, .user = user,
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
    running_drafts_close(&w->drafts);
    sequence_state_pool_close(&w->pool);
    decoder_close(w->decoder);
    free(w->states);
    free(w->unused);
    free(w->requests);
    free(w->decoding);
    free(w->rows);
    *w = (struct running){ 0 };
}

/* ---- coming and going ------------------------------------------------------------ */

/* Of a kept state, at most: the logits of next_row are still wanted. */
static const struct sequence_state *find_kept(struct running *w, const struct request *r,
                                              const struct drafter_state **drafts)
{
    return prefix_cache_find(&w->cache, r->given.cache_salt, r->given.prompt, r->next_row, drafts);
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
    const struct drafter_state *drafts;
    const struct sequence_state *kept = find_kept(w, r, &drafts);
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
    const struct drafter_state *drafts;
    const struct sequence_state *kept = find_kept(w, r, &drafts);
    running_drafts_start(&w->drafts, r, (size_t)(r->state - w->states), drafts);
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
    running_drafts_leave(&w->drafts, r);
    sequence_state_clear(r->state, &w->engine->ck->config);
    w->unused[w->options.max_sequences - 1 - w->n] = r->state;
    r->state = NULL;
}

/* ---- room for a step ---------------------------------------------------------------- */

/* Blocks that the step will take, from the pool and from the drafter's. */
static size_t step_lacks(struct running *w, size_t *drafts_lack)
{
    size_t lacks = 0, piece = decoder_piece_tokens(w->decoder);
    if (w->n > 1)                       /* all but the last one decode */
        piece = size_min(piece, w->options.decoding_piece);
    *drafts_lack = 0;
    for (size_t i = 0; i < w->n; i++) {
        const struct request *r = w->requests[i];
        size_t tokens = 1 + r->n_drafts;
        if (!request_decodes(r)) {
            w->piece_end = request_piece_end(r, piece);
            tokens = w->piece_end - r->state->n_past;
        }
        lacks += sequence_state_lacks(r->state, tokens);
        *drafts_lack += running_drafts_lacks(r, tokens);
    }
    return lacks;
}

/* The pools hold one context at least: without kept states, one request has room. */
static void find_room(struct running *w)
{
    for (;;) {
        size_t drafts_lack, lacks = step_lacks(w, &drafts_lack);
        bool fits = lacks <= w->pool.n_free;
        if (fits && drafts_lack <= running_drafts_free(&w->drafts))
            return;
        if (prefix_cache_drop(&w->cache, !fits))
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

/* Of a request's drafts the first ones were drawn; ended: the last of those ended its answer. */
static void note_drafts(struct running *w, struct request *r, size_t accepted, bool ended)
{
    struct scheduler_figures *f = &w->figures;
    speculation_add(&r->speculation, r->n_drafts, accepted, ended);
    f->drafts += r->n_drafts > 0;
    f->drafted_tokens += r->n_drafts;
    for (size_t i = 0; i < accepted; i++)
        f->accepted_tokens[i]++;
}

/* A token from each row of a step [1 + n_drafts, V], as long as they are the drafts; forgets the
 * rows after that.  How many were right: one that waited again goes through tokens it has. */
static size_t choose_rows(struct running *w, struct request *r, float *logits)
{
    size_t V = w->engine->ck->config.vocab_size, n = r->n_drafts, row = 0;
    bool drafted;
    if (r->state->n_past - n < r->given.n_prompt + r->n_answer)
        return 1;
    do {
        choose(w, r, logits + row * V);
        drafted = row < n && r->chosen == r->tokens[1 + row];
        row++;
    } while (drafted && !r->is_over);
    note_drafts(w, r, drafted ? row : row - 1, drafted);
    if (!r->is_over)
        sequence_state_take_back(r->state, n + 1 - row);
    return row;
}

/* A step of all that decode. */
static bool decode(struct running *w, struct error *err)
{
    const struct config *c = &w->engine->ck->config;
    size_t n = 0, row = 0;
    const float *hidden;
    float *logits;
    for (size_t i = 0; i < w->n; i++) {
        struct request *r = w->requests[i];
        if (!request_decodes(r))
            continue;
        r->tokens[0] = r->answer[r->state->n_past - r->given.n_prompt];
        w->rows[n] = (struct decoder_rows){ r->state, r->tokens, 1 + r->n_drafts };
        w->decoding[n++] = r;
    }
    if (n && !decoder_step_rows(w->decoder, w->rows, n, &logits, &hidden, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        struct request *r = w->decoding[i];
        size_t right = choose_rows(w, r, logits + row * c->vocab_size);
        if (!r->is_over)
            running_drafts_ask(&w->drafts, r, hidden + row * c->hidden_size, right);
        row += w->rows[i].n;
    }
    return running_drafts_make(&w->drafts, err);
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
            prefix_cache_keep(&w->cache, r->given.cache_salt, r->given.prompt, r->state,
                              running_drafts_state(r));
    if (request_decodes(r) && !r->is_over)
        running_drafts_ask(&w->drafts, r, NULL, 1);
    return running_drafts_make(&w->drafts, err);
}

bool running_step(struct running *w, struct error *err)
{
    find_room(w);
    w->figures.steps++;
    return decode(w, err) && prefill(w, err);
}
