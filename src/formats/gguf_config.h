/* gguf_config.h - a config.json made of a GGUF's metadata, as config.h reads it.
 *
 * Keys: llama.cpp's gguf-py/gguf/constants.py, of the architectures qwen35 and qwen35moe.  What the
 * metadata says otherwise: a tied head by the lack of output.weight, the size of the vocabulary by
 * token_embd.  rms_norm_eps and rope_theta are the f32 that the file has.  Keys of the architecture
 * that are not known go into the config under their own names, so that `inspect` lists them as not
 * read; those that would change the result are refused. */
#ifndef SURPRISAL_FORMATS_GGUF_CONFIG_H
#define SURPRISAL_FORMATS_GGUF_CONFIG_H

#include "base/gguf.h"
#include "base/json.h"

/* What a tensor of the whole model is called. */
#define GGUF_CONFIG_EMBEDDING "token_embd.weight"
#define GGUF_CONFIG_HEAD "output.weight"

/* parts [n]: the files of a split, the first with the metadata.  Gives an object to be printed (its
 * numbers are text); NULL with the reason. */
cJSON *gguf_config_make(const struct gguf *parts, size_t n, struct error *err);

#endif
