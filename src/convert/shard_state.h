/* shard_state.h - which shards of a folder under construction are complete, for a later process.
 *
 * The state is in the folder's mark (base/output_folder.h): a digest of the work (layout, config,
 * settings, version, and size and time of the files that are read), and for each shard that is
 * durable a digest of its bytes (of the last one its stamp).  Neither the state nor a shard is
 * believed beyond that: one of other work is refused, and a shard with another digest, or a link in
 * its place, is no shard. */
#ifndef SURPRISAL_CONVERT_SHARD_STATE_H
#define SURPRISAL_CONVERT_SHARD_STATE_H

#include "base/digest.h"
#include "base/output_folder.h"
#include "formats/checkpoint.h"
#include "convert/layout.h"

/* What decides the bytes.  Borrows. */
struct work {
    const struct checkpoint *ck;
    const struct layout *layout;
    const char *config;                 /* text of config.json */
    struct digest settings;             /* all else */
};

/* Borrows. */
struct shard_state {
    struct output_folder *folder;
    int n_threads;                      /* that hash shards */
};

/* With `resume` goes on with what a folder that was taken over holds; without, refuses it when
 * there is a complete shard. */
bool shard_state_open(struct shard_state *s, const struct work *work, bool resume,
                      struct error *err);
/* The complete shards: an object with their names as keys. */
const cJSON *shard_state_known(const struct shard_state *s);
/* Is the file at `path` the shard of this name, as it was when it was complete? */
bool shard_state_holds(const struct shard_state *s, const char *name, const char *path);
/* The shard at `path` is durable: says so, durably.  is_last: no other shard follows, so only the
 * commit can be interrupted now.  Then the file's stamp takes the place of its digest, which would
 * cost a reading: one that was touched since, or copied, is no shard. */
bool shard_state_add(struct shard_state *s, const char *name, const char *path, bool is_last,
                     struct error *err);
/* The digest of a shard's bytes. */
bool shard_state_digest(char out[2 * DIGEST_BYTES + 1], const char *path, int n_threads,
                        struct error *err);

/* A file and no link. */
bool shard_state_is_file(const char *path, size_t *bytes);

#endif
