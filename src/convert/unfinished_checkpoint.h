/* unfinished_checkpoint.h - writes a checkpoint folder, shard by shard, so that a kill costs at
 * most one.
 *
 * The folder is built as OUT.partial (base/output_folder.h).  Shards that an earlier process
 * completed there are taken over (shard_state.h).  What else it left is removed; a name that is
 * none of ours is refused. */
#ifndef SURPRISAL_CONVERT_UNFINISHED_CHECKPOINT_H
#define SURPRISAL_CONVERT_UNFINISHED_CHECKPOINT_H

#include "base/input_files.h"
#include "base/output_folder.h"
#include "convert/quantize.h"
#include "convert/shard_state.h"
#include "convert/stream.h"

struct unfinished_checkpoint {
    /* Set by the caller; borrowed. */
    const char *path;
    struct work work;                   /* the other files of its checkpoint are copied */
    bool resume;
    const struct progress *progress;
    const struct new_text *texts;       /* written too, the last without a name; NULL: none */

    struct input_files *inputs;         /* borrowed: all that is read, but the other files */

    struct output_folder folder;        /* owned */
    struct shard_state state;
    size_t bytes;                       /* of all files */
    size_t kept;                        /* shards of an earlier process */
};

/* Everything: opens the folder, writes shards by `s`, then index, config and the other files, and
 * gives the folder its name.  What was interrupted stays for `resume`, when a shard is complete. */
bool unfinished_checkpoint_write(struct unfinished_checkpoint *f, struct stream *s,
                                 struct error *err);

/* Refuses an OUT that exists, or that is, holds or lies in an input. */
bool unfinished_checkpoint_check(const char *path, const struct input_files *inputs,
                                 struct error *err);

#endif
