#include "decode/drafter.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "decode/decoder.h"
#include "decode/sampler.h"
#include "engine/pass.h"
#include "model/embedding.h"
#include "model/head.h"
#include "model/mtp.h"

#define PIECE ((size_t)512)                 /* slots of a prompt at once */

struct slot_buffers {
    size_t *start, *skipped;                /* [max_sequences + 1] */
    struct attention_state *states;         /* [max_sequences] */
    struct attention_state **at_work;       /* [max_sequences] */
    size_t *which;                          /* [max_sequences]: the request of each at work */
    int32_t *ids;                           /* [rows] */
    float *x, *hidden;                      /* [rows, D] */
    float *logits;                          /* [max_sequences, V] */
    struct routing routing;                 /* [rows] */
};

struct drafter {
    const struct engine *e;                 /* borrowed */
    struct compute cm;                      /* few_rows for all but prompts */
    struct kv_pool pool;
    struct arena arena;                     /* in it: */
    struct slot_buffers b;
    size_t max_sequences, max_rows;         /* of drafter_draft */
    bool checked;                           /* scales hold no NaN */
};

/* ---- memory ------------------------------------------------------------------ */

static size_t all_rows(const struct drafter *d)
{
    return size_max(PIECE, decoder_whole_chunks(d->max_rows));
}

static struct slot_buffers slots_take(struct arena *a, const struct drafter *d)
{
    const struct config *c = d->cm.config;
    size_t n = d->max_sequences, rows = all_rows(d), D = c->hidden_size;
    size_t k = c->num_experts_per_tok;
    return (struct slot_buffers){
        .start = arena_take(a, n + 1, sizeof(size_t)),
        .skipped = arena_take(a, n + 1, sizeof(size_t)),
        .states = arena_take(a, n, sizeof(struct attention_state)),
        .at_work = arena_take(a, n, sizeof(struct attention_state *)),
        .which = arena_take(a, n, sizeof(size_t)),
        .ids = arena_take(a, rows, sizeof(int32_t)),
        .x = arena_take(a, rows, D * sizeof(float)),
        .hidden = arena_take(a, rows, D * sizeof(float)),
        .logits = arena_take(a, n, c->vocab_size * sizeof(float)),
        .routing = { .expert = arena_take(a, rows, k * sizeof(int32_t)),
                     .weight = arena_take(a, rows, k * sizeof(float)) },
    };
}

static struct drafter drafter_of(const struct engine *e, const struct drafter_options *o)
{
    assert(e->mtp && o->max_sequences > 0 && o->n_drafts > 0 && o->n_drafts <= DRAFTER_MOST);
    return (struct drafter){ .e = e, .cm = engine_compute(e), .max_sequences = o->max_sequences,
                             .max_rows = o->max_sequences * (o->n_drafts + 1) };
}

static size_t arena_bytes(const struct drafter *d)
{
    struct arena measure = { 0 };
    struct compute few = d->cm;
    few.few_rows = true;
    slots_take(&measure, d);
    struct overlay o = overlay_begin(&measure);
    mtp_buffers_take(&measure, &d->cm, PIECE, 0, PIECE);
    overlay_next(&o, &measure);
    mtp_buffers_take(&measure, &few, d->max_rows, 0, all_rows(d));
    overlay_next(&o, &measure);
    head_logits_buffers_take(&measure, &few, &d->e->w->lm_head);
    overlay_end(&o, &measure);
    return measure.peak;
}

static struct kv_shape shape_of(const struct config *c, enum dtype kv)
{
    struct kv_shape shape = kv_shape_of(c, kv);
    shape.layers = 1;
    return shape;
}

/* Each sequence may have a last block that it does not fill. */
static size_t blocks_of(const struct drafter_options *o)
{
    return kv_pool_blocks(o->pool_tokens) + o->max_sequences;
}

size_t drafter_bytes(const struct engine *e, const struct drafter_options *o)
{
    const struct drafter d = drafter_of(e, o);
    const struct kv_shape shape = shape_of(d.cm.config, o->kv);
    return size_total(arena_bytes(&d), kv_pool_bytes(&shape, blocks_of(o)));
}

size_t drafter_weight_bytes(const struct engine *e)
{
    return e->draft_parts.largest_layer;
}

struct drafter *drafter_open(const struct engine *e, const struct drafter_options *o,
                             struct error *err)
{
    const struct kv_shape shape = shape_of(&e->ck->config, o->kv);
    struct drafter *d = mem_array(1, sizeof *d, "the drafter", err);
    if (!d)
        return NULL;
    *d = drafter_of(e, o);
    if (kv_pool_open(&d->pool, &shape, blocks_of(o), err)
        && arena_reserve(&d->arena, arena_bytes(d), err)) {
        d->b = slots_take(&d->arena, d);
        return d;
    }
    drafter_close(d);
    return NULL;
}

