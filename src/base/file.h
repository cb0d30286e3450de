/* file.h - files in: mapped or read whole.  Files out: output_file.h. */
#ifndef SURPRISAL_BASE_FILE_H
#define SURPRISAL_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>

#include "base/error.h"
#include "base/memory.h"

/* Identifies a file, and tells whether it has changed. */
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
/* Brings bytes [offset, offset + n) into memory, from disk if needed, and waits for them.  An error
 * if the file has become shorter or cannot be read: touching such a page would kill the process. */
bool file_populate(const struct mapped_file *f, size_t offset, size_t n, struct error *err);
/* The share of these bytes that the system has in its cache, by a look at some pages. */
double file_cached_share(const struct mapped_file *f, size_t offset, size_t n);
/* Starts reading them, without waiting. */
void file_read_ahead(const struct mapped_file *f, size_t offset, size_t n);
/* Releases the pages of these bytes: the first page even if it also holds bytes before them, the
 * last one only if it holds none after them.  So releasing neighbours in ascending order releases
 * every page.  The pages no longer count as memory of this process; with `evict` the system may
 * drop them too.  The data stays valid: touching it reads it again. */
void file_release(const struct mapped_file *f, size_t offset, size_t n, bool evict);

/* Reads a regular file (or, for path "-", standard input) whole into b. */
bool file_read(struct buffer *b, const char *path, struct error *err);

/* The same for a path that the user named and that is read once: a pipe, FIFO or character device
 * will do (process substitution, /dev/stdin).  Never use it for the files of a folder: a FIFO there
 * would hang the program. */
bool file_read_input(struct buffer *b, const char *path, struct error *err);
/* Is the path one of these, or standard input? */
bool file_is_read_once(const char *path);

/* Gives what a link points at, as it is written there; *target NULL: the path is no link. */
bool file_link_target(char **target, const char *path, struct error *err);

bool file_exists(const char *path);
bool file_is_directory(const char *path);
/* What follows the last slash of a path. */
const char *file_last_part(const char *path);
/* Gives "folder/name". */
char *file_join(const char *folder, const char *name, struct error *err);

/* Gives the names of a folder's entries that end in suffix ("" for all) and do not begin with a
 * dot, sorted by byte; file_list_free also after a failure. */
bool file_list(char ***names, size_t *n_names, const char *folder, const char *suffix,
               struct error *err);
/* The same for all files in a folder and in the folders below it, as "folder/name"; hidden files
 * are included, hidden folders are not.  Links to folders, and folders that may not be read, are
 * listed but not entered. */
bool file_list_below(char ***names, size_t *n_names, const char *folder, struct error *err);
void file_list_free(char **names, size_t n_names);

#endif
