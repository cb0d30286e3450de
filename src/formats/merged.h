/* merged.h - layers that vLLM makes one of: packed together, or not at all.
 *
 * q, k and v_proj become qkv_proj, gate and up_proj gate_up_proj, in_proj_qkv and in_proj_z
 * in_proj_qkvz, in_proj_b and in_proj_a in_proj_ba (vllm, models/qwen3_5.py:
 * packed_modules_mapping), and all experts of a layer are one module.  With only some parts packed
 * vLLM cannot load them. */
#ifndef SURPRISAL_FORMATS_MERGED_H
#define SURPRISAL_FORMATS_MERGED_H

#include "formats/weight_list.h"

#define MERGED_PARTS 3

struct merge {
    const char *name, *parts[MERGED_PARTS]; /* last parts of modules' names; NULL: fewer parts */
};

/* After the last dot. */
const char *merged_last_part(const char *module);
/* What a module is merged into with its siblings; NULL: nothing.  Experts are merged as a whole,
 * NULL here.  Only the first n bytes of the name count. */
const struct merge *merged_find(const char *module, size_t n);
/* The length of "....experts.", which all experts' names of a layer begin with; 0: no expert's. */
size_t merged_experts_length(const char *name);

/* How many merged modules are packed in part; *example: a weight of the first. */
size_t merged_in_part(const char **example, const struct weight_list *m, const bool *packed);

#endif
