#include "decode/decoder.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "decode/decoder_weights.h"
#include "engine/pass.h"
#include "model/embedding.h"
#include "model/head.h"
#include "model/layer.h"

#define LONGEST_PIECE ((size_t)2048)

/* What stays from the first layer of a step to its last; buffers of layers come after it. */
struct step_buffers {
    size_t *start, *skipped;                /* [max_sequences + 1] */
    struct attention_state **attention;     /* [max_sequences] */
    struct delta_net_state **delta_net;
    int32_t *ids;                           /* [max_rows] */
    struct sequence_state **states;         /* [max_sequences] */
    float *x;                               /* [rows, D]: the residual stream */
    float *logits;                          /* [max_rows, V] */
    struct routing routing;                 /* [rows] */
};

struct decoder {
    const struct engine *e;                 /* borrowed */
    struct compute cm;                      /* few_rows in steps alone */
    struct arena arena;                     /* in it: */
    struct step_buffers b;
    size_t rows, max_sequences, max_rows;
    struct decoder_observer observer;
    struct decoder_weights weights;
    size_t weight_bytes;                    /* in memory, at most */
    bool (*stop)(void *user);
    void *user;
    /* For progress: */
    const char *stage;
    size_t done, total;                     /* tokens */
};

/* ---- memory ---------------------------------------------------------------- */

static struct step_buffers step_take(struct arena *a, const struct decoder *d, size_t rows)
{
    const struct config *c = d->cm.config;
    size_t D = c->hidden_size, k = c->num_experts_per_tok, max_sequences = d->max_sequences;
    return (struct step_buffers){
        .start = arena_take(a, max_sequences + 1, sizeof(size_t)),
        .skipped = arena_take(a, max_sequences + 1, sizeof(size_t)),
        .attention = arena_take(a, max_sequences, sizeof(struct attention_state *)),
        .delta_net = arena_take(a, max_sequences, sizeof(struct delta_net_state *)),
        .ids = arena_take(a, d->max_rows, sizeof(int32_t)),
        .states = arena_take(a, max_sequences, sizeof(struct sequence_state *)),
        .x = arena_take(a, rows, D * sizeof(float)),
        .logits = arena_take(a, d->max_rows, c->vocab_size * sizeof(float)),
        .routing = { .expert = arena_take(a, rows, k * sizeof(int32_t)),
                     .weight = arena_take(a, rows, k * sizeof(float)) },
    };
}

/* Layers of either type, and the head. */
static void measure_layers(struct arena *measure, struct overlay *o, const struct decoder *d,
                           const struct compute *cm, size_t rows)
{
    for (enum layer_type type = LINEAR_ATTENTION; type <= FULL_ATTENTION; type++) {
        const struct layer_shape shape = layer_shape_bound(type, rows, 0, d->rows);
        layer_buffers_take(measure, cm, &shape);
        overlay_next(o, measure);
    }
    head_logits_buffers_take(measure, cm, &d->e->w->lm_head);
    overlay_next(o, measure);
}

/* Bytes of the arena for pieces of up to `rows` tokens. */
static size_t arena_bytes(const struct decoder *d, size_t rows)
{
    struct arena measure = { 0 };
    struct compute steps = d->cm;
    steps.few_rows = true;
    step_take(&measure, d, rows);
    struct overlay o = overlay_begin(&measure);
    measure_layers(&measure, &o, d, &d->cm, rows);
    measure_layers(&measure, &o, d, &steps, d->max_rows);
    overlay_end(&o, &measure);
    return measure.peak;
}

size_t decoder_whole_chunks(size_t tokens)
{
    return size_total(tokens, DELTA_CHUNK - 1) / DELTA_CHUNK * DELTA_CHUNK;
}

