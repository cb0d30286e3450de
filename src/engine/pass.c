#include "engine/pass.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/format.h"
#include "base/machine.h"
#include "engine/cost.h"
#include "model/embedding.h"
#include "model/layer.h"
#include "model/norm.h"
#include "model/vocabulary.h"

struct compute engine_compute(const struct engine *e)
{
    return (struct compute){ .config = &e->ck->config, .kernels = e->kernels, .type = e->compute,
                             .n_threads = e->n_threads };
}

void pass_close(struct pass *p)
{
    stream_close(p->stream);
}

bool engine_plan(struct plan *plan, size_t *least_bytes, const struct engine *e,
                 const struct engine_window *windows, size_t n_windows, size_t n_drafts,
                 struct error *err)
{
    const struct compute cm = engine_compute(e);
    const struct plan_task task = { &cm, e->w, &e->parts, windows, n_windows, 1, n_drafts,
                                    n_drafts ? &e->draft_parts : NULL };
    size_t longest = 0, least = plan_least_bytes(&task);
    if (least_bytes)
        *least_bytes = budget_needed(&e->budget, least);
    for (size_t i = 0; i < n_windows; i++)
        longest = size_max(longest, plan_window_tokens(&windows[i]));
    if (!budget_check(&e->budget, least, err, n_drafts ? "a window of %zu tokens, with drafts,"
                                                       : "a window of %zu tokens", longest))
        return false;
    plan_make(plan, &task, budget_left(&e->budget));
    return true;
}

/* ---- weights --------------------------------------------------------------- */

static bool need_part(void *user, size_t part, struct error *err)
{
    struct pass *p = user;
    const struct engine *e = p->e;
    size_t layer = p->at.layer, first = e->parts.layer[layer];
    if (!stream_need(p->stream, part, err))
        return false;
    if (part == 0 || part == first)             /* embedding and head are checked together */
        return weights_check_scales(e->ck, e->w, part ? layer : e->w->n_layers, err);
    return part < first || layer == e->w->n_layers || !e->w->layers[layer].experts
        || weights_check_expert(e->ck, e->w, layer, part - first - 1, err);
}

static void part_done(void *user, size_t part)
{
    struct pass *p = user;
    stream_done(p->stream, part);
}

/* In the reading thread. */
static bool hash_bytes(void *user, const uint8_t *data, size_t n, struct error *err)
{
    return weights_hash_add(user, data, n, err);
}

static bool open_stream(struct pass *p, const struct plan *plan, struct error *err)
{
    const struct weight_schedule *parts = &p->e->parts;
    struct stream_options options = { .ahead_bytes = plan->ahead_bytes, .evict = p->e->evict,
                                      .seen = p->job->hash ? hash_bytes : NULL,
                                      .user = p->job->hash };
    p->feed = (struct weight_feed){ need_part, part_done, p };
    bool beginning = p->at.layer == 0 && !p->at.mixer_done && !p->at.x;
    p->stream = stream_open(&parts->list, beginning ? 0 : parts->layer[p->at.layer], &options, err);
    return p->stream != NULL;
}

/* ---- the batch --------------------------------------------------------------- */

static size_t scored_in(const struct engine_window *w)
{
    return w->end - w->first;
}

struct engine_window *pass_windows_without_targets(const struct engine_window *windows, size_t n,
                                                   size_t times, struct error *err)
{
    struct engine_window *list = mem_array(n, times * sizeof *list, "the windows of a pass", err);
    for (size_t i = 0; list && i < times * n; i++) {
        list[i] = windows[i / times];
        list[i].first = list[i].end;
    }
    return list;
}

