/* mlx_layout.h - a folder that MLX wrote, as the model has it.
 *
 * MLX stacks the experts of a layer, `mlp.switch_mlp.gate_proj.X` [num_experts, ...] being
 * `mlp.experts.E.gate_proj.X`; stores convolutions as [C, K, 1]; and stores norms as 1 + w, rounded
 * to their type (mlx_lm, models/qwen3_5.py and qwen3_5_moe.py: sanitize).  The latter two go
 * together, so the layout of the convolutions tells that 1 was added.  It is believed only where
 * something else is MLX's too: another prefix of names, stacked experts, or codes in U32. */
#ifndef SURPRISAL_FORMATS_MLX_LAYOUT_H
#define SURPRISAL_FORMATS_MLX_LAYOUT_H

#include "formats/checkpoint.h"

/* After names_translate, before the tensors are sorted.  Refused are stacked experts of another
 * number than the config's num_experts. */
bool mlx_layout_translate(struct checkpoint *ck, const struct checkpoint_faults *faults,
                          struct error *err);
/* Returns in text [n] the name of the first expert of a stack; NULL: it is no stack, or the name
 * does not fit. */
const char *mlx_layout_first_expert(char *text, size_t n, const char *stacked);

#endif