/* The longest pieces for which `others` and so many times the buffers fit into the budget. */
static bool choose_rows(struct decoder *d, const struct decoder_options *o, size_t others,
                        size_t times)
{
    size_t least = size_max(DELTA_CHUNK, decoder_whole_chunks(d->max_rows));
    size_t left = budget_left(&d->e->budget);
    d->rows = o->piece_tokens ? decoder_whole_chunks(o->piece_tokens) : LONGEST_PIECE;
    for (d->rows = size_max(d->rows, least); d->rows > least;
         d->rows = size_max(least, d->rows / 2 / DELTA_CHUNK * DELTA_CHUNK))
        if (size_total(others, times * arena_bytes(d, d->rows)) <= left)
            break;
    return size_total(others, arena_bytes(d, d->rows)) <= left;
}

/* Not all weights fit: buffers get a quarter of the room beside the weights that are in use at
 * once; the rest is for those that are used most. */
static bool keep_some(struct decoder *d, const struct decoder_options *o, struct error *err)
{
    const struct budget *budget = &d->e->budget;
    size_t experts = size_max(2, d->max_rows * d->cm.config->num_experts_per_tok);
    size_t most = decoder_weights_least(&d->weights, experts, LONGEST_PIECE);
    choose_rows(d, o, size_total(o->other_bytes, most), 4);
    size_t others = size_total(o->other_bytes, arena_bytes(d, d->rows));
    size_t least = decoder_weights_least(&d->weights, experts, d->rows);
    if (!budget_check(budget, size_total(others, least), err, "decoding"))
        return false;
    d->weight_bytes = budget_left(budget) - others;
    return decoder_weights_limit(&d->weights, d->weight_bytes, experts, d->rows, err);
}

static bool choose_memory(struct decoder *d, const struct decoder_options *o, struct error *err)
{
    const struct budget *budget = &d->e->budget;
    size_t others = size_total(o->other_bytes, o->count_weights ? d->e->parts.bytes : 0);
    d->weight_bytes = d->e->parts.bytes;
    if (choose_rows(d, o, others, 1))
        return true;
    if (o->count_weights)
        return keep_some(d, o, err);
    return budget_check(budget, size_total(others, arena_bytes(d, d->rows)), err, "decoding");
}

struct decoder *decoder_open(const struct engine *e, const struct decoder_options *options,
                             struct error *err)
{
    struct decoder *d = mem_array(1, sizeof *d, "the decoder", err);
    if (!d)
        return NULL;
    assert(options->max_sequences > 0);
    *d = (struct decoder){ .e = e, .cm = engine_compute(e),
                           .max_sequences = options->max_sequences,
                           .max_rows = size_max(options->max_rows, options->max_sequences),
                           .observer = options->observer, .stop = options->stop,
                           .user = options->user };
    if (decoder_weights_open(&d->weights, e, options->shares_vocabulary, err)
        && choose_memory(d, options, err)
        && arena_reserve(&d->arena, arena_bytes(d, d->rows), err)) {
        d->b = step_take(&d->arena, d, d->rows);
        return d;
    }
    decoder_close(d);
    return NULL;
}

void decoder_close(struct decoder *d)
{
    if (!d)
        return;
    decoder_weights_close(&d->weights);
    arena_free(&d->arena);
    free(d);
}

size_t decoder_bytes(const struct decoder *d)
{
    return d->arena.size;
}

size_t decoder_weight_bytes(const struct decoder *d)
{
    return d->weight_bytes;
}

size_t decoder_bytes_read(const struct decoder *d)
{
    return d->weights.kept ? kept_weights_bytes_read(d->weights.kept) : 0;
}

size_t decoder_piece_tokens(const struct decoder *d)
{
    return d->rows;
}

/* ---- layers ----------------------------------------------------------------- */

/* A step is short: what is asked is whether to stop. */
static bool report(void *user, double share)
{
    const struct decoder *d = user;
    const struct progress *p = &d->e->progress;
    (void)share;
    if (d->stop && d->stop(d->user))
        return false;
    return !p->report || p->report(p->user, d->stage, (double)d->done, (double)d->total, "tokens");
}

