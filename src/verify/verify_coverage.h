/* verify_coverage.h - what quantization_config says, against what is packed. */
#ifndef SURPRISAL_VERIFY_VERIFY_COVERAGE_H
#define SURPRISAL_VERIFY_VERIFY_COVERAGE_H

#include "verify/verify_folder.h"

/* Each linear targeted and packed, or ignored and not packed, as compressed-tensors and vLLM
 * resolve names.  vLLM makes one module of q, k, v_proj (qkv_proj), of gate and up_proj
 * (gate_up_proj), of in_proj_qkv and in_proj_z (in_proj_qkvz), of in_proj_b and in_proj_a
 * (in_proj_ba), and of all experts of a layer: their parts must agree, and a target may name the
 * merged module. vLLM also calls the modules of a multimodal checkpoint otherwise
 * ("model.language_model." is its "language_model.model."), and translates the config's names, but
 * not its patterns: a pattern that matches only the name in the files is a note. (vllm,
 * quantization/compressed_tensors/utils.py: should_ignore_layer, find_matched_target;
 * models/qwen3_5.py: packed_modules_mapping, hf_to_vllm_mapper) */
bool verify_coverage(const struct verify_folder *f, const struct weight_list *w,
                     struct findings *found, struct error *err);

#endif
