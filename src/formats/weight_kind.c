#include "formats/weight_kind.h"

#include <string.h>

static const char *const names[TENSOR_KINDS] = {
    [WEIGHT_EMBED_TOKENS] = "embed_tokens",
    [WEIGHT_LM_HEAD] = "lm_head",
    [WEIGHT_ATTENTION] = "self_attn projections",
    [WEIGHT_DELTA_NET] = "linear_attn projections",
    [WEIGHT_DELTA_NET_STATE] = "conv1d, A_log, dt_bias",
    [WEIGHT_NORM] = "norms",
    [WEIGHT_ROUTER] = "router (mlp.gate)",
    [WEIGHT_SHARED_EXPERT] = "shared expert",
    [WEIGHT_SHARED_EXPERT_GATE] = "shared_expert_gate",
    [WEIGHT_EXPERTS] = "routed experts",
    [WEIGHT_DENSE_MLP] = "mlp projections",
    [WEIGHT_VISUAL] = "visual",
    [WEIGHT_MTP] = "mtp",
    [WEIGHT_OTHER] = "other",
};

const char *weight_kind_name(enum weight_kind kind)
{
    return names[kind];
}

static bool starts_with(const char *s, const char *start)
{
    return strncmp(s, start, strlen(start)) == 0;
}

enum weight_kind weight_kind_outside(const char *name)
{
    static const char *const wrappers[] = { "module.", "model.", "language_model." };
    for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
        while (starts_with(name, wrappers[i]))
            name += strlen(wrappers[i]);
    return starts_with(name, "visual.") || starts_with(name, "vision_tower.") ? WEIGHT_VISUAL
         : starts_with(name, "mtp.") ? WEIGHT_MTP : WEIGHT_OTHER;
}
