#include "model/delta_net.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "model/norm.h"

static size_t key_dim(const struct config *c)
{
    return c->linear_num_key_heads * c->linear_key_head_dim;
}

static size_t value_dim(const struct config *c)
{
    return c->linear_num_value_heads * c->linear_value_head_dim;
}

static size_t conv_channels(const struct config *c)
{
    return 2 * key_dim(c) + value_dim(c);
}

/* ---- state -------------------------------------------------------------- */

static size_t head_state_floats(const struct config *c)
{
    return c->linear_key_head_dim * c->linear_value_head_dim;
}

static size_t recurrent_state_bytes(const struct config *c)
{
    return buffer_bytes(c->linear_num_value_heads * head_state_floats(c) * sizeof(float));
}

size_t delta_net_state_bytes(const struct config *c)
{
    size_t tokens = c->linear_conv_kernel_dim - 1;
    return recurrent_state_bytes(c) + buffer_bytes(tokens * conv_channels(c) * sizeof(float));
}

void delta_net_state_init(struct delta_net_state *s, const struct config *c, void *memory)
{
    float *recurrent_state = memory;
    size_t floats = recurrent_state_bytes(c) / sizeof *recurrent_state;
    *s = (struct delta_net_state){ .recurrent_state = recurrent_state,
                                   .conv_state = recurrent_state + floats };
}

/* The two change places. */
void delta_net_state_take_back(struct delta_net_state *s, size_t n)
{
    if (n == 0)
        return;
    assert(n <= s->n_before && n < s->n_past);
    struct delta_net_state *before = &s->before[n - 1], now = *s;
    s->recurrent_state = before->recurrent_state;
    s->conv_state = before->conv_state;
    s->n_past -= n;
    before->recurrent_state = now.recurrent_state;
    before->conv_state = now.conv_state;
}

/* A state is one block, which begins with recurrent_state. */
void delta_net_state_copy(struct delta_net_state *to, const struct delta_net_state *from,
                          const struct config *c)
{
    memcpy(to->recurrent_state, from->recurrent_state, delta_net_state_bytes(c));
    to->n_past = from->n_past;
}

/* ---- buffers ------------------------------------------------------------ */

/* Channels of a piece of work: a thread's rows of `width` tokens stay in its first-level cache. */
#define CHANNEL_BLOCK ((size_t)512)

static struct delta_net_convolution convolution_take(struct arena *a, const struct compute *cm)
{
    const struct config *c = cm->config;
    size_t width = c->linear_conv_kernel_dim, value = sizeof(float);
    int threads = cm->n_threads;
    return (struct delta_net_convolution){
        .row = arena_take(a, width, value),
        .weight = arena_take(a, width, conv_channels(c) * value),
        .inputs = thread_buffers_take(a, threads, width, sizeof(const float *)),
        .weights = thread_buffers_take(a, threads, width * CHANNEL_BLOCK, value),
        .next = thread_buffers_take(a, threads, (width - 1) * CHANNEL_BLOCK, value),
    };
}

/* What only one step after the other needs. */
static void steps_take(struct delta_net_buffers *b, struct arena *a, const struct compute *cm)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, HV = c->linear_num_value_heads, value = value_dim(c);
    size_t dk = c->linear_key_head_dim, dv = c->linear_value_head_dim;
    const struct linear_shape linears[] = {
        { conv_channels(c), D }, { HV, D }, { value, D }, { D, value },
    };
    struct overlay o = overlay_begin(a);
    b->linear = linear_buffers_take(a, cm, linears, sizeof linears / sizeof *linears);
    overlay_next(&o, a);
    b->gates.A_log = arena_take(a, HV, sizeof(float));
    b->gates.dt_bias = arena_take(a, HV, sizeof(float));
    overlay_next(&o, a);
    b->convolution = convolution_take(a, cm);
    overlay_next(&o, a);
    b->state = thread_buffers_take(a, cm->n_threads, head_state_floats(c), sizeof(float));
    b->rule = thread_buffers_take(a, cm->n_threads, delta_rule_scratch(cm->kernels, dk, dv),
                                  sizeof(float));
    overlay_next(&o, a);
    b->norm = arena_take(a, dv, sizeof(float));
    overlay_end(&o, a);
}

