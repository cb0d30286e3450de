#include "engine/step_sample.h"

#include <math.h>
#include <string.h>

#include "base/machine.h"
#include "engine/cost.h"
#include "kernels/ggml_blocks.h"
#include "kernels/stored.h"
#include "model/layer.h"

struct sample {
    const struct engine *e;
    enum step_kind kind;
    size_t layer;                   /* the first of its kind */
    struct config config;           /* the engine's, with less in a step; owns nothing */
    struct compute cm;
    struct layer_weights weights;   /* views; owns nothing */
    struct matrix head;
    size_t rows, past;              /* of each thread */
    size_t window, n_windows;
    /* In an arena: */
    size_t *start;
    float *x;
    int32_t *targets;
    struct head_score *scores;
    struct head_buffers head_buffers;
    struct layer_buffers buffers;
    struct routing routing;
    struct nonfinite *nonfinite;
    struct attention_state *states, **state_list;
};

/* ---- less of a step ------------------------------------------------------------------ */

static double weights_of(const struct sample *s)
{
    const struct layer_cost cost = cost_layer(&s->config, s->layer, 1, 1);
    return (s->kind == STEP_HEAD  ? cost_head_flop(&s->config)
            : s->kind == STEP_MLP ? cost.mlp
                                  : cost.mixer) / 2;
}

/* Halves *n heads or features of `size` columns, if whole blocks of any format stay. */
static bool halve(size_t *n, size_t size)
{
    if (*n % 2 != 0 || *n / 2 * size % GGML_BLOCK_MOST != 0)
        return false;
    *n /= 2;
    return true;
}

/* False if it cannot get smaller. */
static bool lessen(struct sample *s)
{
    struct config *c = &s->config;
    switch (s->kind) {
    case STEP_DELTA_NET:
        return c->linear_num_key_heads % 2 == 0
            && halve(&c->linear_num_value_heads, c->linear_value_head_dim)
            && halve(&c->linear_num_key_heads, GGML_BLOCK_MOST);
    case STEP_ATTENTION:
        return (c->num_key_value_heads % 2 == 0 || c->num_key_value_heads == 1)
            && c->num_attention_heads > 1 && halve(&c->num_attention_heads, c->head_dim)
            && (c->num_key_value_heads == 1
                || halve(&c->num_key_value_heads, GGML_BLOCK_MOST));
    case STEP_MLP:
        if (!c->num_experts)
            return halve(&c->intermediate_size, 1);
        if (c->num_experts_per_tok == 1)
            return false;
        c->num_experts_per_tok /= 2;
        c->num_experts = c->num_experts_per_tok;        /* each row has all of them */
        return true;
    default:
        return halve(&c->vocab_size, 1);
    }
}

static void cut(struct matrix *w, size_t rows, size_t cols)
{
    w->rows = rows;
    w->cols = cols;
    w->row_order = w->col_order = NULL;
}

static void cut_mlp(struct mlp_weights *w, size_t D, size_t I)
{
    cut(&w->gate, I, D);
    cut(&w->up, I, D);
    cut(&w->down, D, I);
}

/* The views get the shapes of the lessened config. */
static void cut_weights(struct sample *s)
{
    const struct config *c = &s->config;
    struct attention_weights *a = &s->weights.attention;
    struct delta_net_weights *n = &s->weights.delta_net;
    size_t D = c->hidden_size, q = c->num_attention_heads * c->head_dim;
    size_t kv = c->num_key_value_heads * c->head_dim, HV = c->linear_num_value_heads;
    size_t value = HV * c->linear_value_head_dim;
    size_t channels = 2 * c->linear_num_key_heads * c->linear_key_head_dim + value;
    if (s->kind == STEP_HEAD)
        cut(&s->head, c->vocab_size, D);
    else if (s->kind == STEP_ATTENTION) {
        cut(&a->q_proj, 2 * q, D);
        cut(&a->k_proj, kv, D);
        cut(&a->v_proj, kv, D);
        cut(&a->o_proj, D, q);
    } else if (s->kind == STEP_DELTA_NET) {
        cut(&n->in_proj_qkv, channels, D);
        cut(&n->in_proj_z, value, D);
        cut(&n->in_proj_a, HV, D);
        cut(&n->in_proj_b, HV, D);
        cut(&n->conv1d, channels, c->linear_conv_kernel_dim);
        cut(&n->A_log, 1, HV);
        cut(&n->dt_bias, 1, HV);
        cut(&n->out_proj, D, value);
    } else if (c->num_experts)
        s->weights.router.rows = c->num_experts;
    else
        cut_mlp(&s->weights.mlp, D, c->intermediate_size);
}

