/* temporary.h - files and folders that exist only until they get their name, and what killed processes
 * left of them.
 *
 * A temporary is called ".surprisal-" + 32 random hexadecimal digits + ".tmp": legal beside every legal
 * name, and never the same on two hosts or in two processes.  Its owner holds a lock (flock) on it for as
 * long as it exists.  So a temporary whose lock can be taken belongs to nobody any more. */
#ifndef SURPRISAL_BASE_TEMPORARY_H
#define SURPRISAL_BASE_TEMPORARY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/progress.h"

/* The mark of a folder under construction (output_folder.h): a JSON object with the member "unfinished".
 * Checkpoint folders are copied without it. */
#define OUTPUT_MARK "surprisal-state.json"

enum temporary_lock {
    LOCK_TAKEN,
    LOCK_HELD,                  /* by another process, or another descriptor of this one */
    LOCK_IMPOSSIBLE,            /* the file system has none */
};

/* Locks what fd has open, without waiting. */
enum temporary_lock temporary_lock(int fd);
/* Is what fd has open also what stands at `path` (no link followed)?  After a lock was taken it need
 * not be: the owner before may have renamed or removed it. */
bool temporary_is_at(int fd, const char *path);

#define TEMPORARY_NAME_BYTES 64         /* more than a temporary's name has */
/* The name of a temporary? */
bool temporary_is_name(const char *name);
/* Gives a new path in `folder`, at which nothing stands. */
char *temporary_path(const char *folder, struct error *err);
/* Creates a file (folder = false) or a folder there, open (files for reading and writing) and locked.
 * *path: given.  -1 on failure. */
int temporary_create(char **path, const char *in, bool folder, struct error *err);

/* Removes what is in the folder that fd has open, and below, but the mark; then the mark. */
bool temporary_empty(int fd);
/* Removes from the folder `in` the temporaries of dead owners: files, empty folders, and folders with
 * our mark.  Where the file system has no locks they stay, and are warned about by name.  Only what
 * belongs to this process's user is touched. */
void temporary_sweep(const char *in, const struct progress *progress);

/* What is at `path` is gone, or an error. */
bool temporary_remove(const char *path, struct error *err);
/* Makes the names in a folder durable; where the file system cannot, they are only less sure. */
void temporary_sync(const char *folder);

#endif
