/* safetensors_folder.h - a folder of config.json and safetensors files, as Hugging Face has them.
 *
 * Which files: those that model.safetensors.index.json names (its weight_map decides which tensor
 * is read from which file; tensors that it does not name are stale and ignored); without an index
 * model.safetensors; else every *.safetensors in the folder by their headers, in which case one
 * name in two files is refused.  Where both an index and a model.safetensors that it does not name
 * are there, which of the two is read is a note of the checkpoint: the index, unless files that it
 * names are missing; the path of one of the two in place of the folder's picks it.  Links are
 * followed.  An index entry is a plain file name: no '/' in it.
 *
 * Where faults are collected: a tensor that the index looks for in the wrong file is taken from the
 * right one, without a usable index the headers decide, and all files of the folder are read. */
#ifndef SURPRISAL_FORMATS_SAFETENSORS_FOLDER_H
#define SURPRISAL_FORMATS_SAFETENSORS_FOLDER_H

#include "formats/checkpoint.h"

#define CHECKPOINT_INDEX "model.safetensors.index.json"
#define CHECKPOINT_SINGLE "model.safetensors"
#define CHECKPOINT_SUFFIX ".safetensors"

extern const struct checkpoint_reader safetensors_folder;

#endif