/* False if the model has no such step. */
static bool choose(struct sample *s, const struct engine *e, enum step_kind kind, double weights)
{
    const struct config *c = &e->ck->config;
    *s = (struct sample){ .e = e, .kind = kind, .config = *c, .cm = engine_compute(e),
                          .head = e->w->lm_head };
    s->cm.config = &s->config;
    enum layer_type type = kind == STEP_ATTENTION ? FULL_ATTENTION : LINEAR_ATTENTION;
    bool is_mixer = kind == STEP_ATTENTION || kind == STEP_DELTA_NET;
    while (is_mixer && s->layer < c->num_hidden_layers && c->layer_types[s->layer] != type)
        s->layer++;
    if (s->layer == c->num_hidden_layers)
        return false;
    s->weights = e->w->layers[s->layer];
    s->config.num_experts = c->num_experts_per_tok;
    s->config.vocab_size = size_min(c->vocab_size, VOCABULARY_TILE);
    while (weights_of(s) > weights && lessen(s))
        ;
    cut_weights(s);
    return true;
}

double step_sample_flop(const struct engine *e, enum step_kind kind, double weights)
{
    struct sample s;
    return choose(&s, e, kind, weights) ? 2 * weights_of(&s) : 0;
}

/* ---- the step ------------------------------------------------------------------------ */

static bool need(void *user, size_t part, struct error *err)
{
    (void)user, (void)part, (void)err;
    return true;
}

static void done(void *user, size_t part)
{
    (void)user, (void)part;
}

static const struct weight_feed at_hand = { need, done, NULL };

static size_t n_rows(const struct sample *s)
{
    return s->rows * (size_t)s->cm.n_threads;
}

static void run(struct sample *s)
{
    struct error ignored = { 0 };
    size_t rows_done = 0, bad;
    for (size_t i = 0; s->past && i < s->n_windows; i++)
        s->states[i].n_past = s->past;
    const struct layer_task layer = {
        .index = s->layer, .type = s->config.layer_types[s->layer], .weights = &s->weights,
        .batch = { .n_windows = s->n_windows, .n_tokens = n_rows(s), .start = s->start,
                   .longest = s->window },
        .x = s->x, .routing = s->routing,
        .tile_tokens = (n_rows(s) / DELTA_CHUNK + 1) * DELTA_CHUNK,
        .attention_states = s->past ? s->state_list : NULL, .feed = &at_hand,
        .nonfinite = s->nonfinite, .rows_done = &rows_done,
    };
    const struct head_task head = { .hidden = s->x, .targets = s->targets, .scores = s->scores,
                                    .n = n_rows(s), .lm_head = &s->head, .feed = &at_hand };
    if (s->kind == STEP_HEAD)
        head_forward(&s->cm, &s->head_buffers, &head, &bad, &ignored);
    else
        (s->kind == STEP_MLP ? layer_mlp : layer_mixer)(&s->cm, &layer, &s->buffers, &ignored);
}

static void take(struct sample *s, struct arena *a)
{
    size_t windows = s->n_windows, n = n_rows(s), k = s->config.num_experts_per_tok;
    size_t state_tokens = s->past + s->window;
    size_t state_bytes = s->past ? attention_state_bytes(&s->config, state_tokens) : 0;
    const struct layer_shape shape = {
        .type = s->config.layer_types[s->layer], .n_tokens = n, .tile_rows = n,
        .tile_output_rows = n, .mlp_rows = n,
    };
    s->start = arena_take(a, windows + 1, sizeof *s->start);
    s->nonfinite = arena_take(a, windows, sizeof *s->nonfinite);
    s->x = arena_take(a, n, s->config.hidden_size * sizeof *s->x);
    s->routing = (struct routing){ arena_take(a, n, k * sizeof(int32_t)),
                                   arena_take(a, n, k * sizeof(float)) };
    s->targets = arena_take(a, n, sizeof *s->targets);
    s->scores = arena_take(a, n, sizeof *s->scores);
    s->states = arena_take(a, windows, sizeof *s->states);
    s->state_list = arena_take(a, windows, sizeof *s->state_list);
    char *keys = arena_take(a, windows, state_bytes);
    if (s->kind == STEP_HEAD)
        s->head_buffers = head_buffers_take(a, &s->cm, &s->head, n);
    else
        s->buffers = layer_buffers_take(a, &s->cm, &shape);
    for (size_t i = 0; a->block && s->past && i < windows; i++) {
        memset(keys + i * state_bytes, 0, state_bytes);
        attention_state_init(&s->states[i], &s->config, state_tokens, keys + i * state_bytes);
        s->state_list[i] = &s->states[i];
    }
}