static bool run_step(struct decoder *d, const struct layer_task *task,
                     bool (*run)(const struct compute *, const struct layer_task *,
                                 struct layer_buffers *, struct error *), struct error *err)
{
    size_t mark = d->arena.used;
    const struct layer_shape shape = layer_shape_of(task);
    struct layer_buffers buffers = layer_buffers_take(&d->arena, &d->cm, &shape);
    bool ok = run(&d->cm, task, &buffers, err);
    d->arena.used = mark;
    return ok;
}

/* The last layer changes the wanted rows only, the last ones of its one window, which move to the
 * front. */
static void keep_wanted(const struct decoder *d, struct batch *b, size_t wanted)
{
    size_t D = d->cm.config->hidden_size;
    memmove(d->b.x, d->b.x + (b->n_tokens - wanted) * D, wanted * D * sizeof *d->b.x);
    d->b.skipped[0] += b->n_tokens - wanted;
    d->b.start[1] = b->n_tokens = b->longest = wanted;
    b->output_rows = NULL;
}

static bool run_layer(struct decoder *d, struct batch *b, struct sequence_state *const *states,
                      size_t wanted, struct error *err)
{
    const struct engine *e = d->e;
    const struct weight_feed feed = decoder_weights_feed(&d->weights);
    size_t rows_done = 0, layer = d->weights.layer;
    const size_t output_rows[] = { 0, wanted };
    bool fewer = layer + 1 == d->cm.config->num_hidden_layers && wanted < b->n_tokens;
    for (size_t i = 0; i < b->n_windows; i++) {
        d->b.attention[i] = &states[i]->attention[layer];
        d->b.delta_net[i] = &states[i]->delta_net[layer];
    }
    if (fewer)
        b->output_rows = output_rows;
    struct layer_task task = {
        .index = layer, .type = d->cm.config->layer_types[layer], .weights = &e->w->layers[layer],
        .batch = *b, .x = d->b.x, .routing = d->b.routing, .tile_tokens = d->rows,
        .attention_states = d->b.attention, .delta_net_states = d->b.delta_net,
        .feed = &feed, .first_part = e->parts.layer[layer], .progress = { report, d },
        .rows_done = &rows_done,
    };
    if (!run_step(d, &task, layer_mixer, err))
        return false;
    if (fewer)
        keep_wanted(d, b, wanted);
    task.batch = *b;
    rows_done = 0;
    return b->n_tokens == 0 || run_step(d, &task, layer_mlp, err);
}

static void last_norm(struct decoder *d, size_t n)
{
    size_t mark = d->arena.used;
    const struct head_logits_buffers b =
        head_logits_buffers_take(&d->arena, &d->cm, &d->e->w->lm_head);
    head_norm(&d->cm, &b, d->b.x, d->b.x, n, &d->e->w->norm);
    d->arena.used = mark;
}

/* Rows of each window, in d->b.start, through all layers and the last norm.  Leaves the last
 * `wanted` rows in d->b.x: all, or, of one window, fewer. */
static bool run_layers(struct decoder *d, const int32_t *ids, size_t n_windows,
                       struct sequence_state *const *states, size_t wanted, struct error *err)
{
    struct batch b = { .n_windows = n_windows, .n_tokens = d->b.start[n_windows],
                       .start = d->b.start, .skipped = d->b.skipped };
    for (size_t i = 0; i < n_windows; i++) {
        d->b.skipped[i] = states[i]->n_past;
        b.longest = size_max(b.longest, b.start[i + 1] - b.start[i]);
    }
    bool ok = decoder_weights_begin(&d->weights, err);
    if (ok)
        embedding_rows(&d->cm, d->b.x, &d->e->w->embed_tokens, ids, b.n_tokens);
    decoder_weights_embedded(&d->weights);
    for (size_t i = 0; ok && i < n_windows; i++)
        states[i]->n_past += b.start[i + 1] - b.start[i];
    size_t *layer = &d->weights.layer;
    for (*layer = 0; ok && *layer < d->cm.config->num_hidden_layers; ++*layer)
        ok = run_layer(d, &b, states, wanted, err);
    if (ok)
        last_norm(d, wanted);
    return ok;
}