/* The rows of each window: all, or those that predict a scored target, its last ones. */
static void set_batch(struct pass *p, bool scored_only)
{
    struct batch *b = &p->batch;
    *b = (struct batch){ .n_windows = p->at.n_windows, .start = p->start, .skipped = p->skipped,
                         .first_window = p->at.first_window };
    p->start[0] = p->scored[0] = 0;
    for (size_t i = 0; i < b->n_windows; i++) {
        const struct engine_window *w = &p->job->windows[b->first_window + i];
        size_t tokens = plan_window_tokens(w), rows = scored_only ? scored_in(w) : tokens;
        p->skipped[i] = tokens - rows;
        p->start[i + 1] = p->start[i] + rows;
        p->scored[i + 1] = p->scored[i] + scored_in(w);
        b->longest = size_max(rows, b->longest);
    }
    b->n_tokens = p->start[b->n_windows];
    p->at.n_rows = b->n_tokens;
}

/* The last layer's mixer only changes scored rows, and only they are needed after it: moves them
 * together. */
static void drop_unscored(struct pass *p)
{
    size_t D = p->e->ck->config.hidden_size, from = 0, to = 0;
    for (size_t i = 0; i < p->at.n_windows; i++) {
        const struct engine_window *w = &p->job->windows[p->at.first_window + i];
        size_t tokens = plan_window_tokens(w), rows = scored_in(w);
        memmove(p->x + to * D, p->x + (from + tokens - rows) * D, rows * D * sizeof *p->x);
        from += tokens;
        to += rows;
    }
    set_batch(p, true);
}

/* ---- opening ------------------------------------------------------------------ */

static struct layer_cost layer_cost(const struct pass *p, size_t layer)
{
    double scored = (double)p->scored[p->at.n_windows];
    return cost_layer(&p->e->ck->config, layer, p->tokens, p->keep_all ? p->tokens : scored);
}

static void set_cost(struct pass *p)
{
    const struct config *c = &p->e->ck->config;
    double scored = (double)p->scored[p->at.n_windows];
    p->flop = cost_head_flop(c) * scored
            + (double)p->job->drafts.n_drafts * cost_draft_flop(c, p->tokens, scored);
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        const struct layer_cost cost = layer_cost(p, i);
        p->flop += cost.mixer + cost.mlp;
        p->flop_done += i < p->at.layer ? cost.mixer + cost.mlp : 0;
    }
}

/* The ids whose rows are in a tile of the vocabulary get their embeddings. */
static void embed_tile(struct pass *p, size_t first, size_t n_rows)
{
    size_t D = p->e->ck->config.hidden_size;
#pragma omp parallel num_threads(p->cm.n_threads)
    for (size_t w = 0; w < p->batch.n_windows; w++)
        embedding_tile(&p->cm, p->x + p->start[w] * D, &p->e->w->embed_tokens,
                       p->job->ids + p->job->windows[p->at.first_window + w].begin,
                       p->start[w + 1] - p->start[w], first, n_rows);
}

static bool embed(struct pass *p, struct error *err)
{
    size_t V = p->e->w->embed_tokens.rows, part = 0;
    for (size_t first = 0; first < V; first += VOCABULARY_TILE, part++) {
        if (!need_part(p, part, err))
            return false;
        embed_tile(p, first, size_min(VOCABULARY_TILE, V - first));
        part_done(p, part);
        if (!pass_report(p, 0)) {
            err->interrupted = true;
            return error_set(err, "interrupted before the first layer");
        }
    }
    return true;
}

static void copy_rows(float *x, const struct engine_state *at, size_t D)
{
    enum { ROWS = 1024 };
    for (size_t row = 0; row < at->n_rows; row += ROWS) {
        const float *from = at->x + row * D;
        size_t bytes = size_min(ROWS, at->n_rows - row) * D * sizeof *x;
        memcpy(x + row * D, from, bytes);
        if (at->file)
            file_release(at->file, (size_t)((const uint8_t *)from - at->file->data), bytes, false);
    }
}

