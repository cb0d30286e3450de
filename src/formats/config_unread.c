#include "formats/config_unread.h"

#include <stdio.h>
#include <string.h>

#define NAME_BYTES 256

/* Of training, of generation, of the program that wrote the file, or of tensors that the text model
 * does not use. */
static const char *const harmless[] = {
    "architectures", "attention_dropout", "auto_map", "base_model_pp_plan", "base_model_tp_plan",
    "chunk_size_feed_forward", "dtype", "embd_pdrop", "finetuning_task", "hidden_dropout",
    "id2label", "image_token_id", "initializer_range", "is_decoder", "is_encoder_decoder",
    "keys_to_ignore_at_inference", "label2id", "language_model_only", "mamba_ssm_dtype",
    "max_window_layers", "mtp_num_hidden_layers", "mtp_use_dedicated_embeddings", "name_or_path",
    "num_nextn_predict_layers", "output_attentions", "output_hidden_states",
    "output_router_logits", "pad_token_id", "pretraining_tp", "problem_type",
    "quantization", "quantization_config", "resid_pdrop", "return_dict", "router_aux_loss_coef",
    "router_jitter_noise", "sep_token_id", "task_specific_params", "tokenizer_class",
    "torch_dtype", "transformers_version", "unsloth_fixed", "unsloth_version", "use_cache",
    "video_token_id", "vision_config", "vision_end_token_id", "vision_start_token_id",
};

/* Positions of text are the same in all sections of mrope. */
static const char *const harmless_rope[] = { "mrope_interleaved", "mrope_section" };

static bool is_among(const char *key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], key) == 0)
            return true;
    return false;
}

struct place {
    const char *name;                   /* "text_config." */
    const char *const *harmless;
    size_t n_harmless;
    bool (*reads)(const char *key);
};

/* null is the default, and what begins with _ is the library's own. */
static bool add_unread(const cJSON *object, const struct place *in,
                       bool (*add)(void *user, const char *name), void *user)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        char name[NAME_BYTES];
        if (cJSON_IsNull(item) || item->string[0] == '_' || in->reads(item->string)
            || is_among(item->string, in->harmless, in->n_harmless))
            continue;
        snprintf(name, sizeof name, "%s%s", in->name, item->string);
        if (!add(user, name))
            return false;
    }
    return true;
}

bool config_unread_each(const cJSON *root, bool (*add)(void *user, const char *name), void *user)
{
    const cJSON *text = json_get_value(root, "text_config");
    struct place in = { text ? "text_config." : "", harmless, sizeof harmless / sizeof *harmless,
                        config_reads };
    if (!text)
        text = root;
    if (!add_unread(text, &in, add, user))
        return false;
    in = (struct place){ "", harmless_rope, sizeof harmless_rope / sizeof *harmless_rope,
                         config_reads_rope };
    static const char *const ropes[] = { "rope_parameters", "rope_scaling" };
    for (size_t i = 0; i < sizeof ropes / sizeof *ropes; i++) {
        char name[NAME_BYTES];
        snprintf(name, sizeof name, "%s.", ropes[i]);
        in.name = name;
        if (!add_unread(json_get_value(text, ropes[i]), &in, add, user))
            return false;
    }
    return true;
}
