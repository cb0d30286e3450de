/* output_file.h - files out: complete under their names, or not at all.
 *
 * Bytes go to a temporary (temporary.h) beside the file; the commit makes them durable and renames it.
 * A link is followed: what it names is replaced, the link stays.  What is no regular file (a device, a
 * FIFO, the process's own /dev/stdout) is never replaced: it is opened at once, and gets all bytes in
 * order at the commit. */
#ifndef SURPRISAL_BASE_OUTPUT_FILE_H
#define SURPRISAL_BASE_OUTPUT_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/input_files.h"
#include "base/progress.h"

/* One of commit and abandon must be called after a successful create or open. */
struct output_file {
    char *path;                 /* owned: as the caller names it, for messages */
    char *target;               /* owned: what the commit replaces; NULL: nothing */
    char *temporary;            /* owned; NULL: there is none */
    int fd;                     /* what is written to */
    int stream;                 /* the device that gets it at the commit; -1: none */
};

/* Nothing stands at `path`, or what stood there stays, until the commit.  Refuses a folder. */
bool output_file_create(struct output_file *f, const char *path, struct error *err);
/* Can `path` be written, is it none of the inputs, and has its file system room for so many bytes?  For
 * the time before long work: nothing is changed but that temporaries of dead processes beside it go.
 * path NULL is fine. */
bool output_file_try(const char *path, size_t bytes, const struct input_files *inputs,
                     const struct progress *progress, struct error *err);

/* A file inside a folder under construction (output_folder.h), which a later process may go on with: it
 * is written in place, and an abandoned one stays.  Creates it; something there is refused. */
bool output_file_create_in_place(struct output_file *f, const char *path, struct error *err);
/* Opens the one that an earlier process left; refused unless it has exactly `size` bytes. */
bool output_file_reopen(struct output_file *f, const char *path, size_t size, struct error *err);

/* Gives the file its size, with the space on disk where the file system can reserve it. */
bool output_file_reserve(struct output_file *f, size_t size, struct error *err);
/* Reads exactly n bytes at an offset. */
bool output_file_read_at(const struct output_file *f, size_t offset, void *bytes, size_t n,
                         struct error *err);
/* Writes n bytes at an offset; a short write (disk full) is an error that names the file.  The disk
 * begins at once, without waiting, where there are many: so that the commit has less to wait for. */
bool output_file_write_at(struct output_file *f, size_t offset, const void *bytes, size_t n,
                          struct error *err);
/* Makes durable what has been written so far. */
bool output_file_sync(struct output_file *f, struct error *err);
bool output_file_commit(struct output_file *f, struct error *err);
void output_file_abandon(struct output_file *f);

/* Creates, writes and commits in one step. */
bool output_file_write(const char *path, const void *bytes, size_t n, struct error *err);

#endif
