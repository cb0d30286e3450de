/* config.h - config.json of a Qwen3.5 checkpoint: the text model's settings.
 *
 * Names as in the upstream config (transformers, configuration_qwen3_5_moe.py).  The settings are
 * under `text_config`, or at the top in a text-only checkpoint.  Everything that changes the
 * result is either read here or refused by name: an unknown model_type, hidden_act other than
 * silu, rope_type other than default, attention_bias, layer types that contradict the number of
 * layers, sizes that are zero, negative, fractional or so large that their products overflow. */
#ifndef SURPRISAL_FORMATS_CONFIG_H
#define SURPRISAL_FORMATS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"

enum layer_type { LINEAR_ATTENTION, FULL_ATTENTION };

struct config {
    char model_type[32];            /* qwen3_5_moe, qwen3_5_moe_text, qwen3_5, qwen3_5_text */
    size_t hidden_size;             /* D */
    size_t num_hidden_layers;       /* L */
    size_t vocab_size;              /* V */
    double rms_norm_eps;
    bool tie_word_embeddings;
    enum layer_type *layer_types;   /* owned [L]; from layer_types, else full_attention_interval */

    /* full attention */
    size_t num_attention_heads;     /* H, a multiple of num_key_value_heads */
    size_t num_key_value_heads;     /* KV */
    size_t head_dim;                /* d */
    size_t rotary_dim;              /* int(head_dim * partial_rotary_factor), even */
    double rope_theta;

    /* gated delta net */
    size_t linear_num_key_heads;    /* HK */
    size_t linear_num_value_heads;  /* HV, a multiple of HK */
    size_t linear_key_head_dim;     /* dk */
    size_t linear_value_head_dim;   /* dv */
    size_t linear_conv_kernel_dim;

    /* mixture of experts: all 0 in a dense model, which has intermediate_size instead */
    size_t num_experts;             /* E */
    size_t num_experts_per_tok;     /* k */
    size_t moe_intermediate_size;
    size_t shared_expert_intermediate_size;
    size_t intermediate_size;       /* dense only, else 0 */

    size_t max_position_embeddings; /* 0 when the config does not say */
    int64_t bos_token_id;           /* -1 when null or absent */
    int64_t eos_token_id;           /* the first of a list; -1 when null or absent */
};

/* root: the parsed config.json; path names it in errors.  More than max_layers layers are refused
 * before memory is taken for them: a checkpoint passes the number of its tensors.  config_free
 * also after a failure. */
bool config_read(struct config *c, const cJSON *root, size_t max_layers, const char *path,
                 struct error *err);
void config_free(struct config *c);

/* Is a setting of the text model read, or refused unless it has the implemented value?  The same of
 * rope_parameters. */
bool config_reads(const char *key);
bool config_reads_rope(const char *key);

#endif
