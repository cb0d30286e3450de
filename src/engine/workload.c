#include "engine/workload.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "model/linear.h"
#include "model/vocabulary.h"

enum { EVERY, LAST };                   /* of workload_rows.outputs */

double workload_flop(const struct workload *load)
{
    double flop = 0;
    for (size_t i = 0; i < load->n_products; i++)
        flop += load->products[i].flop;
    return flop;
}

/* ---- passes --------------------------------------------------------------------- */

/* Experts that get one of n tokens' choices, if each is as likely as the others. */
static double experts_reached(const struct config *c, double n)
{
    double E = (double)c->num_experts, k = (double)c->num_experts_per_tok;
    return E > 0 ? E * (1 - pow(1 - k / E, n)) : 0;
}

static void add_outputs(struct workload_outputs *o, const struct config *c, const struct batch *b,
                        size_t tile_tokens)
{
    struct tile tile = { 0 };
    size_t n = 0;
    while (tile_next(&tile, b, tile_tokens)) {
        n += tile.n_output_rows;
        o->tiles += tile.n_output_rows > 0;
        for (size_t w = 0; w < tile.n_windows; w++) {
            const struct tile_window rows = tile_window(&tile, w);
            size_t past = tile.is_piece ? tile.row - tile.start[0] : 0;
            attention_count(&o->attention, c, past + rows.first_output - rows.begin,
                            rows.end - rows.first_output);
        }
    }
    o->rows += (double)n;
    o->mlp_tiles += (double)((n + tile_tokens - 1) / tile_tokens);
    o->experts += experts_reached(c, (double)n);
}

bool workload_rows_add(struct workload_rows *rows, const struct config *c,
                       const struct workload_pass *pass, struct error *err)
{
    size_t n = pass->n_windows;
    size_t *start = mem_array(n + 1, 2 * sizeof *start, "the windows of a pass", err);
    if (!start)
        return false;
    size_t *scored = start + n + 1;
    struct batch b = { .n_windows = n, .start = start };
    for (size_t i = 0; i < n; i++) {
        const struct engine_window *w = &pass->windows[i];
        start[i + 1] = start[i] + (w->end - w->begin - 1);      /* the last is a target only */
        scored[i + 1] = scored[i] + (w->end - w->first);
        rows->longest = size_max(rows->longest, w->end - w->begin - 1);
    }
    b.n_tokens = start[n];
    struct tile tile = { 0 };
    while (tile_next(&tile, &b, pass->tile_tokens)) {
        rows->tiles++;
        rows->tile_rows = size_max(rows->tile_rows, tile.n);
    }
    rows->passes++;
    rows->tokens += (double)b.n_tokens;
    rows->scored += (double)scored[n];
    rows->most_tokens = size_max(rows->most_tokens, b.n_tokens);
    rows->most_scored = size_max(rows->most_scored, scored[n]);
    add_outputs(&rows->outputs[EVERY], c, &b, pass->tile_tokens);
    b.output_rows = pass->keep_all ? NULL : scored;
    add_outputs(&rows->outputs[LAST], c, &b, pass->tile_tokens);
    free(start);
    return true;
}

/* ---- products with weights ------------------------------------------------------- */

static struct workload_product *product_like(struct workload *load, enum workload_place place,
                                             const struct matrix *w)
{
    struct workload_product *p = load->products, *end = p + load->n_products, *alike = NULL;
    for (; p < end; p++) {
        if (p->place == place && p->w->cols == w->cols && p->w->dtype == w->dtype)
            return p;
        if (p->place == place || !alike)
            alike = p;
    }
    if (load->n_products == WORKLOAD_PRODUCTS_MOST)     /* stored in many ways: as another is */
        return alike;
    *p = (struct workload_product){ .place = place, .w = w };
    load->n_products++;
    return p;
}

/* n rows in all, at most `most` in a product.  input_packs: of each of them; packs: of the
 * weight. */
static void add_product(struct workload *load, enum workload_place place, const struct matrix *w,
                        double n, size_t most, double input_packs, double packs)
{
    struct workload_product *p = product_like(load, place, w);
    double values = (double)w->rows * (double)w->cols;
    if (w->rows > p->w->rows && w->cols == p->w->cols && w->dtype == p->w->dtype)
        p->w = w;
    p->rows = size_max(p->rows, most);
    p->flop += 2 * n * values;
    p->input_values += n * input_packs * (double)w->cols;
    p->weight_values += packs * values;
}

static void add_head(struct workload *load, const struct matrix *lm_head, double n, size_t most,
                     double packs)
{
    size_t tiles = (lm_head->rows + VOCABULARY_TILE - 1) / VOCABULARY_TILE;
    add_product(load, WORKLOAD_HEAD, lm_head, n, most, (double)tiles, packs);
}

void workload_add_head(struct workload *load, const struct matrix *lm_head, size_t n, double packs)
{
    add_head(load, lm_head, (double)n, n, packs);
}

struct adding {
    struct workload *load;
    const struct workload_rows *rows;
    const struct workload_outputs *outputs;     /* of this layer */
    const struct config *config;
    const struct layer_weights *layer;
    bool mixer_done;
    double observed;                /* times that inputs of the experts count; 0: none are seen */
};

