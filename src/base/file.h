/* file.h - files in: mapped or read whole.  Files out: output_file.h. */
#ifndef SURPRISAL_BASE_FILE_H
#define SURPRISAL_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "error.h"
#include "memory.h"

/* What tells a file from another one, and from itself before it was changed. */
struct file_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec mtime, ctime;
};

struct file_stamp file_stamp_of(const struct stat *st);

/* A regular file mapped read-only.  Owns mapping and descriptor; data stays valid until
 * file_unmap. */
struct mapped_file {
    char *path;                 /* owned */
    const uint8_t *data;        /* NULL for an empty file */
    size_t size;
    int fd;
    struct file_stamp stamp;    /* when it was opened */
};

/* Refuses what is not a regular file (links are followed). */
bool file_map(struct mapped_file *f, const char *path, struct error *err);
void file_unmap(struct mapped_file *f);
/* Brings bytes [offset, offset + n) into memory, from disk if need be, and waits for them.  An
 * error when the file has become shorter, or cannot be read: touching it would kill the process. */
bool file_populate(const struct mapped_file *f, size_t offset, size_t n, struct error *err);
/* Starts reading them, without waiting. */
void file_read_ahead(const struct mapped_file *f, size_t offset, size_t n);
/* Gives their pages back, the first even when it holds other bytes, the last only when it does not:
 * so neighbours that are released in ascending order leave nothing behind.  The pages no longer
 * count as this process's memory; with `evict` the system need not keep them either.  The data stays
 * valid: touching it reads again. */
void file_release(const struct mapped_file *f, size_t offset, size_t n, bool evict);

/* Reads a regular file (or, for path "-", standard input) whole into b. */
bool file_read(struct buffer *b, const char *path, struct error *err);

/* The same of what a user named to be read once: a pipe, FIFO or character device will do as well
 * (process substitution, /dev/stdin).  Files of a folder are never read so: a FIFO would hang. */
bool file_read_input(struct buffer *b, const char *path, struct error *err);
/* Is it one of these, or standard input? */
bool file_is_read_once(const char *path);

bool file_exists(const char *path);
bool file_is_directory(const char *path);
/* Gives "folder/name". */
char *file_join(const char *folder, const char *name, struct error *err);

/* Gives the names of a folder's entries that end in suffix ("" for all) and do not begin with a dot,
 * sorted by byte; file_list_free also after a failure. */
bool file_list(char ***names, size_t *n_names, const char *folder, const char *suffix,
               struct error *err);
/* The same of everything but folders in a folder and those below it, as "folder/name"; hidden files
 * too, but no hidden folder.  Links to folders, and folders that may not be read, are listed and not
 * gone into. */
bool file_list_below(char ***names, size_t *n_names, const char *folder, struct error *err);
void file_list_free(char **names, size_t n_names);

#endif
