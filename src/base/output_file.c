#include "base/output_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/temporary.h"

#define MOST_LINKS 40                   /* in a chain: the limit of Linux */

/* ---- where a path leads ------------------------------------------------------------ */

/* Gives the folder part of a path, "." when there is none. */
static char *folder_of(const char *path, struct error *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_string(".", err);
    char *folder = mem_string(path, err);
    if (folder)
        folder[slash == path ? 1 : slash - path] = '\0';
    return folder;
}

/* Gives the path with its folder resolved.  The folder must exist; the file need not. */
static char *with_real_folder(const char *path, struct error *err)
{
    char *folder = folder_of(path, err);
    char *real = folder ? realpath(folder, NULL) : NULL;
    if (folder && !real)
        error_set(err, "%s: cannot be written: %s", path, error_reason(errno));
    char *whole = real ? file_join(real, file_last_part(path), err) : NULL;
    free(folder);
    free(real);
    return whole;
}

/* Gives the target of a link; a relative one starts from the link's folder. */
static char *read_link(const char *link, struct error *err)
{
    char name[PATH_MAX];
    ssize_t n = readlink(link, name, sizeof name - 1);
    if (n < 0) {
        error_set(err, "%s: %s", link, error_reason(errno));
        return NULL;
    }
    name[n] = '\0';
    if (name[0] == '/')
        return mem_string(name, err);
    char *folder = folder_of(link, err), *path = folder ? file_join(folder, name, err) : NULL;
    free(folder);
    return path;
}