/* d->b.logits of rows [row, row + n) that run_layers has left. */
static void logits_of(struct decoder *d, size_t row, size_t n)
{
    size_t mark = d->arena.used;
    const struct matrix *lm_head = &d->e->w->lm_head;
    const struct head_logits_buffers b = head_logits_buffers_take(&d->arena, &d->cm, lm_head);
    head_logits(&d->cm, &b, d->b.logits, d->b.x + row * d->cm.config->hidden_size, n, lm_head);
    d->arena.used = mark;
}

/* ---- the two kinds of work --------------------------------------------------- */

static bool check_room(const struct decoder *d, const struct sequence_state *s,
                       const int32_t *ids, size_t n, struct error *err)
{
    if (n > s->capacity - s->n_past)
        return error_set(err, "%zu tokens after %zu, where a sequence holds %zu", n, s->n_past,
                         s->capacity);
    return engine_check_input(d->e, ids, n, NULL, 0, err);
}

/* Logits of n rows that a piece has left from `at` on, to the sink. */
static bool give_logits(struct decoder *d, const struct decoder_sink *sink, size_t at, size_t row,
                        size_t n, struct error *err)
{
    if (n && !decoder_weights_need_head(&d->weights, err))
        return false;
    for (size_t i = 0, some; i < n; i += some) {
        some = size_min(n - i, d->max_rows);
        logits_of(d, at + i, some);
        if (!sink->consume(sink->user, row + i, some, d->b.logits, err))
            return false;
    }
    if (n)
        decoder_weights_head_done(&d->weights);
    return true;
}

bool decoder_prefill(struct decoder *d, struct sequence_state *s, const int32_t *ids, size_t n,
                     size_t first, const struct decoder_sink *sink, struct error *err)
{
    if (!check_room(d, s, ids, n, err) || !sequence_state_reserve(s, n, err))
        return false;
    const struct decoder_observer *o = &d->observer;
    d->stage = "prompt";
    d->total = n;
    d->cm.few_rows = false;
    for (size_t row = 0, rows; row < n; row += rows) {
        /* What another prefill or steps have left of a chunk comes first. */
        rows = size_min(n - row, d->rows - s->n_past % DELTA_CHUNK);
        size_t end = row + rows, wanted = end - size_min(end, size_max(first, row));
        size_t left = o->prefilled ? rows : wanted;
        d->done = row;
        d->b.start[0] = 0;
        d->b.start[1] = rows;
        if (!run_layers(d, ids + row, 1, &s, left, err)
            || (o->prefilled && !o->prefilled(o->user, s, ids + row, d->b.x, rows, err))
            || !give_logits(d, sink, left - wanted, end - wanted, wanted, err))
            return false;
    }
    return true;
}

bool decoder_step_rows(struct decoder *d, const struct decoder_rows *rows, size_t n_sequences,
                       float **logits, const float **hidden, struct error *err)
{
    size_t n = 0;
    assert(n_sequences > 0 && n_sequences <= d->max_sequences);
    d->stage = "answer";
    d->done = d->total = 0;
    d->cm.few_rows = true;
    d->b.start[0] = 0;
    for (size_t i = 0; i < n_sequences; i++) {
        assert(rows[i].n > 0 && rows[i].n <= d->max_rows - n);
        if (!check_room(d, rows[i].state, rows[i].ids, rows[i].n, err)
            || !sequence_state_reserve(rows[i].state, rows[i].n, err))
            return false;
        memcpy(d->b.ids + n, rows[i].ids, rows[i].n * sizeof *d->b.ids);
        d->b.states[i] = rows[i].state;
        d->b.start[i + 1] = n += rows[i].n;
    }
    if (!run_layers(d, d->b.ids, n_sequences, d->b.states, n, err)
        || !decoder_weights_need_head(&d->weights, err))
        return false;
    logits_of(d, 0, n);
    decoder_weights_head_done(&d->weights);
    *logits = d->b.logits;
    if (hidden)
        *hidden = d->b.x;
    return true;
}
