#include "model/layer.h"

#include <string.h>

#include "base/bf16.h"
#include "model/mlp.h"
#include "model/norm.h"

/* ---- buffers --------------------------------------------------------------- */

struct layer_shape layer_shape_of(const struct layer_task *task)
{
    const struct batch *b = &task->batch;
    bool continues = task->type == FULL_ATTENTION ? task->attention_states != NULL
                                                  : task->delta_net_states != NULL;
    struct layer_shape s = { .type = task->type, .n_tokens = b->n_tokens,
                             .mlp_rows = size_min(b->n_tokens, task->tile_tokens) };
    struct tile tile = { 0 };
    while (tile_next(&tile, b, task->tile_tokens)) {
        s.tile_rows = size_max(s.tile_rows, tile.n);
        s.tile_output_rows = size_max(s.tile_output_rows, tile.n_output_rows);
        if (tile.is_piece && !continues)
            s.piece_tokens = size_max(s.piece_tokens, tile.start[1] - tile.start[0]);
    }
    return s;
}

struct layer_shape layer_shape_bound(enum layer_type type, size_t n_tokens, size_t longest,
                                     size_t tile_tokens)
{
    size_t rows = size_min(n_tokens, tile_tokens);
    return (struct layer_shape){
        .type = type, .n_tokens = n_tokens, .tile_rows = rows, .tile_output_rows = rows,
        .piece_tokens = longest > tile_tokens ? size_min(longest, n_tokens) : 0, .mlp_rows = rows,
    };
}

static struct layer_mixer_buffers mixer_take(struct arena *a, const struct compute *cm,
                                             const struct layer_shape *s)
{
    size_t D = cm->config->hidden_size, states = s->piece_tokens > 0;
    struct layer_mixer_buffers b = {
        .norm = norm_buffer_take(a, cm->config),
        .h = arena_take(a, s->tile_rows, D * sizeof *b.h),
        .y = arena_take(a, s->tile_output_rows, D * sizeof *b.y),
    };
    if (s->type == FULL_ATTENTION) {
        /* The state of a window in pieces lies where whole windows of a tile have their keys: a
         * tile is one or the other. */
        b.attention = attention_buffers_take(a, cm, s->tile_rows, s->tile_output_rows,
                                             size_max(s->tile_rows, s->piece_tokens));
    } else {
        b.delta_net_memory = arena_take(a, states, delta_net_state_bytes(cm->config));
        b.delta_net = delta_net_buffers_take(a, cm, s->tile_rows, s->tile_output_rows);
    }
    return b;
}

static struct layer_mlp_buffers sparse_mlp_take(struct arena *a, const struct compute *cm,
                                                const struct layer_shape *s)
{
    size_t D = cm->config->hidden_size, stashed = cm->type == COMPUTE_BF16 ? s->n_tokens : 0;
    struct layer_mlp_buffers b = {
        .norm = norm_buffer_take(a, cm->config),
        .out = arena_take(a, s->n_tokens, D * sizeof *b.out),
        .shared = arena_take(a, stashed, D * sizeof *b.shared),
    };
    struct overlay o = overlay_begin(a);
    b.sparse_h = arena_take(a, s->mlp_rows, D * sizeof *b.sparse_h);
    b.moe = moe_buffers_take(a, cm, s->mlp_rows);
    overlay_next(&o, a);
    b.experts = experts_buffers_take(a, cm, s->n_tokens);
    overlay_end(&o, a);
    return b;
}

static struct layer_mlp_buffers dense_mlp_take(struct arena *a, const struct compute *cm,
                                               const struct layer_shape *s)
{
    size_t D = cm->config->hidden_size;
    return (struct layer_mlp_buffers){
        .norm = norm_buffer_take(a, cm->config),
        .h = arena_take(a, s->mlp_rows, D * sizeof(float)),
        .y = arena_take(a, s->mlp_rows, D * sizeof(float)),
        .mlp = mlp_buffers_take(a, cm, s->mlp_rows, cm->config->intermediate_size),
    };
}

struct layer_buffers layer_buffers_take(struct arena *a, const struct compute *cm,
                                        const struct layer_shape *s)
{
    struct layer_buffers b;
    struct overlay o = overlay_begin(a);
    b.mixer = mixer_take(a, cm, s);
    overlay_next(&o, a);
    b.mlp = (cm->config->num_experts ? sparse_mlp_take : dense_mlp_take)(a, cm, s);
    overlay_end(&o, a);
    return b;
}

/* ---- weights and progress --------------------------------------------------- */

static bool interrupted(const struct layer_task *task, struct error *err)
{
    err->interrupted = true;
    return error_set(err, "interrupted in layer %zu", task->index);
}

static bool report(const struct layer_task *task, double share, struct error *err)
{
    return !task->progress.report || task->progress.report(task->progress.user, share)
        || interrupted(task, err);
}

static bool need(const struct layer_task *task, size_t part, struct error *err)
{
    return task->feed->need(task->feed->user, task->first_part + part, err);
}

static void done(const struct layer_task *task, size_t part)
{
    task->feed->done(task->feed->user, task->first_part + part);
}

