/* checkpoint.h - a checkpoint folder: config.json and the safetensors files beside it.
 *
 * Which files: those that model.safetensors.index.json names (its weight_map decides which tensor
 * is read from which file; tensors that it does not name are stale and ignored, counted in
 * n_stale); without an index model.safetensors; else every *.safetensors in the folder by their
 * headers, in which case one name in two files is refused.  Links are followed.  An index entry
 * is a plain file name: no '/' in it.  Headers are read, data only mapped. */
#ifndef SURPRISAL_FORMATS_CHECKPOINT_H
#define SURPRISAL_FORMATS_CHECKPOINT_H

#include "base/digest.h"
#include "base/input_files.h"
#include "base/progress.h"
#include "formats/config.h"
#include "formats/safetensors.h"

#define CHECKPOINT_INDEX "model.safetensors.index.json"
#define CHECKPOINT_SINGLE "model.safetensors"
#define CHECKPOINT_SUFFIX ".safetensors"

struct checkpoint {
    char *path;                         /* owned: the folder as given */
    struct config config;               /* owned */
    cJSON *config_json;                 /* owned: the whole config.json */
    struct digest config_digest;        /* SHA-256 of config.json's bytes */
    struct safetensors_file *files;     /* owned [n_files] */
    size_t n_files;
    const struct tensor **tensors;      /* owned [n_tensors]; sorted by name; borrow from files */
    size_t n_tensors;
    size_t n_stale;                     /* in the files but not named by the index */
};

bool checkpoint_open(struct checkpoint *ck, const char *path, struct error *err);
void checkpoint_close(struct checkpoint *ck);
/* Lists what checkpoint_open reads (base/input_files.h): the folder and the files in it that it reads
 * whole, before it is opened; */
bool checkpoint_list_folder(struct input_files *in, const char *path, struct error *err);
/* and then the files of weights, as they were when they were opened. */
bool checkpoint_list_weights(struct input_files *in, const struct checkpoint *ck, struct error *err);
/* The file in whose mapping data stands; NULL when it stands in none. */
const struct mapped_file *checkpoint_file_of(const struct checkpoint *ck, const uint8_t *data);
/* By its full name; NULL when there is none. */
const struct tensor *checkpoint_find(const struct checkpoint *ck, const char *name);

#endif
