/* gguf_reader.h - a GGUF file, the first file of a split, or a folder with one such model, as a
 * checkpoint.
 *
 * The container is base/gguf.h, settings come from gguf_config.h, names from gguf_names.h, types
 * from kernels/ggml_blocks.h.  Value heads: with nk key heads and rep value heads for each, the
 * model's head k * rep + r is stored as the (r * nk + k)-th (conversion/qwen.py,
 * _LinearAttentionVReorderBase), of every tensor that has value heads.
 *
 * A split is NAME-00001-of-00003.gguf and so on: the first file says how many there are, each file
 * which it is; the tensors of all make the model.  A fault refuses the checkpoint, also where
 * faults are collected.  The digest of the settings is that of the config that is made. */
#ifndef SURPRISAL_FORMATS_GGUF_READER_H
#define SURPRISAL_FORMATS_GGUF_READER_H

#include "formats/checkpoint.h"

extern const struct checkpoint_reader gguf_reader;

#endif
