/* output_file.h - files out: they appear complete under their names, or not at all.
 *
 * Bytes go to a temporary file (temporary.h) in the same folder; the commit makes them durable and
 * renames it.  A link is followed: its target is replaced, the link stays.  Anything but a regular
 * file (a device, a FIFO, the process's own /dev/stdout) is never replaced: it is opened at once,
 * and gets all bytes in order at the commit. */
#ifndef SURPRISAL_BASE_OUTPUT_FILE_H
#define SURPRISAL_BASE_OUTPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/input_files.h"
#include "base/progress.h"

/* One of commit and abandon must be called after a successful create or open. */
struct output_file {
    char *path;                 /* owned: as the caller wrote it, for messages */
    char *target;               /* owned: replaced by the commit; NULL: nothing */
    char *temporary;            /* owned; NULL: none */
    int fd;                     /* gets the bytes */
    int stream;                 /* the device that gets the bytes at the commit; -1: none */
};

/* Until the commit, `path` does not exist or keeps its old content.  Refuses a folder. */
bool output_file_create(struct output_file *f, const char *path, struct error *err);
/* Checks, before long work, that `path` can be written, is not an input, and that its file system
 * has room for `bytes` bytes.  Changes nothing, but removes temporaries of dead processes from the
 * folder.  path NULL is fine. */
bool output_file_try(const char *path, size_t bytes, const struct input_files *inputs,
                     const struct progress *progress, struct error *err);

/* Creates a file inside a folder under construction (output_folder.h), where a later process may
 * continue it: it is written in place and stays when abandoned.  An existing file is refused. */
bool output_file_create_in_place(struct output_file *f, const char *path, struct error *err);
/* Opens a file that an earlier process left there; refused unless it has exactly `size` bytes. */
bool output_file_reopen(struct output_file *f, const char *path, size_t size, struct error *err);

/* Sets the size of the file, and reserves its space on disk if the file system can. */
bool output_file_reserve(struct output_file *f, size_t size, struct error *err);
/* Reads exactly n bytes at an offset. */
bool output_file_read_at(const struct output_file *f, size_t offset, void *bytes, size_t n,
                         struct error *err);
/* Writes n bytes at an offset; a short write (disk full) is an error that names the file.  After
 * many bytes it starts writing to disk, without waiting, so that the commit waits less. */
bool output_file_write_at(struct output_file *f, size_t offset, const void *bytes, size_t n,
                          struct error *err);
/* Makes everything written so far durable. */
bool output_file_sync(struct output_file *f, struct error *err);
bool output_file_commit(struct output_file *f, struct error *err);
void output_file_abandon(struct output_file *f);

/* Creates, writes and commits in one step. */
bool output_file_write(const char *path, const void *bytes, size_t n, struct error *err);

#endif
