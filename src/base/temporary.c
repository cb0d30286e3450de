#include "base/temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define RANDOM_BYTES 16
#define MARK_BYTES_READ 64              /* enough: marks begin with their folder */

static const char prefix[] = ".surprisal-", suffix[] = ".tmp";

/* ---- locks --------------------------------------------------------------------- */

enum temporary_lock temporary_lock(int fd)
{
    int failed;
    do
        failed = flock(fd, LOCK_EX | LOCK_NB);
    while (failed && errno == EINTR);
    return !failed ? LOCK_TAKEN : errno == EWOULDBLOCK ? LOCK_HELD : LOCK_IMPOSSIBLE;
}

bool temporary_is_at(int fd, const char *path)
{
    struct stat open_one, named;
    return fstat(fd, &open_one) == 0 && lstat(path, &named) == 0
        && open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

/* ---- names --------------------------------------------------------------------- */

bool temporary_is_name(const char *name)
{
    size_t n = strlen(prefix), digits = 2 * RANDOM_BYTES;
    return strncmp(name, prefix, n) == 0 && strspn(name + n, "0123456789abcdef") == digits
        && strcmp(name + n + digits, suffix) == 0;
}

char *temporary_path(const char *folder, struct error *err)
{
    unsigned char random[RANDOM_BYTES];
    char name[sizeof prefix + 2 * RANDOM_BYTES + sizeof suffix];
    size_t n = strlen(prefix);
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        error_set(err, "%s: no random name for a temporary: %s", folder, error_reason(errno));
        return NULL;
    }
    memcpy(name, prefix, n);
    for (size_t i = 0; i < sizeof random; i++, n += 2)
        snprintf(name + n, 3, "%02x", random[i]);
    strcpy(name + n, suffix);
    return file_join(folder, name, err);
}

/* Creates and opens it; *made: path now exists and is ours. */
static int make(const char *path, bool folder, bool *made)
{
    if (!folder) {
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        *made = fd >= 0;
        return fd;
    }
    *made = mkdir(path, 0777) == 0;
    return *made ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
}

int temporary_create(char **path, const char *in, bool folder, struct error *err)
{
    for (;;) {
        bool made;
        if (!(*path = temporary_path(in, err)))
            return -1;
        int fd = make(*path, folder, &made);
        int why = errno;
        /* A sweep may have removed it before it was locked: then try again. */
        bool ours = fd >= 0 && temporary_lock(fd) != LOCK_HELD && temporary_is_at(fd, *path);
        if (ours)
            return fd;
        bool again = fd >= 0 || (made && why == ENOENT) || (!made && why == EEXIST);
        if (fd >= 0)
            close(fd);
        else if (!again) {
            error_set(err, "%s", error_reason(why));
            if (made)
                rmdir(*path);
        }
        free(*path);
        *path = NULL;
        if (!again)
            return -1;
    }
}

/* ---- removing ------------------------------------------------------------------- */

/* Removes everything in a folder and below, except its own entry `keep`. */
static bool empty(int folder, const char *keep)
{
    int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    bool ok = d != NULL;
    for (const struct dirent *e; d && (e = readdir(d));) {
        const char *name = e->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || (keep && strcmp(name, keep) == 0)
            || unlinkat(folder, name, 0) == 0)
            continue;
        int below = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        ok = below >= 0 && empty(below, NULL) && unlinkat(folder, name, AT_REMOVEDIR) == 0 && ok;
        if (below >= 0)
            close(below);
    }
    if (d)
        closedir(d);
    else if (again >= 0)
        close(again);
    return ok;
}

bool temporary_empty(int fd)
{
    return empty(fd, OUTPUT_MARK) && (unlinkat(fd, OUTPUT_MARK, 0) == 0 || errno == ENOENT);
}

bool temporary_remove(const char *path, struct error *err)
{
    return unlink(path) == 0 || errno == ENOENT
        || error_set(err, "%s: cannot remove: %s", path, error_reason(errno));
}

void temporary_sync(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

/* ---- sweeping --------------------------------------------------------------------- */

/* Does `folder` hold a folder under construction with this inode? */
static bool holds_unfinished(const char *folder, ino_t inode)
{
    static const char end[] = ".partial";
    DIR *d = opendir(folder);
    bool holds = false;
    for (const struct dirent *e; d && !holds && (e = readdir(d));) {
        size_t n = strlen(e->d_name), n_end = strlen(end);
        holds = e->d_ino == inode && n > n_end && strcmp(e->d_name + n - n_end, end) == 0;
    }
    if (d)
        closedir(d);
    return holds;
}

/* Is fd the mark of an unfinished folder in `in`, moved beside it by a commit that was killed
 * (output_folder.c, leave)? */
static bool is_mark_of_folder_in(int fd, const char *in)
{
    char text[MARK_BYTES_READ + 1];
    unsigned long long inode;
    ssize_t n = pread(fd, text, MARK_BYTES_READ, 0);
    text[n > 0 ? n : 0] = '\0';
    return sscanf(text, "{\"folder\":\"%llu\"", &inode) == 1 && holds_unfinished(in, (ino_t)inode);
}

/* An empty folder: its process was killed before it wrote the mark. */
static void remove_folder(int fd, const char *path)
{
    if (rmdir(path) != 0 && faccessat(fd, OUTPUT_MARK, F_OK, AT_SYMLINK_NOFOLLOW) == 0
        && temporary_empty(fd))
        rmdir(path);
}

static void sweep_one(const char *in, const char *path, const struct progress *progress)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return;
    bool ours = fstat(fd, &st) == 0 && st.st_uid == geteuid()
             && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode));
    enum temporary_lock lock = ours ? temporary_lock(fd) : LOCK_HELD;
    if (lock == LOCK_IMPOSSIBLE) {
        struct error line = { 0 };
        error_set(&line, "%s: a temporary, perhaps of a killed run; this file system has no locks "
                  "to tell: remove it when no run is at work", path);
        if (progress && progress->warn)
            progress->warn(progress->user, line.message);
    } else if (lock == LOCK_TAKEN && temporary_is_at(fd, path)) {
        if (S_ISDIR(st.st_mode))
            remove_folder(fd, path);
        else if (!is_mark_of_folder_in(fd, in))
            unlink(path);
    }
    close(fd);
}

void temporary_sweep(const char *in, const struct progress *progress)
{
    DIR *d = opendir(in);
    for (const struct dirent *e; d && (e = readdir(d));) {
        char *path = temporary_is_name(e->d_name) ? file_join(in, e->d_name, NULL) : NULL;
        if (path)
            sweep_one(in, path, progress);
        free(path);
    }
    if (d)
        closedir(d);
}
