/* gguf_names.h - what the tensors of a GGUF are called here, and how they are stored otherwise.
 *
 * Names are those of llama.cpp (gguf-py/gguf/constants.py) for qwen35 and qwen35moe; what its
 * converter does to each tensor is in conversion/qwen.py: norms are 1 + w (the delta net's is not),
 * ssm_a is -exp(A_log), value heads are in another order, the convolution's dimension of 1 is gone,
 * experts are stacked.  A stack is read as a tensor for each expert, and attn_qkv of a full layer
 * as one for each of q, k and v: all are whole rows. */
#ifndef SURPRISAL_FORMATS_GGUF_NAMES_H
#define SURPRISAL_FORMATS_GGUF_NAMES_H

#include "base/gguf.h"
#include "formats/config.h"

#define GGUF_NAMES_BYTES ((size_t)128)  /* of any name, with its end */

/* Where value heads are: rows behind others, rows, one row a head, one column a head, columns. */
enum gguf_heads { GGUF_NONE, GGUF_CHANNELS, GGUF_ROWS, GGUF_ONE_ROW, GGUF_ONE_COL, GGUF_COLS,
                  GGUF_HEADS };

/* A tensor of the model's: rows of a tensor of the file. */
struct gguf_name {
    char name[GGUF_NAMES_BYTES];
    size_t first, rows;                 /* of all rows of the file's, stacks included */
    enum gguf_heads heads;
    bool one_added, is_rate;
    bool is_convolution, is_row;        /* [C, K] is [C, 1, K]; [D] is [1, D] */
};

/* Calls take for each; a tensor that is no part of this model is refused. */
bool gguf_names_each(const struct gguf *g, const struct gguf_tensor *t, const struct config *c,
                     bool (*take)(void *user, const struct gguf_name *name, struct error *err),
                     void *user, struct error *err);

#endif
