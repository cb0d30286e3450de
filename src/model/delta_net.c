#include "model/delta_net.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "model/linear.h"
#include "model/norm.h"

struct delta_net_state {
    float *recurrent_state;         /* [HV, dk, dv] */
    float *conv_state;              /* [width - 1, channels]: qkv before the convolution, of the
                                       tokens just before the next piece */
};

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

static size_t state_floats(const struct config *c)
{
    return c->linear_key_head_dim * value_dim(c);
}

struct delta_net_state *delta_net_state_take(const struct compute *cm)
{
    const struct config *c = cm->config;
    struct delta_net_state *s = arena_take(cm->arena, 1, sizeof *s);
    float *recurrent_state = arena_take(cm->arena, state_floats(c), sizeof *recurrent_state);
    float *conv_state = arena_take(cm->arena, c->linear_conv_kernel_dim,
                                   conv_channels(c) * sizeof *conv_state);
    if (s)
        *s = (struct delta_net_state){ recurrent_state, conv_state };
    return s;
}

/* ---- convolution -------------------------------------------------------- */

/* weight [channels, width] of the checkpoint -> [width, channels], the order of the kernel. */
static float *conv_weight_take(const struct compute *cm, const struct matrix *w)
{
    float *row = arena_take(cm->arena, w->cols, sizeof *row);
    float *transposed = arena_take(cm->arena, w->cols * w->rows, sizeof *transposed);
    for (size_t channel = 0; transposed && channel < w->rows; channel++) {
        compute_rows(cm)->expand(row, w, channel, 0, w->cols);
        compute_rows(cm)->round(row, w->cols);
        for (size_t j = 0; j < w->cols; j++)
            transposed[j * w->rows + channel] = row[j];
    }
    return transposed;
}

/* Channels a piece of work: a thread's rows of `width` tokens stay in its first-level cache. */
#define CHANNEL_BLOCK ((size_t)512)

/* Convolution and SiLU of `rows` tokens in place, last token first: a token's inputs are itself
 * and those before it.  conv_state: the rows before the first one, or NULL at a window's start. */
static void convolve(const struct compute *cm, float *qkv, size_t rows, const float *conv_state,
                     const float *weight, const float **inputs, size_t first_channel,
                     size_t channels, float *block_weight)
{
    const struct config *c = cm->config;
    size_t width = c->linear_conv_kernel_dim, all = conv_channels(c);
    for (size_t j = 0; j < width; j++)
        memcpy(block_weight + j * channels, weight + j * all + first_channel,
               channels * sizeof *weight);
    for (size_t t = rows; t-- > 0;) {
        for (size_t j = 0; j < width; j++) {
            size_t back = width - 1 - j;        /* tokens before t */
            inputs[j] = back <= t ? qkv + (t - back) * all + first_channel
                      : conv_state ? conv_state + (width - 1 + t - back) * all + first_channel : NULL;
        }
        compute_rows(cm)->conv_silu(qkv + t * all + first_channel, inputs, block_weight, width,
                                    channels);
    }
}

/* Copies the last width - 1 inputs of the piece into next, for the piece after it. */
static void keep_conv_state(const struct config *c, float *next, const float *qkv, size_t rows,
                            const float *conv_state)
{
    size_t width = c->linear_conv_kernel_dim, all = conv_channels(c);
    for (size_t j = 0; j + 1 < width; j++) {
        size_t back = width - 1 - j;            /* tokens before the end of the piece */
        float *row = next + j * all;
        if (back <= rows)
            memcpy(row, qkv + (rows - back) * all, all * sizeof *row);
        else if (conv_state)
            memcpy(row, conv_state + (width - 1 + rows - back) * all, all * sizeof *row);
        else
            memset(row, 0, all * sizeof *row);
    }
}

static void convolve_tile(const struct compute *cm, float *qkv, const struct matrix *conv1d,
                          const struct tile *tile, struct delta_net_state *state)
{
    const struct config *c = cm->config;
    size_t width = c->linear_conv_kernel_dim, all = conv_channels(c);
    size_t mark = cm->arena->used, threads = (size_t)cm->n_threads;
    float *weight = conv_weight_take(cm, conv1d);
    float *next_state = arena_take(cm->arena, width * all, sizeof *next_state);
    float *block_weight = arena_take(cm->arena, threads * width * CHANNEL_BLOCK,
                                     sizeof *block_weight);
    const float **inputs = arena_take(cm->arena, threads * width, sizeof *inputs);
    if (weight) {
        const float *conv_state = tile->offset ? state->conv_state : NULL;
        if (tile->is_piece)
            keep_conv_state(c, next_state, qkv, tile->n, conv_state);
#pragma omp parallel for collapse(2) num_threads(cm->n_threads) schedule(dynamic)
        for (size_t w = 0; w < tile->n_windows; w++)
            for (size_t first = 0; first < all; first += CHANNEL_BLOCK) {
                size_t me = (size_t)omp_get_thread_num();
                size_t channels = size_min(all - first, CHANNEL_BLOCK);
                const struct tile_window rows = tile_window(tile, w);
                convolve(cm, qkv + rows.begin * all, rows.end - rows.begin, conv_state, weight,
                         inputs + me * width, first, channels, block_weight + me * width * CHANNEL_BLOCK);
            }
        if (tile->is_piece)
            memcpy(state->conv_state, next_state, (width - 1) * all * sizeof *next_state);
    }
    cm->arena->used = mark;
}

/* ---- gates and norms ---------------------------------------------------- */

static double softplus(double x)
{
    return x > 30 ? x : log1p(exp(x));      /* above 30 the difference is below double's ulp */
}