static void fill(struct sample *s)
{
    size_t n = n_rows(s);
    for (size_t i = 0; i <= s->n_windows; i++)
        s->start[i] = size_min(n, i * s->window);
    memset(s->nonfinite, 0, s->n_windows * sizeof *s->nonfinite);
    memset(s->targets, 0, n * sizeof *s->targets);
    for (size_t i = 0; i < n * s->config.hidden_size; i++)
        s->x[i] = (float)(i % 127) * 0x1p-6f - 1;
}

/* Processor seconds of this thread for a round, with so many rows and past keys; NaN: there is not
 * enough memory.  The first round, which touches weights and memory for the first time, does not
 * count. */
static double seconds(struct sample *s, struct arena *a, const struct step_effort *effort,
                      size_t rows, size_t past)
{
    struct arena measure = { 0 };
    double all = 0;
    int round = 0;
    bool is_first = !a->block;
    s->rows = rows;
    s->past = past;
    s->window = size_min(rows, effort->window);
    s->n_windows = (n_rows(s) + s->window - 1) / s->window;
    take(s, &measure);
    if (measure.peak > budget_left(&s->e->budget) || !arena_reserve(a, measure.peak, NULL))
        return (double)NAN;
    take(s, a);
    fill(s);
    if (is_first)
        run(s);
    for (; round < effort->rounds || all < effort->seconds; round++) {
        double start = machine_thread_seconds();
        run(s);
        all += machine_thread_seconds() - start;
    }
    return all / round;
}

/* ---- rates --------------------------------------------------------------------------- */

/* So that the pages that were touched do not count as memory of this process. */
static bool release(void *user, const struct model_weight *w)
{
    const struct checkpoint *ck = user;
    struct stored_span spans[STORED_SPANS];
    size_t n = stored_spans(spans, w->matrix, 0, w->matrix->rows);
    for (size_t i = 0; i < n; i++) {
        const struct mapped_file *f = checkpoint_file_of(ck, spans[i].data);
        if (f)
            file_release(f, (size_t)(spans[i].data - f->data), spans[i].n, false);
    }
    return true;
}

static void release_weights(const struct sample *s)
{
    const struct engine *e = s->e;
    size_t layer = s->kind == STEP_HEAD ? e->w->n_layers : s->layer;
    weights_visit_layer(e->ck, e->w, layer, release, (void *)(uintptr_t)e->ck);
}

/* Whole tiles of the product. */
static size_t whole_tiles(const struct compute *cm, size_t rows)
{
    const struct gemm_ops *ops = linear_gemm(cm);
    return (rows + ops->mr(ops) - 1) / ops->mr(ops) * ops->mr(ops);
}

/* The difference between many rows and few tells what a row takes, the rest is packing. */
bool step_sample(struct step_rates *rates, const struct engine *e, enum step_kind kind,
                 const struct step_effort *effort)
{
    struct sample s;
    struct arena arena = { 0 };
    *rates = (struct step_rates){ 0 };
    if (!choose(&s, e, kind, effort->weights))
        return true;
    double threads = s.cm.n_threads, weights = weights_of(&s);
    size_t few = whole_tiles(&s.cm, effort->rows / 6), all = whole_tiles(&s.cm, effort->rows);
    few = size_max(few, whole_tiles(&s.cm, 1));
    all = size_max(all, 2 * few);
    size_t past = kind == STEP_ATTENTION ? effort->past : 0;
    double of_past = past ? seconds(&s, &arena, effort, all, past) : 0;     /* the largest first */
    double of_all = seconds(&s, &arena, effort, all, 0);
    double of_few = seconds(&s, &arena, effort, few, 0);
    double row = fmax(of_all - of_few, 0) / (double)(all - few);
    rates->flop = row / (2 * weights * threads);
    rates->weight = fmax(of_all - row * (double)all, 0) / weights;
    if (past)
        rates->pair = fmax(of_past - of_all, 0) / (threads * (double)s.config.num_attention_heads
                                                   * (double)(all * past));
    release_weights(&s);
    arena_free(&arena);
    return isfinite(of_few) && isfinite(of_all) && isfinite(of_past);
}
