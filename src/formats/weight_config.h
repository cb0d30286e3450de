/* weight_config.h - the little that a quantization_config decides of how stored weights are read.
 *
 * Keys: bits; weight_block_size (transformers' fp8), group_size (GPTQ, AutoRound, AWQ), and of
 * config_groups.*.weights group_size and block_structure (compressed-tensors); sym,
 * checkpoint_format (GPTQ: "gptq", which is the default, or "gptq_v2") and packing_format
 * (AutoRound); mode and group_size of all and of each module (MLX); fp6_e3m2 of
 * global_quant_config.weight.dtype (Quark). */
#ifndef SURPRISAL_FORMATS_WEIGHT_CONFIG_H
#define SURPRISAL_FORMATS_WEIGHT_CONFIG_H

#include "formats/checkpoint.h"

/* Rows or columns (axis 0, 1) that share a scale, when n of them have `count` scales: as the config
 * says where that fits; else a power of two, of which only one can fit; else n / count, if that is
 * whole.  0: nothing fits. */
size_t weight_config_block(const struct checkpoint *ck, int axis, size_t n, size_t count);
/* weight_block_size; 128 x 128 where there is none. */
void weight_config_blocks(struct matrix *m, const struct checkpoint *ck);
/* What zero points in GPTQ's layout are. */
enum zeros weight_config_zeros(const struct checkpoint *ck);
/* Whether it says that codes have so many bits, or are E3M2; for what tensors leave open. */
bool weight_config_has_bits(const struct checkpoint *ck, unsigned bits);
bool weight_config_is_e3m2(const struct checkpoint *ck);
/* Columns of a group of MLX's integers; name [n]: of the module. */
size_t weight_config_mlx_group(const struct checkpoint *ck, const char *name, size_t n);

#endif