/* ---- the mixer -------------------------------------------------------------- */

/* A step, for nonfinite.h, and what is to blame for row `bad` of the stream; NULL: the step. */
struct blame {
    enum nonfinite_step step;
    void (*find)(const void *user, size_t bad, struct nonfinite *found);
    const void *user;
};

/* Row `bad` of the stream is not finite: an error, or its window becomes 0 and *next is the first
 * row after it. */
static bool not_finite(const struct compute *cm, const struct layer_task *task, size_t bad,
                       const struct blame *blame, size_t *next, struct error *err)
{
    const struct batch *b = &task->batch;
    struct nonfinite found = {
        .step = blame->step, .full_attention = task->type == FULL_ATTENTION, .layer = task->index,
    };
    size_t D = cm->config->hidden_size, window = batch_window(b, bad, &found.token);
    size_t begin = b->start[window], end = b->start[window + 1];
    if (blame->find)
        blame->find(blame->user, bad, &found);
    if (!task->nonfinite)
        return nonfinite_error(&found, b->first_window + window, err);
    if (task->nonfinite[window].step == NONFINITE_NONE)
        task->nonfinite[window] = found;
    memset(task->x + begin * D, 0, (end - begin) * D * sizeof *task->x);
    *next = end;
    return true;
}

/* Nothing went wrong in rows [row, row + n) of the stream. */
static bool check_rows(const struct compute *cm, const struct layer_task *task, size_t row,
                       size_t n, const struct blame *blame, struct error *err)
{
    size_t D = cm->config->hidden_size, end = row + n;
    while (row < end) {
        size_t bad = row + norm_first_not_finite(cm, task->x + row * D, end - row);
        if (bad == end)
            return true;
        if (!not_finite(cm, task, bad, blame, &row, err))
            return false;
    }
    return true;
}

/* x [row, row + n) += y, and the check. */
static bool add_and_check(const struct compute *cm, const struct layer_task *task, size_t row,
                          size_t n, const float *y, enum nonfinite_step step, struct error *err)
{
    norm_residual_add(cm, task->x + row * cm->config->hidden_size, y, n);
    return check_rows(cm, task, row, n, &(struct blame){ .step = step }, err);
}

/* The output rows of the tile += y [n_output_rows, D]. */
static bool add_tile(const struct compute *cm, const struct layer_task *task,
                     const struct tile *tile, const float *y, struct error *err)
{
    if (tile->n_output_rows == tile->n)
        return add_and_check(cm, task, tile->row, tile->n, y, NONFINITE_MIXER, err);
    bool ok = true;
    for (size_t w = 0; ok && w < tile->n_windows; w++) {
        const struct tile_window rows = tile_window(tile, w);
        ok = add_and_check(cm, task, tile->row + rows.first_output, rows.end - rows.first_output,
                           y + rows.out * cm->config->hidden_size, NONFINITE_MIXER, err);
    }
    return ok;
}

/* y = attention(h) of a tile. */
static void attention_tile(const struct compute *cm, const struct layer_task *task,
                           struct layer_mixer_buffers *b, const struct tile *tile)
{
    struct attention_state *own = &b->attention_state;
    struct attention_state *const *states = NULL;
    if (task->attention_states)
        states = task->attention_states + tile->window;
    else if (tile->is_piece) {
        states = &own;
        if (tile->row == tile->start[0])        /* the window begins */
            attention_state_init(own, cm->config, tile->start[1] - tile->row, b->attention.keys);
    }
    attention_forward(cm, &b->attention, b->y, b->h, &task->weights->attention, tile, states);
}

/* y = delta net(h) of a tile. */
static void delta_net_tile(const struct compute *cm, const struct layer_task *task,
                           struct layer_mixer_buffers *b, const struct tile *tile)
{
    struct delta_net_state *own = &b->delta_net_state;
    struct delta_net_state *const *states = NULL;
    if (task->delta_net_states)
        states = task->delta_net_states + tile->window;
    else if (tile->is_piece) {
        states = &own;
        if (tile->row == tile->start[0])
            delta_net_state_init(own, cm->config, b->delta_net_memory);
    }
    delta_net_forward(cm, &b->delta_net, b->y, b->h, &task->weights->delta_net, tile, states);
}

bool layer_mixer(const struct compute *cm, const struct layer_task *task, struct layer_buffers *all,
                 struct error *err)
{
    struct layer_mixer_buffers *b = &all->mixer;
    size_t D = cm->config->hidden_size, n_tokens = task->batch.n_tokens;
    if (!need(task, 0, err))
        return false;
    norm_weight(cm, b->norm, &task->weights->input_layernorm);
    struct tile tile = { .n = *task->rows_done };       /* resumes after these */
    bool ok = true;
    while (ok && tile_next(&tile, &task->batch, task->tile_tokens)) {
        size_t end = tile.row + tile.n;
        norm_rows(cm, b->h, task->x + tile.row * D, tile.n, b->norm);
        (task->type == FULL_ATTENTION ? attention_tile : delta_net_tile)(cm, task, b, &tile);
        bool inside = tile.is_piece && end < tile.start[1];
        *task->rows_done = inside ? LAYER_STOPPED_INSIDE_WINDOW : end;
        ok = add_tile(cm, task, &tile, b->y, err)
          && report(task, (double)end / (double)n_tokens, err);
    }
    return ok;
}

