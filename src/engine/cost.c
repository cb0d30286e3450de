#include "engine/cost.h"

/* A linear layer of this shape. */
static double linear_flop(size_t out, size_t in)
{
    return 2 * (double)out * (double)in;
}

/* A token through a mixer. */
static double mixer_flop(const struct config *c, enum layer_type type)
{
    size_t D = c->hidden_size;
    if (type == FULL_ATTENTION) {
        size_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
        return linear_flop(2 * q + 2 * kv, D) + linear_flop(D, q);
    }
    size_t key = c->linear_num_key_heads * c->linear_key_head_dim, HV = c->linear_num_value_heads;
    size_t value = HV * c->linear_value_head_dim;
    return linear_flop(2 * key + 2 * value + 2 * HV, D) + linear_flop(D, value);
}

/* A token through an MLP. */
static double mlp_flop(const struct config *c)
{
    size_t D = c->hidden_size;
    if (!c->num_experts)
        return 3 * linear_flop(c->intermediate_size, D);
    return linear_flop(c->num_experts + 1, D)                       /* router, shared gate */
         + 3 * linear_flop(c->shared_expert_intermediate_size, D)
         + 3 * (double)c->num_experts_per_tok * linear_flop(c->moe_intermediate_size, D);
}

/* The part of a mixer that only tokens whose output is needed go through. */
static double output_flop(const struct config *c, enum layer_type type)
{
    size_t D = c->hidden_size, q = c->num_attention_heads * c->head_dim;
    size_t value = c->linear_num_value_heads * c->linear_value_head_dim;
    return type == FULL_ATTENTION ? linear_flop(2 * q, D) + linear_flop(D, q)
                                  : linear_flop(value, D) + linear_flop(D, value);
}

struct layer_cost cost_layer(const struct config *c, size_t layer, double n, double output_rows)
{
    enum layer_type type = c->layer_types[layer];
    double left_out = layer + 1 < c->num_hidden_layers ? 0 : n - output_rows;
    return (struct layer_cost){
        .mixer = n * mixer_flop(c, type) - left_out * output_flop(c, type),
        .mlp = (n - left_out) * mlp_flop(c),
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

double cost_head_flop(const struct config *c)
{
    return linear_flop(c->vocab_size, c->hidden_size);
}