/* An expert's tokens, as many as chance would give. */
static void add_expert(const struct adding *a, const struct model_weight *w)
{
    const struct config *c = a->config;
    double share = (double)c->num_experts_per_tok / (double)c->num_experts;
    double n = a->outputs->rows * share;
    size_t most = (size_t)ceil((double)a->rows->most_tokens * share);
    /* gate and up are one operand. */
    bool is_up = w->matrix == &a->layer->experts[w->expert].up;
    add_product(a->load, WORKLOAD_EXPERT, w->matrix, n, most, is_up ? 0 : 1,
                a->outputs->experts / (double)c->num_experts);
    if (!is_up)
        a->load->amount[WORKLOAD_OBSERVATION] += a->observed * n * (double)w->cols;
}

static bool add_weight(void *user, const struct model_weight *w)
{
    const struct adding *a = user;
    bool mixer = w->kind == WEIGHT_ATTENTION || w->kind == WEIGHT_DELTA_NET;
    if (!w->is_linear || (mixer && a->mixer_done))
        return true;
    if (w->kind == WEIGHT_EXPERTS) {
        add_expert(a, w);
        return true;
    }
    bool all = mixer && !w->is_output;
    double n = all ? a->rows->tokens : a->outputs->rows;
    add_product(a->load, WORKLOAD_LAYER, w->matrix, n, a->rows->tile_rows,
                (double)linear_input_packs(w->matrix->rows, w->matrix->cols),
                all ? a->rows->tiles : mixer ? a->outputs->tiles : a->outputs->mlp_tiles);
    if (a->observed > 0)
        a->load->amount[WORKLOAD_OBSERVATION] += n * (double)w->cols;
    return true;
}

/* ---- everything else -------------------------------------------------------------- */

static void add_attention(double *amount, const struct adding *a)
{
    const struct config *c = a->config;
    double H = (double)c->num_attention_heads, KV = (double)c->num_key_value_heads;
    double d = (double)c->head_dim, n = a->rows->tokens, n_out = a->outputs->rows;
    amount[WORKLOAD_HEAD_NORM] += (n_out * H + n * KV) * d;
    amount[WORKLOAD_ANGLES] += n * (double)(c->rotary_dim / 2);
    amount[WORKLOAD_ATTENTION] += a->outputs->attention.flop;
    amount[WORKLOAD_SOFTMAX] += a->outputs->attention.scores;
    amount[WORKLOAD_SIGMOID] += n_out * H * d;
}

static void add_delta_net(double *amount, const struct adding *a)
{
    const struct config *c = a->config;
    double HK = (double)c->linear_num_key_heads, HV = (double)c->linear_num_value_heads;
    double dk = (double)c->linear_key_head_dim, dv = (double)c->linear_value_head_dim;
    double n = a->rows->tokens;
    amount[WORKLOAD_CONVOLUTION] += n * (2 * HK * dk + HV * dv);
    amount[WORKLOAD_KEY_NORM] += n * 2 * HK * dk;
    amount[WORKLOAD_GATES] += n * HV;
    amount[WORKLOAD_DELTA_RULE] += n * HV;
    amount[WORKLOAD_GATED_NORM] += a->outputs->rows * HV * dv;
}

static void add_mlp(double *amount, const struct adding *a)
{
    const struct config *c = a->config;
    double n = a->outputs->rows, values = n * (double)c->hidden_size;
    double pairs = (double)c->num_experts_per_tok;
    amount[WORKLOAD_NORM] += values;
    amount[WORKLOAD_RESIDUAL] += values;
    if (!c->num_experts) {
        amount[WORKLOAD_SILU] += n * (double)c->intermediate_size;
        return;
    }
    amount[WORKLOAD_CHECK] += values;
    amount[WORKLOAD_ROUTING] += n * (double)c->num_experts;
    amount[WORKLOAD_SHARED] += values;
    amount[WORKLOAD_GATHER] += pairs * values;
    amount[WORKLOAD_SCATTER] += pairs * values;
    amount[WORKLOAD_SILU] += n * ((double)c->shared_expert_intermediate_size
                                  + pairs * (double)c->moe_intermediate_size);
}

static void add_layer(const struct adding *a, enum layer_type type)
{
    double *amount = a->load->amount, D = (double)a->config->hidden_size;
    if (!a->mixer_done) {
        amount[WORKLOAD_NORM] += a->rows->tokens * D;
        amount[WORKLOAD_RESIDUAL] += a->outputs->rows * D;
        (type == FULL_ATTENTION ? add_attention : add_delta_net)(amount, a);
    }
    add_mlp(amount, a);
}

void workload_add(struct workload *load, const struct workload_path *path,
                  const struct workload_rows *rows)
{
    const struct config *c = path->cm->config;
    load->longest = size_max(load->longest, rows->longest);
    for (size_t i = path->layer; i < c->num_hidden_layers; i++) {
        bool last = i + 1 == c->num_hidden_layers;
        struct adding a = { load, rows, &rows->outputs[last ? LAST : EVERY], c,
                            &path->w->layers[i], i == path->layer && path->mixer_done,
                            /* Experts' inputs are seen by one thread at a time. */
                            path->observed ? (double)path->cm->n_threads : 0 };
        weights_visit_layer(path->ck, path->w, i, add_weight, &a);
        add_layer(&a, c->layer_types[i]);
    }
    if (!path->head)
        return;
    load->amount[WORKLOAD_NORM] += rows->scored * (double)c->hidden_size;
    load->amount[WORKLOAD_LOGITS] += rows->scored * (double)path->w->lm_head.rows;
    add_head(load, &path->w->lm_head, rows->scored, rows->most_scored, rows->passes);
}
