/* temporary.h - files and folders until they get their final name, and the removal of those that
 * killed processes left.
 *
 * A temporary is called ".surprisal-" + 32 random hexadecimal digits + ".tmp": short enough for
 * every file system, and never the same on two hosts or in two processes.  Its owner holds a lock
 * (flock) on it as long as it exists.  So a temporary whose lock can be taken has lost its
 * owner. */
#ifndef SURPRISAL_BASE_TEMPORARY_H
#define SURPRISAL_BASE_TEMPORARY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/progress.h"

/* The mark of a folder under construction (output_folder.h): a JSON object with the member
 * "unfinished".  Checkpoint folders are copied without it. */
#define OUTPUT_MARK "surprisal-state.json"

enum temporary_lock {
    LOCK_TAKEN,
    LOCK_HELD,                  /* by another process, or another descriptor of this one */
    LOCK_IMPOSSIBLE,            /* the file system has no locks */
};

/* Locks the open file or folder fd, without waiting. */
enum temporary_lock temporary_lock(int fd);
/* Is fd open on the file or folder that `path` names (no link followed)?  Ask this after taking a
 * lock: the previous owner may have renamed or removed the file. */
bool temporary_is_at(int fd, const char *path);

#define TEMPORARY_NAME_BYTES 64         /* holds a temporary's name and NUL */
/* Is this the name of a temporary? */
bool temporary_is_name(const char *name);
/* Gives a new path in `folder` that does not exist. */
char *temporary_path(const char *folder, struct error *err);
/* Creates a file (folder = false) or a folder in the folder `in`, and returns its descriptor, open
 * (files for reading and writing) and locked; -1 on failure.  Gives its path in *path. */
int temporary_create(char **path, const char *in, bool folder, struct error *err);

/* Removes everything in the folder fd and below; the mark last. */
bool temporary_empty(int fd);
/* Removes from the folder `in` the temporaries of dead owners: files, empty folders, and folders
 * with our mark.  On a file system without locks they stay, and a warning names them.  Touches only
 * files of this user. */
void temporary_sweep(const char *in, const struct progress *progress);

/* Removes the file at `path` if it exists. */
bool temporary_remove(const char *path, struct error *err);
/* Makes the names in a folder durable, if the file system can. */
void temporary_sync(const char *folder);

#endif