void drafter_close(struct drafter *d)
{
    if (!d)
        return;
    kv_pool_close(&d->pool);
    arena_free(&d->arena);
    free(d);
}

/* ---- the state of a sequence --------------------------------------------------- */

bool drafter_state_open(struct drafter_state *s, struct drafter *d, size_t capacity,
                        struct error *err)
{
    *s = (struct drafter_state){ 0 };
    s->hidden = mem_array(d->cm.config->hidden_size, sizeof *s->hidden, "a state of drafts", err);
    return s->hidden && kv_table_open(&s->keys, &d->pool, capacity, err);
}

void drafter_state_close(struct drafter_state *s)
{
    if (s->keys.pool)
        kv_table_close(&s->keys);
    free(s->hidden);
    *s = (struct drafter_state){ 0 };
}

size_t drafter_state_bytes(const struct config *c, size_t capacity)
{
    return kv_pool_blocks(capacity) * sizeof(uint32_t) + c->hidden_size * sizeof(float);
}

void drafter_state_go_back(struct drafter_state *s, size_t n_tokens, const float *hidden, size_t D)
{
    s->n_past = n_tokens ? n_tokens - 1 : 0;
    s->waits = n_tokens > 0;
    kv_table_cut(&s->keys, s->n_past);
    if (s->waits)
        memcpy(s->hidden, hidden, D * sizeof *hidden);
}

void drafter_state_copy(struct drafter_state *to, const struct drafter_state *from, size_t D)
{
    kv_table_copy(&to->keys, &from->keys, from->n_past);
    to->n_past = from->n_past;
    to->waits = from->waits;
    memcpy(to->hidden, from->hidden, D * sizeof *to->hidden);
}

/* ---- slots --------------------------------------------------------------------- */

static bool need(void *user, size_t part, struct error *err)
{
    struct drafter *d = user;
    (void)part;
    d->checked = d->checked || weights_check_mtp(d->e->ck, d->e->mtp, err);
    return d->checked;
}

static void done(void *user, size_t part)
{
    (void)user, (void)part;
}

/* Drafts are short: what is asked is whether to stop. */
static bool report(void *user, double share)
{
    const struct drafter *d = user;
    const struct progress *p = &d->e->progress;
    (void)share;
    return !p->report || !d->cm.few_rows || p->report(p->user, "answer", 0, 0, "tokens");
}

/* Sequence i of a call begins at its state's slots. */
static bool begin(struct drafter *d, size_t i, struct drafter_state *s, size_t reserve,
                  struct error *err)
{
    if (!kv_table_reserve(&s->keys, s->n_past, reserve, err))
        return false;
    attention_state_init_blocks(&d->b.states[i], &s->keys, 0);
    d->b.states[i].n_past = s->n_past;
    d->b.at_work[i] = &d->b.states[i];
    return true;
}

/* One slot of each row, of n sequences at work, whose tokens are in ids and whose states are in
 * hidden: x gets what the layer makes of them. */
static bool run_slots(struct drafter *d, size_t n, struct error *err)
{
    const struct weight_feed feed = { need, done, d };
    size_t mark = d->arena.used, rows = d->b.start[n];
    for (size_t i = 0; i < n; i++)
        d->b.skipped[i] = d->b.at_work[i]->n_past;
    embedding_rows(&d->cm, d->b.x, &d->e->w->embed_tokens, d->b.ids, rows);
    struct mtp_buffers buffers = mtp_buffers_take(&d->arena, &d->cm, rows, 0, all_rows(d));
    const struct mtp_task task = {
        .weights = d->e->mtp,
        .batch = { .n_windows = n, .n_tokens = rows, .start = d->b.start,
                   .skipped = d->b.skipped },
        .x = d->b.x, .hidden = d->b.hidden, .routing = d->b.routing, .tile_tokens = all_rows(d),
        .states = d->b.at_work, .feed = &feed, .progress = { report, d },
    };
    bool ok = mtp_forward(&d->cm, &task, &buffers, err);
    d->arena.used = mark;
    return ok;
}

/* ---- prompts ------------------------------------------------------------------- */

/* Up to PIECE of the slots of ids [n]: their states are the one that waits, and hidden. */
static bool prefill_piece(struct drafter *d, struct drafter_state *s, const int32_t *ids,
                          const float *hidden, size_t n, struct error *err)
{
    size_t D = d->cm.config->hidden_size;
    memcpy(d->b.hidden, s->hidden, D * sizeof *hidden);
    memcpy(d->b.hidden + D, hidden, (n - 1) * D * sizeof *hidden);
    memcpy(d->b.ids, ids, n * sizeof *ids);
    d->b.start[0] = 0;
    d->b.start[1] = n;
    if (!begin(d, 0, s, n, err) || !run_slots(d, 1, err))
        return false;
    s->n_past += n;
    memcpy(s->hidden, hidden + (n - 1) * D, D * sizeof *hidden);
    return true;
}

