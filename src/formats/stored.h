/* stored.h - how a weight X.weight stands in a file: by its name, or under others.
 *
 * A packed one is the pair X.weight_packed, X.weight_scale.  A fused tensor P.experts.gate_up_proj
 * [E, 2I, D] holds the gate rows and then the up rows of each expert, P.experts.down_proj [E, D, I]
 * the down rows. */
#ifndef SURPRISAL_FORMATS_STORED_H
#define SURPRISAL_FORMATS_STORED_H

#include "formats/safetensors.h"

#define STORED_WEIGHT ".weight"
#define STORED_PACKED ".weight_packed"
#define STORED_SCALE  ".weight_scale"

bool name_ends_with(const char *name, const char *end);
/* The length of a tensor's name without ".weight". */
size_t module_name_length(const char *tensor_name);
/* BF16, F16 or F32: what a weight that is not packed may have. */
bool dtype_is_weight(enum dtype dtype);
/* The projections that each expert has in a fused tensor, in order of rows, and their number: 0 when
 * it is none, or is empty.  Whether they divide the rows is the caller's to check. */
size_t fused_projections(const char *const **names, const struct tensor *t);

#endif