/* a, b: [n, HV] projections -> decay and beta.  In double: a rounded decay is applied once for
 * each token that follows, so its error would grow with length. */
static void gates(const struct compute *cm, double *decay, float *beta, const float *a,
                  const float *b, const struct delta_net_weights *w, size_t n)
{
    size_t HV = cm->config->linear_num_value_heads, mark = cm->arena->used;
    float *A_log = vector_take(cm, &w->A_log), *dt_bias = vector_take(cm, &w->dt_bias);
    if (A_log) {
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
        for (size_t t = 0; t < n; t++) {
            for (size_t h = 0; h < HV; h++) {
                double step = softplus((double)a[t * HV + h] + (double)dt_bias[h]);
                decay[t * HV + h] = exp(-exp((double)A_log[h]) * step);
                beta[t * HV + h] = (float)(1 / (1 + exp(-(double)b[t * HV + h])));
            }
            compute_rows(cm)->round(beta + t * HV, HV);
        }
    }
    cm->arena->used = mark;
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
static void gated_norm(const struct compute *cm, float *x, const float *z,
                       const struct matrix *norm, size_t n)
{
    const struct config *c = cm->config;
    size_t dv = c->linear_value_head_dim, heads = n * c->linear_num_value_heads;
    size_t mark = cm->arena->used;
    float *weight = norm_weight_plain(cm, norm);
    if (weight) {
#pragma omp parallel for num_threads(cm->n_threads) schedule(static)
        for (size_t h = 0; h < heads; h++)
            compute_rows(cm)->gated_rms_norm(x + h * dv, z + h * dv, weight, dv, c->rms_norm_eps);
    }
    cm->arena->used = mark;
}

/* ---- the delta rule over a tile ------------------------------------------ */

static void delta_rule_heads(const struct compute *cm, float *out, const float *qkv,
                             const double *decay, const float *beta, const struct tile *tile,
                             struct delta_net_state *state)
{
    const struct config *c = cm->config;
    size_t dk = c->linear_key_head_dim, dv = c->linear_value_head_dim, all = conv_channels(c);
    size_t HV = c->linear_num_value_heads, repeat = HV / c->linear_num_key_heads;
    size_t mark = cm->arena->used, scratch_floats = dk * dv + delta_rule_scratch(cm->kernels, dk, dv);
    float *scratch = arena_take(cm->arena, (size_t)cm->n_threads, scratch_floats * sizeof *scratch);
    if (scratch) {
#pragma omp parallel for collapse(2) num_threads(cm->n_threads) schedule(dynamic)
        for (size_t w = 0; w < tile->n_windows; w++)
            for (size_t h = 0; h < HV; h++) {
                const struct tile_window rows = tile_window(tile, w);
                size_t begin = rows.begin;
                const float *q = qkv + begin * all + h / repeat * dk;
                float *mine = scratch + (size_t)omp_get_thread_num() * scratch_floats;
                float *S = tile->is_piece ? state->recurrent_state + h * dk * dv : mine;
                if (tile->offset == 0)
                    memset(S, 0, dk * dv * sizeof *S);
                cm->kernels->delta_rule(cm->kernels, &(struct delta_rule){
                    .n = rows.end - begin, .dk = dk, .dv = dv,
                    .q = q, .ldq = all,
                    .k = q + key_dim(c), .ldk = all,
                    .v = qkv + begin * all + 2 * key_dim(c) + h * dv, .ldv = all,
                    .decay = decay + begin * HV + h, .beta = beta + begin * HV + h,
                    .ld_scalar = HV,
                    .state = S,
                    .out = out + begin * HV * dv + h * dv, .ldo = HV * dv,
                    .scratch = mine + dk * dv,
                });
            }
    }
    cm->arena->used = mark;
}

void delta_net_forward(const struct compute *cm, float *out, float *h,
                       const struct delta_net_weights *w, const struct tile *tile,
                       struct delta_net_state *state)
{
    const struct config *c = cm->config;
    size_t D = c->hidden_size, HV = c->linear_num_value_heads, all = conv_channels(c);
    size_t n = tile->n, n_out = tile->n_output_rows, mark = cm->arena->used;
    float *qkv = arena_take(cm->arena, n, all * sizeof *qkv);
    float *z = arena_take(cm->arena, n_out, value_dim(c) * sizeof *z);
    float *a = arena_take(cm->arena, n, HV * sizeof *a);
    float *b = arena_take(cm->arena, n, HV * sizeof *b);
    float *beta = arena_take(cm->arena, n, HV * sizeof *beta);
    double *decay = arena_take(cm->arena, n, HV * sizeof *decay);
    float *mixed = arena_take(cm->arena, n, value_dim(c) * sizeof *mixed);
    linear(cm, qkv, all, h, D, n, &w->in_proj_qkv);
    linear(cm, a, HV, h, D, n, &w->in_proj_a);
    linear(cm, b, HV, h, D, n, &w->in_proj_b);
    if (h)
        tile_keep_output_rows(tile, h, D);
    linear(cm, z, value_dim(c), h, D, n_out, &w->in_proj_z);
    gates(cm, decay, beta, a, b, w, n);
    convolve_tile(cm, qkv, &w->conv1d, tile, state);
    if (qkv)
        normalize_keys(cm, qkv, n);
    delta_rule_heads(cm, mixed, qkv, decay, beta, tile, state);
    if (mixed) {
        tile_keep_output_rows(tile, mixed, value_dim(c));
        gated_norm(cm, mixed, z, &w->norm, n_out);
    }
    linear(cm, out, D, mixed, value_dim(c), n_out, &w->out_proj);
    cm->arena->used = mark;
}