/* ---- the MLP ---------------------------------------------------------------- */

static bool expert_begin(void *user, size_t expert, struct error *err)
{
    return need(user, 1 + expert, err);
}

static bool expert_end(void *user, size_t expert, size_t num_experts, struct error *err)
{
    const struct layer_task *task = user;
    double share = (double)(expert + 1) / (double)num_experts;
    done(task, 1 + expert);
    return report(task, share, err);
}

/* BF16 compute rounds the sum of the routed experts before it adds the shared expert, whose output
 * is kept aside in BF16; out is zero for the experts. */
static void stash_shared(const struct compute *cm, uint16_t *stash, float *out, size_t n)
{
    size_t D = cm->config->hidden_size;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++) {
        compute_rows(cm)->to_bf16(stash + t * D, out + t * D, D);
        memset(out + t * D, 0, D * sizeof *out);
    }
}

static void add_shared(const struct compute *cm, float *out, const uint16_t *stash, size_t n)
{
    size_t D = cm->config->hidden_size;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++) {
        compute_rows(cm)->round(out + t * D, D);
        for (size_t i = 0; i < D; i++)
            out[t * D + i] += bf16_value(stash[t * D + i]);
        compute_rows(cm)->round(out + t * D, D);
    }
}

/* What made rows of a mixture of experts not finite. */
struct culprits {
    const struct compute *cm;
    const struct layer_task *task;
    const int32_t *bad_slot;
    size_t shared_bad;                  /* the first such row of the shared expert */
};

static void blame_expert(const void *user, size_t bad, struct nonfinite *found)
{
    const struct culprits *u = user;
    const struct routing *r = &u->task->routing;
    size_t k = u->cm->config->num_experts_per_tok, slot = (size_t)u->bad_slot[bad];
    if (u->shared_bad == bad)
        found->part = NONFINITE_SHARED_EXPERT;
    else if (slot < k) {
        found->part = NONFINITE_EXPERT;
        found->expert = r->expert[bad * k + slot];
    } else if (!compute_rows(u->cm)->all_finite(r->weight + bad * k, k))
        found->part = NONFINITE_ROUTER;
}

static bool sparse_mlp(const struct compute *cm, const struct layer_task *task,
                       const struct layer_mlp_buffers *b, struct error *err)
{
    const struct layer_weights *w = task->weights;
    size_t D = cm->config->hidden_size, n = task->batch.n_tokens;
    bool bf16 = cm->type == COMPUTE_BF16;
    struct routing routing = task->routing;
    norm_weight(cm, b->norm, &w->post_attention_layernorm);
    for (size_t row = 0; row < n; row += task->tile_tokens) {
        size_t rows = size_min(n - row, task->tile_tokens);
        norm_rows(cm, b->sparse_h, task->x + row * D, rows, b->norm);
        moe_route_and_shared_expert(cm, &b->moe, b->out + row * D, b->sparse_h, rows, w, &routing,
                                    row);
    }
    done(task, 0);
    size_t shared_bad = norm_first_not_finite(cm, b->out, n);
    if (bf16)
        stash_shared(cm, b->shared, b->out, n);
    const struct expert_callbacks callbacks = { expert_begin, expert_end, (void *)(uintptr_t)task };
    if (!experts_forward(cm, &b->experts, b->out, task->x, b->norm, n, w, &routing, &callbacks,
                         err))
        return false;
    if (bf16)
        add_shared(cm, b->out, b->shared, n);
    norm_residual_add(cm, task->x, b->out, n);
    const struct culprits culprits = { cm, task, b->experts.bad_slot, shared_bad };
    return check_rows(cm, task, 0, n, &(struct blame){ NONFINITE_MLP, blame_expert, &culprits },
                      err);
}

static bool dense_mlp(const struct compute *cm, const struct layer_task *task,
                      const struct layer_mlp_buffers *b, struct error *err)
{
    const struct layer_weights *w = task->weights;
    size_t D = cm->config->hidden_size, n = task->batch.n_tokens;
    norm_weight(cm, b->norm, &w->post_attention_layernorm);
    done(task, 0);
    bool ok = need(task, 1, err);
    for (size_t row = *task->rows_done; ok && row < n; row += task->tile_tokens) {
        size_t rows = size_min(n - row, task->tile_tokens);
        norm_rows(cm, b->h, task->x + row * D, rows, b->norm);
        mlp_forward(cm, &b->mlp, b->y, b->h, rows, &w->mlp);
        *task->rows_done = row + rows;
        ok = add_and_check(cm, task, row, rows, b->y, NONFINITE_MLP, err)
          && report(task, (double)(row + rows) / (double)n, err);
    }
    if (ok)
        done(task, 1);
    return ok;
}

bool layer_mlp(const struct compute *cm, const struct layer_task *task, struct layer_buffers *b,
               struct error *err)
{
    return (cm->config->num_experts ? sparse_mlp : dense_mlp)(cm, task, &b->mlp, err);
}