/* The stream as the state has it, or from the embedding. */
static bool fill(struct pass *p, const struct engine_state *at, struct error *err)
{
    size_t L = p->e->ck->config.num_hidden_layers;
    p->not_resumable = true;                    /* until there is something to go on from */
    if (!at->x) {
        if (!embed(p, err))
            return false;
    } else {
        if (at->layer == L || (at->layer + 1 == L && at->mixer_done))
            set_batch(p, true);
        assert(at->n_rows == p->batch.n_tokens);    /* engine.c has checked the state */
        copy_rows(p->x, at, p->e->ck->config.hidden_size);
    }
    p->at.x = p->x;
    p->at.file = NULL;
    p->not_resumable = false;
    return true;
}

/* The block for all that the pass holds; buffers of its steps come after what is taken here. */
static bool take_memory(struct pass *p, const struct plan *plan, struct error *err)
{
    const struct engine *e = p->e;
    size_t n_windows = p->at.n_windows;
    size_t n_tokens = plan_tokens(p->job->windows + p->at.first_window, n_windows);
    if (!arena_reserve(p->arena, plan_arena_bytes(&p->cm, e->w, plan, n_tokens, n_windows), err))
        return false;
    const struct pass_buffers b =
        plan_pass_buffers_take(p->arena, &e->ck->config, n_tokens, n_windows);
    p->start = b.start;
    p->skipped = b.skipped;
    p->scored = b.scored;
    p->x = b.x;
    p->routing = b.routing;
    return true;
}

/* Less than some milliseconds of one thread.  A layer has dozens of places where threads wait for
 * each other: among other work on the machine that costs ten times as much as it saves.  Results
 * are the same with any number of threads. */
static bool is_small(const struct engine *e, const struct engine_job *job,
                     const struct engine_state *at)
{
    const double most_flop = 2e8;
    const size_t most_bytes = (size_t)32 << 20;
    const struct config *c = &e->ck->config;
    double n = (double)plan_tokens(job->windows + at->first_window, at->n_windows);
    return cost_layers_flop(c, n, n) + n * cost_head_flop(c) < most_flop
        && e->parts.bytes < most_bytes;
}

bool pass_open(struct pass *p, const struct engine *e, const struct plan *plan, struct arena *arena,
               const struct engine_job *job, const struct engine_state *at, struct error *err)
{
    *p = (struct pass){ .e = e, .job = job, .at = *at, .arena = arena,
                        .tile_tokens = plan->tile_tokens, .keep_all = plan->keep_all,
                        .ahead_bytes = plan->ahead_bytes,
                        .started = machine_seconds(),
                        .nonfinite = job->nonfinite ? job->nonfinite + at->first_window : NULL,
                        .bytes_before = at->statistics.bytes_read,
                        .done_before = (double)at->statistics.model_tokens,
                        .all_tokens = (double)plan_tokens(job->windows, job->n_windows) };
    p->cm = engine_compute(e);
    if (is_small(e, job, at))
        p->cm.n_threads = 1;
    if (take_memory(p, plan, err)) {
        set_batch(p, false);
        p->tokens = (double)p->batch.n_tokens;
        set_cost(p);
        if (open_stream(p, plan, err) && fill(p, at, err))
            return true;
    }
    pass_close(p);
    return false;
}

/* ---- layers ---------------------------------------------------------------------- */

bool pass_report(void *pass, double share)
{
    const struct pass *p = pass;
    const struct progress *progress = &p->e->progress;
    size_t L = p->e->ck->config.num_hidden_layers;
    char stage[64];
    if (!progress->report)
        return true;
    double seconds = machine_seconds() - p->started;
    int n = !p->at.x        ? snprintf(stage, sizeof stage, "embedding")
          : p->at.layer < L ? snprintf(stage, sizeof stage, "layer %zu of %zu", p->at.layer + 1, L)
          : p->draft        ? snprintf(stage, sizeof stage, "draft %zu of %zu", p->draft,
                                       p->job->drafts.n_drafts)
                            : snprintf(stage, sizeof stage, "head");
    if (seconds > 0.5)
        format_text(stage + n, sizeof stage - (size_t)n, ", %.0f MB/s",
                    (double)stream_bytes(p->stream) / seconds / 1e6);
    double of_pass = (p->flop_done + share * p->step_flop) / p->flop;
    double done = p->done_before + of_pass * p->tokens;
    return progress->report(progress->user, stage, done, p->all_tokens, "tokens");
}

