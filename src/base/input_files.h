/* input_files.h - the files that a job reads: results must not overwrite them, and they must not
 * change.
 *
 * A file is identified by its stamp: device, inode, size, time of the last change.  If the stamp is
 * another one later, the job may have read half of the old file and half of the new.  If only the
 * inode's change time is new (a rename, new rights, but also a write whose time was set back), the
 * bytes decide: they are hashed again.  Folders matter for refusals only. */
#ifndef SURPRISAL_BASE_INPUT_FILES_H
#define SURPRISAL_BASE_INPUT_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"

struct input_file {
    char *path;                         /* owned */
    struct file_stamp stamp;
    bool is_folder;
    bool is_mapped;                     /* large; its reader hashes the bytes */
    struct digest digest;               /* SHA-256 of the bytes, unless mapped */
};

/* Zero-initialise; release with input_files_free. */
struct input_files {
    struct input_file *list;            /* owned [n] */
    size_t n, capacity;
};

void input_files_free(struct input_files *in);

/* Adds the file or folder that `path` names now; call it before the file is read.  A file is read
 * and hashed.  NULL, "-", a missing file, and anything but a file or folder are skipped: refusing
 * them is up to the reader. */
bool input_files_add(struct input_files *in, const char *path, struct error *err);
/* Adds the file or folder at `path` for refusals only; of a folder also the data files (by their
 * names) in it and one level below. */
bool input_files_add_names(struct input_files *in, const char *path, struct error *err);
/* input_files_add of folder/name. */
bool input_files_add_in(struct input_files *in, const char *folder, const char *name,
                        struct error *err);
/* Adds a file with the stamp that it had when it was mapped. */
bool input_files_add_mapped(struct input_files *in, const struct mapped_file *f, struct error *err);
/* Adds all that `from` lists. */
bool input_files_add_all(struct input_files *in, const struct input_files *from, struct error *err);

/* Refuses to write the file `real` if it is an input.  real: links followed; path: as the user
 * wrote it. */
bool input_files_refuse(const struct input_files *in, const char *real, const char *path,
                        struct error *err);
/* Refuses to write a folder that is an input folder, lies in one, or holds an input.  The folder
 * may not exist yet, but its parent does. */
bool input_files_refuse_folder(const struct input_files *in, const char *path, struct error *err);

/* Does a mapped file still have the bytes that were read? */
struct input_files_again {
    bool (*same)(void *user, const char *path, bool *same, struct error *err);
    void *user;
    bool of_all;                        /* one answer is for all mapped files: asked once a check */
};

/* Compares all files with their stamps; the error names the first one that has changed.  A file
 * with only a new inode time is hashed again: if the bytes are equal, this warns and renews the
 * stamp.  again NULL: a mapped file with a new inode time counts as changed. */
bool input_files_check(struct input_files *in, const struct input_files_again *again,
                       const struct progress *progress, struct error *err);

#endif
