/* safetensors_folder.h - a folder of config.json and safetensors files, as Hugging Face has them.
 *
 * Which files: those that model.safetensors.index.json names (its weight_map decides which tensor
 * is read from which file; tensors that it does not name are stale and ignored); without an index
 * model.safetensors; else every *.safetensors in the folder by their headers, in which case one
 * name in two files is refused.  Links are followed.  An index entry is a file name without '/'.
 *
 * Where faults are collected, a tensor that the index looks for in the wrong file is taken from
 * the right one, the headers decide without a usable index, and all files are read. */
#ifndef SURPRISAL_FORMATS_SAFETENSORS_FOLDER_H
#define SURPRISAL_FORMATS_SAFETENSORS_FOLDER_H

#include "formats/checkpoint.h"

#define CHECKPOINT_INDEX "model.safetensors.index.json"
#define CHECKPOINT_SINGLE "model.safetensors"
#define CHECKPOINT_SUFFIX ".safetensors"

extern const struct checkpoint_reader safetensors_folder;

#endif