bool pass_offer(struct pass *p, bool now, struct error *err)
{
    const struct engine_saver *saver = &p->job->saver;
    if (!saver->offer || p->not_resumable)
        return true;
    p->at.statistics.bytes_read = p->bytes_before + stream_bytes(p->stream);
    return saver->offer(saver->user, &p->at, now, err);
}

/* One of a layer's two steps. */
static bool step(struct pass *p,
                 bool (*run)(const struct compute *, const struct layer_task *,
                             struct layer_buffers *, struct error *),
                 double flop, struct error *err)
{
    const struct engine *e = p->e;
    size_t layer = p->at.layer, rows_done = p->at.rows_done, mark = p->arena->used;
    struct layer_task task = {
        .index = layer, .type = e->ck->config.layer_types[layer], .weights = &e->w->layers[layer],
        .batch = p->batch, .x = p->x, .routing = p->routing, .tile_tokens = p->tile_tokens,
        .feed = &p->feed, .first_part = e->parts.layer[layer], .progress = { pass_report, p },
        .nonfinite = p->nonfinite, .rows_done = &rows_done,
    };
    const struct layer_shape shape = layer_shape_of(&task);
    struct layer_buffers buffers = layer_buffers_take(p->arena, &p->cm, &shape);
    p->step_flop = flop;
    bool ok = run(&p->cm, &task, &buffers, err);
    p->arena->used = mark;
    p->not_resumable = rows_done == LAYER_STOPPED_INSIDE_WINDOW;
    p->at.rows_done = ok || p->not_resumable ? 0 : rows_done;
    if (ok) {
        p->flop_done += p->step_flop;
        p->step_flop = 0;
    }
    return ok;
}

bool pass_is_empty(const struct pass *p)
{
    size_t w = 0;
    while (p->nonfinite && w < p->batch.n_windows
           && (p->nonfinite[w].step != NONFINITE_NONE || p->scored[w] == p->scored[w + 1]))
        w++;
    return p->nonfinite && w == p->batch.n_windows;
}

void pass_drop_layers(struct pass *p)
{
    set_batch(p, true);
    p->at.layer = p->e->ck->config.num_hidden_layers;
    p->at.mixer_done = false;
}

/* In place. */
static void final_norm(struct pass *p)
{
    size_t mark = p->arena->used;
    float *norm = norm_buffer_take(p->arena, p->cm.config);
    norm_weight(&p->cm, norm, &p->e->w->norm);
    norm_rows(&p->cm, p->x, p->x, p->batch.n_tokens, norm);
    p->arena->used = mark;
}

void pass_finish_all(struct pass *p, float *hidden)
{
    final_norm(p);
    memcpy(hidden, p->x, p->batch.n_tokens * p->e->ck->config.hidden_size * sizeof *hidden);
    drop_unscored(p);
}

bool pass_layer(struct pass *p, struct error *err)
{
    const struct engine *e = p->e;
    const struct config *c = &e->ck->config;
    size_t layer = p->at.layer;
    const struct layer_cost cost = layer_cost(p, layer);
    bool last = layer + 1 == c->num_hidden_layers && !p->keep_all;
    if (!p->at.mixer_done) {
        if (last)
            p->batch.output_rows = p->scored;
        if (!step(p, layer_mixer, cost.mixer, err))
            return false;
        p->at.mixer_done = true;
        if (last)
            drop_unscored(p);
        if (!pass_offer(p, false, err))
            return false;
    } else if (!need_part(p, e->parts.layer[layer], err))
        return false;
    if (!step(p, layer_mlp, cost.mlp, err))
        return false;
    p->at.mixer_done = false;
    p->at.layer++;
    if (p->at.layer == c->num_hidden_layers && !p->keep_all)
        final_norm(p);
    return pass_offer(p, false, err);
}
