/* quantization_rules.h - which modules a quantization_config says are quantized.
 *
 * Each writer has lists in a language of its own: compressed-tensors config_groups.*.targets and
 * ignore; transformers' fp8 modules_to_not_convert or ignored_layers; GPTQ the keys of dynamic that
 * begin with "-:"; AWQ modules_to_not_convert; AutoRound the keys of extra_config whose bits are
 * 16; modelopt ignore or exclude_modules, and quantized_layers; Quark exclude. */
#ifndef SURPRISAL_FORMATS_QUANTIZATION_RULES_H
#define SURPRISAL_FORMATS_QUANTIZATION_RULES_H

#include "base/matrix.h"
#include "formats/checkpoint.h"
#include "formats/module_list.h"

/* What the config says of modules; the strings borrow from its JSON. */
struct quantization_rules {
    bool is_there;              /* a quantization_config */
    const struct checkpoint *ck;        /* borrowed: modules may be named as its files do, too;
                                           NULL: there are no files */
    struct module_list targets, ignore;
    uint64_t formats;           /* a bit for each enum dtype that it says packed modules have; 0: it
                                   says nothing of that */
};

/* Fills zeroed rules; config NULL: there are none. */
bool quantization_rules_fill(struct quantization_rules *r, const cJSON *config, const char *path,
                             struct error *err);
/* Whether it is MLX's, which has no quant_method: group_size and bits of all, and of modules. */
bool quantization_rules_is_mlx(const cJSON *config);

#endif