struct delta_net_buffers delta_net_buffers_take(struct arena *a, const struct compute *cm,
                                                size_t rows, size_t output_rows)
{
    const struct config *c = cm->config;
    size_t HV = c->linear_num_value_heads;
    struct delta_net_buffers b = {
        .qkv = arena_take(a, rows, conv_channels(c) * sizeof *b.qkv),
        .a = arena_take(a, rows, HV * sizeof *b.a),
        .b = arena_take(a, rows, HV * sizeof *b.b),
        .beta = arena_take(a, rows, HV * sizeof *b.beta),
        .decay = arena_take(a, rows, HV * sizeof *b.decay),
        .mixed = arena_take(a, rows, value_dim(c) * sizeof *b.mixed),
        .z = arena_take(a, output_rows, value_dim(c) * sizeof *b.z),
    };
    steps_take(&b, a, cm);
    return b;
}

/* ---- convolution -------------------------------------------------------- */

/* weight [channels, width] of the checkpoint -> [width, channels], the order of the kernel. */
static void transpose_weight(const struct compute *cm, const struct delta_net_convolution *b,
                             const struct matrix *w)
{
    for (size_t channel = 0; channel < w->rows; channel++) {
        compute_rows(cm)->expand(b->row, w, channel, 0, w->cols);
        compute_rows(cm)->round(b->row, w->cols);
        for (size_t j = 0; j < w->cols; j++)
            b->weight[j * w->rows + channel] = b->row[j];
    }
}

/* Channels [first, first + n) of the rows of one sequence. */
struct channels {
    float *qkv;                     /* [rows, all channels] */
    size_t rows, first, n;
    const struct delta_net_state *state;    /* of the sequence, with the rows before the first one;
                                               NULL: there is none */
    bool keeps_rows;                /* state->before gets what it holds after each row but the
                                       last */
};

static const float *row_before(const struct config *c, const struct channels *x, size_t end,
                               size_t back)
{
    size_t width = c->linear_conv_kernel_dim, all = conv_channels(c);
    if (back <= end)
        return x->qkv + (end - back) * all + x->first;
    if (!x->state || x->state->n_past == 0)
        return NULL;
    return x->state->conv_state + (width - 1 + end - back) * all + x->first;
}

/* Copies the last width - 1 inputs of the rows before `end` to next [width - 1, n], rows ld apart,
 * for the rows that follow in a later call. */
static void keep_conv_state(const struct config *c, float *next, size_t ld,
                            const struct channels *x, size_t end)
{
    size_t width = c->linear_conv_kernel_dim;
    for (size_t j = 0; j + 1 < width; j++) {
        const float *row = row_before(c, x, end, width - 1 - j);
        if (row)
            memcpy(next + j * ld, row, x->n * sizeof *next);
        else
            memset(next + j * ld, 0, x->n * sizeof *next);
    }
}

/* Convolution and SiLU in place, last token first: a token's inputs are itself and those before
 * it. */
static void convolve(const struct compute *cm, const struct delta_net_convolution *b,
                     const struct channels *x)
{
    const struct config *c = cm->config;
    size_t width = c->linear_conv_kernel_dim, all = conv_channels(c);
    size_t bytes = x->n * sizeof(float);
    const float **inputs = thread_buffer(&b->inputs);
    float *weight = thread_buffer(&b->weights), *next = thread_buffer(&b->next);
    for (size_t j = 0; j < width; j++)
        memcpy(weight + j * x->n, b->weight + j * all + x->first, bytes);
    if (x->state)
        keep_conv_state(c, next, x->n, x, x->rows);
    for (size_t t = 1; x->keeps_rows && t < x->rows; t++)
        keep_conv_state(c, x->state->before[x->rows - 1 - t].conv_state + x->first, all, x, t);
    for (size_t t = x->rows; t-- > 0;) {
        for (size_t j = 0; j < width; j++)
            inputs[j] = row_before(c, x, t, width - 1 - j);
        compute_rows(cm)->conv_silu(x->qkv + t * all + x->first, inputs, weight, width, x->n);
    }
    for (size_t j = 0; x->state && j + 1 < width; j++)
        memcpy(x->state->conv_state + j * all + x->first, next + j * x->n, bytes);
}