bool drafter_prefill(struct drafter *d, struct drafter_state *s, const int32_t *ids,
                     const float *hidden, size_t n, struct error *err)
{
    size_t D = d->cm.config->hidden_size, row = 0;
    d->cm.few_rows = false;
    if (n > 0 && !s->waits) {                   /* the first token has no slot that sees it */
        memcpy(s->hidden, hidden, D * sizeof *hidden);
        s->waits = true;
        row = 1;
    }
    for (size_t rows; row < n; row += rows) {
        rows = size_min(n - row, PIECE);
        if (!prefill_piece(d, s, ids + row, hidden + row * D, rows, err))
            return false;
    }
    return true;
}

/* ---- drafts -------------------------------------------------------------------- */

/* The new slots of all requests. */
static bool gather(struct drafter *d, const struct draft_request *r, size_t n, struct error *err)
{
    size_t D = d->cm.config->hidden_size, row = 0;
    for (size_t i = 0; i < n; i++) {
        size_t chain = r[i].n_drafts ? r[i].n_drafts - 1 : 0;
        assert(r[i].n > 0 && r[i].n <= d->max_rows - row);
        assert(r[i].hidden || (r[i].state->waits && r[i].n == 1));
        if (!begin(d, i, r[i].state, r[i].n + chain, err))
            return false;
        memcpy(d->b.hidden + row * D, r[i].hidden ? r[i].hidden : r[i].state->hidden,
               r[i].n * D * sizeof *d->b.hidden);
        memcpy(d->b.ids + row, r[i].ids, r[i].n * sizeof *d->b.ids);
        d->b.which[i] = i;
        d->b.start[i] = row;
        d->b.start[i + 1] = row += r[i].n;
    }
    return true;
}

/* The layer's states of the last slots of the n at work become hidden. */
static void take_states(struct drafter *d, size_t n)
{
    size_t D = d->cm.config->hidden_size;
    for (size_t i = 0; i < n; i++) {
        memcpy(d->b.hidden + i * D, d->b.x + (d->b.start[i + 1] - 1) * D, D * sizeof *d->b.x);
        d->b.start[i] = i;
    }
    d->b.start[n] = n;
}

/* Of the n at work, those that want more than `drafts` go on: how many. */
static size_t keep(struct drafter *d, const struct draft_request *r, size_t n, size_t drafts)
{
    size_t D = d->cm.config->hidden_size, kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (r[d->b.which[i]].n_drafts <= drafts)
            continue;
        memmove(d->b.hidden + kept * D, d->b.hidden + i * D, D * sizeof *d->b.hidden);
        d->b.ids[kept] = d->b.ids[i];
        d->b.at_work[kept] = d->b.at_work[i];
        d->b.which[kept++] = d->b.which[i];
    }
    return kept;
}

/* Draft `number` of the n at work, from hidden: to the requests, and to ids. */
static void choose(struct drafter *d, const struct draft_request *r, size_t n, size_t number)
{
    const struct matrix *lm_head = &d->e->w->lm_head;
    size_t V = lm_head->rows, mark = d->arena.used;
    const struct head_logits_buffers b = head_logits_buffers_take(&d->arena, &d->cm, lm_head);
    head_logits(&d->cm, &b, d->b.logits, d->b.hidden, n, lm_head);
    d->arena.used = mark;
    for (size_t i = 0; i < n; i++) {
        int32_t best = (int32_t)sampler_largest(d->b.logits + i * V, V);
        d->b.ids[i] = r[d->b.which[i]].drafts[number] = best;
    }
}

static bool run_chains(struct drafter *d, const struct draft_request *r, size_t n,
                       struct error *err)
{
    size_t at_work = n;
    for (size_t number = 0; at_work > 0; number++) {
        if (!run_slots(d, at_work, err))
            return false;
        take_states(d, at_work);
        at_work = keep(d, r, at_work, number);
        if (at_work > 0)
            choose(d, r, at_work, number);
        at_work = keep(d, r, at_work, number + 1);
    }
    return true;
}

bool drafter_draft(struct drafter *d, const struct draft_request *r, size_t n, struct error *err)
{
    assert(n > 0 && n <= d->max_sequences);
    d->cm.few_rows = true;
    if (!gather(d, r, n, err) || !run_chains(d, r, n, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        r[i].state->n_past += r[i].n;
        r[i].state->waits = false;
        kv_table_cut(&r[i].state->keys, r[i].state->n_past);
    }
    return true;
}