static bool is_link(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

/* The descriptor of this process that a path below /proc names; -1: none. */
static int own_descriptor(const char *path)
{
    long process;
    int number, used = 0;
    bool named = sscanf(path, "/proc/%ld/fd/%d%n", &process, &number, &used) == 2 && !path[used];
    return named && process == (long)getpid() ? number : -1;
}

/* Gives the path of the file itself, which need not exist: links are followed.  A link to a
 * descriptor of this process is not: it means the open file, not a name. */
static char *resolve(const char *path, struct error *err)
{
    char *at = with_real_folder(path, err);
    for (int links = 0; at && is_link(at) && own_descriptor(at) < 0; links++) {
        char *next = links < MOST_LINKS ? read_link(at, err) : NULL;
        if (links == MOST_LINKS)
            error_set(err, "%s: %s", path, error_reason(ELOOP));
        free(at);
        at = next ? with_real_folder(next, err) : NULL;
        free(next);
    }
    return at;
}

/* ---- opening ------------------------------------------------------------------------- */

/* For anything but a regular file: bytes are collected in memory and poured out at the commit. */
static bool open_stream(struct output_file *f, const char *real, struct error *err)
{
    int own = own_descriptor(real);
    f->stream = own >= 0 ? fcntl(own, F_DUPFD_CLOEXEC, 3)
                         : open(real, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    if (f->stream < 0)
        return error_set(err, "%s: cannot be written: %s", f->path, error_reason(errno));
    f->fd = memfd_create("surprisal", MFD_CLOEXEC);
    return f->fd >= 0
        || error_set(err, "%s: no memory for its bytes: %s", f->path, error_reason(errno));
}

static bool open_temporary(struct output_file *f, mode_t mode, struct error *err)
{
    struct error why = { 0 };
    char *folder = folder_of(f->target, err);
    if (!folder)
        return false;
    f->fd = temporary_create(&f->temporary, folder, false, &why);
    free(folder);
    if (f->fd < 0)
        return error_set(err, "%s: cannot be written: %s", f->path, why.message);
    if (mode)                           /* keep that of the replaced file */
        fchmod(f->fd, mode);
    return true;
}

bool output_file_create(struct output_file *f, const char *path, struct error *err)
{
    struct stat st;
    size_t n = strlen(path);
    *f = (struct output_file){ .fd = -1, .stream = -1 };
    char *real = NULL;
    bool ok = (f->path = mem_string(path, err)) && (real = resolve(path, err));
    bool there = ok && stat(real, &st) == 0;
    if (ok && ((there && S_ISDIR(st.st_mode)) || !n || path[n - 1] == '/'))
        ok = error_set(err, "%s: is a directory, expected a file to write", path);
    if (ok && there && (!S_ISREG(st.st_mode) || own_descriptor(real) >= 0))
        ok = open_stream(f, real, err);
    else if (ok) {
        f->target = real;
        real = NULL;
        ok = open_temporary(f, there ? st.st_mode & 07777 : 0, err);
    }
    free(real);
    if (!ok)
        output_file_abandon(f);
    return ok;
}

/* Creates the file with its space, and abandons it. */
static bool try_to_create(const char *path, size_t bytes, struct error *err)
{
    struct output_file f;
    if (!output_file_create(&f, path, err))
        return false;
    bool ok = !bytes || f.stream >= 0 || output_file_reserve(&f, bytes, err);
    output_file_abandon(&f);
    return ok;
}

bool output_file_try(const char *path, size_t bytes, const struct input_files *inputs,
                     const struct progress *progress, struct error *err)
{
    if (!path)
        return true;
    char *real = resolve(path, err), *folder = real ? folder_of(real, err) : NULL;
    bool ok = folder && input_files_refuse(inputs, real, path, err);
    if (ok)
        temporary_sweep(folder, progress);
    struct stat st;
    /* Do not open a FIFO here: closing it would show its reader an end. */
    if (ok && stat(real, &st) == 0 && S_ISFIFO(st.st_mode))
        ok = access(real, W_OK) == 0
          || error_set(err, "%s: cannot be written: %s", path, error_reason(errno));
    else
        ok = ok && try_to_create(path, bytes, err);
    free(folder);
    free(real);
    return ok;
}

/* O_NOFOLLOW: the folder is ours, and we create no links in it. */
static bool open_in_place(struct output_file *f, const char *path, int flags, struct error *err)
{
    *f = (struct output_file){ .fd = -1, .stream = -1, .path = mem_string(path, err) };
    if (!f->path)
        return false;
    f->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0666);
    if (f->fd >= 0)
        return true;
    error_set(err, "%s: cannot %s: %s", path, flags & O_CREAT ? "create" : "open",
              error_reason(errno));
    output_file_abandon(f);
    return false;
}

bool output_file_create_in_place(struct output_file *f, const char *path, struct error *err)
{
    return open_in_place(f, path, O_CREAT | O_EXCL, err);
}

bool output_file_reopen(struct output_file *f, const char *path, size_t size, struct error *err)
{
    struct stat st;
    if (!open_in_place(f, path, 0, err))
        return false;
    if (fstat(f->fd, &st) == 0 && S_ISREG(st.st_mode) && (size_t)st.st_size == size)
        return true;
    error_set(err, "%s: has %lld bytes, the interrupted run's has %zu", path,
              S_ISREG(st.st_mode) ? (long long)st.st_size : 0, size);
    output_file_abandon(f);
    return false;
}

/* ---- bytes ----------------------------------------------------------------------------- */

bool output_file_reserve(struct output_file *f, size_t size, struct error *err)
{
    int failed = fallocate(f->fd, 0, 0, (off_t)size);
    if (failed && (errno == EOPNOTSUPP || errno == ENOSYS))     /* writing will find a full disk */
        failed = ftruncate(f->fd, (off_t)size);
    return !failed
        || error_set(err, "%s: cannot reserve %zu bytes: %s", f->path, size, error_reason(errno));
}

bool output_file_read_at(const struct output_file *f, size_t offset, void *bytes, size_t n,
                         struct error *err)
{
    char *p = bytes;
    while (n) {
        ssize_t got = pread(f->fd, p, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set(err, "%s: cannot read: %s", f->path,
                             got < 0 ? error_reason(errno) : "it ends early");
        p += got;
        offset += (size_t)got;
        n -= (size_t)got;
    }
    return true;
}

bool output_file_sync(struct output_file *f, struct error *err)
{
    return fsync(f->fd) == 0
        || error_set(err, "%s: cannot write: %s", f->path, error_reason(errno));
}

#define MANY_BYTES ((size_t)1 << 18)

bool output_file_write_at(struct output_file *f, size_t offset, const void *bytes, size_t n,
                          struct error *err)
{
    const char *p = bytes;
    bool many = n >= MANY_BYTES;
    while (n) {
        ssize_t done = pwrite(f->fd, p, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return error_set(err, "%s: cannot write: %s", f->path,
                             done < 0 ? error_reason(errno) : "no progress");
        p += done;
        offset += (size_t)done;
        n -= (size_t)done;
    }
    if (many)                                   /* only a hint: failure is harmless */
        sync_file_range(f->fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return true;
}

/* ---- the end --------------------------------------------------------------------------- */

/* Writes all bytes to the device, in order. */
static bool pour(const struct output_file *f, struct error *err)
{
    char piece[1 << 16];
    ssize_t got;
    for (off_t at = 0; (got = pread(f->fd, piece, sizeof piece, at)) > 0; at += got)
        for (ssize_t from = 0; from < got;) {
            ssize_t done = write(f->stream, piece + from, (size_t)(got - from));
            if (done < 0 && errno == EINTR)
                continue;
            if (done <= 0)
                return error_set(err, "%s: cannot write: %s", f->path,
                                 done < 0 ? error_reason(errno) : "no progress");
            from += done;
        }
    return got == 0 || error_set(err, "%s: cannot read back: %s", f->path, error_reason(errno));
}

static bool give_name(struct output_file *f, struct error *err)
{
    if (!output_file_sync(f, err))
        return false;
    if (!f->temporary)
        return true;
    if (rename(f->temporary, f->target) != 0)
        return error_set(err, "%s: cannot rename: %s", f->path, error_reason(errno));
    free(f->temporary);
    f->temporary = NULL;
    char *folder = folder_of(f->target, NULL);
    if (folder)
        temporary_sync(folder);
    free(folder);
    return true;
}

bool output_file_commit(struct output_file *f, struct error *err)
{
    bool ok = f->stream >= 0 ? pour(f, err) : give_name(f, err);
    output_file_abandon(f);
    return ok;
}

void output_file_abandon(struct output_file *f)
{
    if (f->temporary)
        unlink(f->temporary);           /* while we still hold the lock */
    if (f->fd >= 0)
        close(f->fd);
    if (f->stream >= 0)
        close(f->stream);
    free(f->temporary);
    free(f->target);
    free(f->path);
    *f = (struct output_file){ .fd = -1, .stream = -1 };
}

bool output_file_write(const char *path, const void *bytes, size_t n, struct error *err)
{
    struct output_file f;
    if (!output_file_create(&f, path, err))
        return false;
    if (!output_file_write_at(&f, 0, bytes, n, err)) {
        output_file_abandon(&f);
        return false;
    }
    return output_file_commit(&f, err);
}