/* Is the state after each row kept? */
static bool keeps_rows(const struct compute *cm, const struct delta_net_state *s)
{
    return cm->few_rows && s->n_before > 0;
}

static void convolve_tile(const struct compute *cm, const struct delta_net_convolution *b,
                          float *qkv, const struct matrix *conv1d, const struct tile *tile,
                          struct delta_net_state *const *states)
{
    size_t all = conv_channels(cm->config);
    transpose_weight(cm, b, conv1d);
#pragma omp parallel for collapse(2) num_threads(cm->n_threads) schedule(dynamic)
    for (size_t w = 0; w < tile->n_windows; w++)
        for (size_t first = 0; first < all; first += CHANNEL_BLOCK) {
            const struct tile_window rows = tile_window(tile, w);
            convolve(cm, b, &(struct channels){
                .qkv = qkv + rows.begin * all, .rows = rows.end - rows.begin, .first = first,
                .n = size_min(all - first, CHANNEL_BLOCK),
                .state = states ? states[w] : NULL,
                .keeps_rows = states && keeps_rows(cm, states[w]) });
        }
}

/* ---- gates and norms ---------------------------------------------------- */

static double softplus(double x)
{
    return x > 30 ? x : log1p(exp(x));      /* above 30 the difference is below double's ulp */
}

/* -exp(A_log), which some containers store. */
static double rate(const struct delta_net_weights *w, float A_log)
{
    return w->A_log.is_rate ? (double)A_log : -exp((double)A_log);
}

/* decay and beta of n tokens.  In double: a rounded decay is applied once for each token that
 * follows, so its error would grow with length. */
static void gates(const struct compute *cm, const struct delta_net_buffers *b,
                  const struct delta_net_weights *w, size_t n)
{
    size_t HV = cm->config->linear_num_value_heads;
    const float *A_log = b->gates.A_log, *dt_bias = b->gates.dt_bias;
    norm_vector(cm, b->gates.A_log, &w->A_log);
    norm_vector(cm, b->gates.dt_bias, &w->dt_bias);
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++) {
        for (size_t h = 0; h < HV; h++) {
            double step = softplus((double)b->a[t * HV + h] + (double)dt_bias[h]);
            b->decay[t * HV + h] = exp(rate(w, A_log[h]) * step);
            b->beta[t * HV + h] = (float)(1 / (1 + exp(-(double)b->b[t * HV + h])));
        }
        compute_rows(cm)->round(b->beta + t * HV, HV);
    }
}

/* q to length 1 / sqrt(dk), k to length 1. */
static void normalize_keys(const struct compute *cm, float *qkv, size_t n)
{
    const struct config *c = cm->config;
    size_t dk = c->linear_key_head_dim, all = conv_channels(c);
    double q_scale = 1 / sqrt((double)dk);
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t t = 0; t < n; t++)
        for (size_t h = 0; h < c->linear_num_key_heads; h++) {
            float *q = qkv + t * all + h * dk;
            compute_rows(cm)->l2_norm(q, dk, q_scale);
            compute_rows(cm)->l2_norm(q + key_dim(c), dk, 1);
        }
}

/* x [n, HV, dv] = norm(x) * weight * silu(z), head by head. */
static void gated_norm(const struct compute *cm, float *x, const float *z, const float *weight,
                       size_t n)
{
    const struct config *c = cm->config;
    size_t dv = c->linear_value_head_dim, heads = n * c->linear_num_value_heads;
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
    for (size_t h = 0; h < heads; h++)
        compute_rows(cm)->gated_rms_norm(x + h * dv, z + h * dv, weight, dv, c->rms_norm_eps);
}

/* ---- the delta rule over a tile ------------------------------------------ */

