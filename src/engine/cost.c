#include "engine/cost.h"

#include "formats/weights.h"

/* What a token costs in a layer. */
struct token_cost {
    const struct config *config;
    double mixer, mlp;
    double output;                  /* of the mixer: only tokens whose output is needed */
};

static double linear_flop(const struct model_weight *w)
{
    return 2 * (double)w->rows * (double)w->cols;
}

static bool add(void *user, const struct model_weight *w)
{
    struct token_cost *cost = user;
    if (!w->is_linear)
        return true;
    if (w->kind == WEIGHT_ATTENTION || w->kind == WEIGHT_DELTA_NET) {
        cost->mixer += linear_flop(w);
        cost->output += w->is_output ? linear_flop(w) : 0;
    } else if (w->kind == WEIGHT_EXPERTS)
        cost->mlp += (double)cost->config->num_experts_per_tok * linear_flop(w);
    else
        cost->mlp += linear_flop(w);
    return true;
}

struct layer_cost cost_layer(const struct config *c, size_t layer, double n, double output_rows)
{
    struct token_cost token = { .config = c };
    double left_out = layer + 1 < c->num_hidden_layers ? 0 : n - output_rows;
    weights_of_layer(c, layer, add, &token);
    return (struct layer_cost){
        .mixer = n * token.mixer - left_out * token.output,
        .mlp = (n - left_out) * token.mlp,
    };
}

double cost_layers_flop(const struct config *c, double n, double output_rows)
{
    double flop = 0;
    for (size_t i = 0; i < c->num_hidden_layers; i++) {
        const struct layer_cost layer = cost_layer(c, i, n, output_rows);
        flop += layer.mixer + layer.mlp;
    }
    return flop;
}

static bool take_head(void *user, const struct model_weight *w)
{
    double *flop = user;
    if (w->kind == WEIGHT_LM_HEAD)
        *flop = linear_flop(w);
    return true;
}

double cost_head_flop(const struct config *c)
{
    double flop = 0;
    weights_of_layer(c, c->num_hidden_layers, take_head, &flop);
    return flop;
}

double cost_draft_flop(const struct config *c, double n, double scored)
{
    struct token_cost token = { .config = c };
    weights_of_layer(c, weights_mtp_layer(c), add, &token);
    return n * (token.mixer + token.mlp) + 3 * scored * cost_head_flop(c);
}
