/* layout.h - what a new checkpoint will hold: its tensors, the shard of each, and from
 * which module its bytes come.  Nothing is read yet. */
#ifndef SURPRISAL_CONVERT_LAYOUT_H
#define SURPRISAL_CONVERT_LAYOUT_H

#include "formats/safetensors.h"
#include "formats/weight_list.h"

enum task_action {
    TASK_COPY,   /* the module's bytes as they are */
    TASK_PACK,   /* to MXFP4: codes into `tensor`, scales into the one after it */
    TASK_EXPAND, /* to BF16 */
};

struct task {
    const struct listed_weight *module;
    enum task_action action;
    size_t tensor;                  /* in the layout */
    size_t offset;                  /* bytes into it: a part of a fused tensor */
};

struct new_tensor {
    struct safetensors_entry entry;
    char *name;                     /* owned: entry.name */
    size_t n_bytes;
    bool has_scale;                 /* the next one has its scales, in the same shard */
    size_t shard, place;            /* place: among the tensors of the shard's file */
};

struct layout {
    struct new_tensor *tensors;     /* owned [n_tensors] */
    size_t n_tensors, tensors_capacity;
    struct task *tasks;             /* owned [n_tasks]; in the order of the files that are read */
    size_t n_tasks, tasks_capacity;
    size_t n_shards;
    size_t bytes;                   /* of all tensors */
};

/* Pointers to modules in the order of their bytes in the files; free() it. */
const struct listed_weight **layout_reading_order(const struct weight_list *m, struct error *err);

/* *index: of the new tensor.  The name is copied, `suffix` appended to its first n bytes. */
bool layout_add_tensor(struct layout *l, size_t *index, const char *name, size_t n,
                       const char *suffix, enum dtype dtype, size_t ndim, const size_t *shape,
                       struct error *err);
bool layout_add_task(struct layout *l, const struct task *task, struct error *err);
/* Spreads the tensors over shards of at most shard_bytes, headers included (or one tensor that is
 * larger), when all have been added.  In a shard those of the largest
 * elements come first, so that each is aligned to its own (torch cannot read others). */
bool layout_finish(struct layout *l, size_t shard_bytes, struct error *err);
void layout_free(struct layout *l);

#define SHARD_NAME_BYTES 64
/* "model-00001-of-00003.safetensors" for shard 0. */
void layout_shard_name(char out[SHARD_NAME_BYTES], const struct layout *l, size_t shard);
/* The tensors of a shard in the order of its file: gives an array of entries, *n of them. */
struct safetensors_entry *layout_entries(size_t *n, const struct layout *l, size_t shard,
                                         struct error *err);

#endif