/* Rows [begin, begin + n) of the tile, one head, which starts from zeros unless it has a past. */
static void delta_rule_head(const struct compute *cm, const struct delta_net_buffers *b, size_t h,
                            size_t begin, size_t n, float *state, bool has_past)
{
    const struct config *c = cm->config;
    size_t dk = c->linear_key_head_dim, dv = c->linear_value_head_dim, all = conv_channels(c);
    size_t HV = c->linear_num_value_heads, repeat = HV / c->linear_num_key_heads;
    const float *qkv = b->qkv + begin * all, *q = qkv + h / repeat * dk;
    if (!has_past)
        memset(state, 0, head_state_floats(c) * sizeof *state);
    cm->kernels->delta_rule(cm->kernels, &(struct delta_rule){
        .n = n, .dk = dk, .dv = dv,
        .q = q, .ldq = all,
        .k = q + key_dim(c), .ldk = all,
        .v = qkv + 2 * key_dim(c) + h * dv, .ldv = all,
        .decay = b->decay + begin * HV + h, .beta = b->beta + begin * HV + h,
        .ld_scalar = HV,
        .state = state,
        .out = b->mixed + begin * HV * dv + h * dv, .ldo = HV * dv,
        .scratch = thread_buffer(&b->rule),
    });
}

/* The rows of a sequence with a state, one head.  With few rows one at a time: each goes on in a
 * copy of the state before it, if that is kept. */
static void delta_rule_rows(const struct compute *cm, const struct delta_net_buffers *b, size_t h,
                            const struct tile_window *rows, const struct delta_net_state *s)
{
    size_t floats = head_state_floats(cm->config), n = rows->end - rows->begin;
    float *state = s->recurrent_state + h * floats, *at = state;
    bool has_past = s->n_past > 0;
    if (!cm->few_rows) {
        delta_rule_head(cm, b, h, rows->begin, n, state, has_past);
        return;
    }
    assert(!s->n_before || n <= s->n_before + 1);
    for (size_t t = 0; t < n; t++) {
        bool kept = keeps_rows(cm, s) && t + 1 < n;
        float *to = kept ? s->before[n - 2 - t].recurrent_state + h * floats : state;
        if (to != at && (has_past || t > 0))
            memcpy(to, at, floats * sizeof *to);
        delta_rule_head(cm, b, h, rows->begin + t, 1, to, has_past || t > 0);
        at = to;
    }
}

static void delta_rule_heads(const struct compute *cm, const struct delta_net_buffers *b,
                             const struct tile *tile, struct delta_net_state *const *states)
{
    size_t HV = cm->config->linear_num_value_heads;
#pragma omp parallel for collapse(2) num_threads(cm->n_threads) schedule(dynamic)
    for (size_t w = 0; w < tile->n_windows; w++)
        for (size_t h = 0; h < HV; h++) {
            const struct tile_window rows = tile_window(tile, w);
            if (states)
                delta_rule_rows(cm, b, h, &rows, states[w]);
            else
                delta_rule_head(cm, b, h, rows.begin, rows.end - rows.begin,
                                thread_buffer(&b->state), false);
        }
}

void delta_net_forward(const struct compute *cm, const struct delta_net_buffers *b, float *out,
                       float *h, const struct delta_net_weights *w, const struct tile *tile,
                       struct delta_net_state *const *states)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, HV = c->linear_num_value_heads, value = value_dim(c);
    size_t n = tile->n, n_out = tile->n_output_rows;
    linear_forward(cm, &b->linear, b->qkv, conv_channels(c), h, D, n, &w->in_proj_qkv);
    linear_forward(cm, &b->linear, b->a, HV, h, D, n, &w->in_proj_a);
    linear_forward(cm, &b->linear, b->b, HV, h, D, n, &w->in_proj_b);
    tile_keep_output_rows(tile, h, D);
    linear_forward(cm, &b->linear, b->z, value, h, D, n_out, &w->in_proj_z);
    gates(cm, b, w, n);
    convolve_tile(cm, &b->convolution, b->qkv, &w->conv1d, tile, states);
    normalize_keys(cm, b->qkv, n);
    delta_rule_heads(cm, b, tile, states);
    for (size_t i = 0; states && i < tile->n_windows; i++)
        states[i]->n_past += tile_window_rows(tile, i);
    tile_keep_output_rows(tile, b->mixed, value);
    norm_weight_plain(cm, b->norm, &w->norm);
    gated_norm(cm, b->mixed, b->z, b->norm, n_out);
    linear_forward(cm, &b->linear, out, D, b->mixed, value, n_out, &w->out_proj);
}
