/* input_files.h - what a job reads: its results are written over none of it, and it stays as it is.
 *
 * A file is known by its stamp: device, inode, size, time of the last change.  When a later look finds
 * another one, what was read may be half of the old file and half of the new.  When only the time of
 * the inode's change is new (a rename, new rights, but also a write whose time was set back), the bytes
 * decide: they are hashed again.  Folders count for refusals only. */
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
    bool is_mapped;                     /* large; its bytes are hashed by whoever reads them */
    struct digest digest;               /* SHA-256 of the bytes; of files that are not mapped */
};

/* Zero-initialise; release with input_files_free. */
struct input_files {
    struct input_file *list;            /* owned [n] */
    size_t n, capacity;
};

void input_files_free(struct input_files *in);

/* Adds what stands at `path` now: call it before the file is read.  A file is read and hashed.  NULL,
 * "-", nothing and what is neither file nor folder are left out; the reader refuses what it must. */
bool input_files_add(struct input_files *in, const char *path, struct error *err);
/* Adds what stands at `path` for refusals alone; of a folder also the files in it, and in the folders in
 * it, whose names say that they are data. */
bool input_files_add_names(struct input_files *in, const char *path, struct error *err);
/* input_files_add of folder/name. */
bool input_files_add_in(struct input_files *in, const char *folder, const char *name,
                        struct error *err);
/* Adds a file as it was when it was mapped. */
bool input_files_add_mapped(struct input_files *in, const struct mapped_file *f, struct error *err);
/* Adds all that `from` lists. */
bool input_files_add_all(struct input_files *in, const struct input_files *from, struct error *err);

/* Refuses an output file at `real` (links followed; `path`, as the user wrote it) that is an input. */
bool input_files_refuse(const struct input_files *in, const char *real, const char *path,
                        struct error *err);
/* Refuses a folder to write that is an input folder, lies in one, or holds an input.  path: where it
 * stands or will; its parent exists. */
bool input_files_refuse_folder(const struct input_files *in, const char *path, struct error *err);

/* Are a mapped file's bytes what they were when they were read? */
struct input_files_again {
    bool (*same)(void *user, const char *path, bool *same, struct error *err);
    void *user;
    bool of_all;                        /* one answer holds for all mapped files: same is asked once a check */
};

/* Compares all files with their stamps; the first one that was changed is an error that names it.  One
 * whose inode alone was changed is hashed again: equal bytes are a warning, and the stamp is renewed.
 * again NULL: a mapped file with a new inode time counts as changed. */
bool input_files_check(struct input_files *in, const struct input_files_again *again,
                       const struct progress *progress, struct error *err);

#endif
