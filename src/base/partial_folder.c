#include "base/partial_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

/* Creates PATH.partial, or takes the one that is there, and locks it. */
static bool take(struct partial_folder *p, struct error *err)
{
    bool created = mkdir(p->temporary, 0777) == 0;
    if (!created && errno != EEXIST)
        return error_set(err, "%s: cannot create: %s", p->temporary, error_reason(errno));
    int folder = open(p->temporary, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder < 0)
        return error_set(err, "%s: cannot open: %s", p->temporary, error_reason(errno));
    if (flock(folder, LOCK_EX | LOCK_NB) != 0) {
        close(folder);
        return error_set(err, "%s: another run is writing it", p->temporary);
    }
    p->lock = folder;
    return true;
}

bool partial_folder_begin(struct partial_folder *p, const char *path, struct error *err)
{
    *p = (struct partial_folder){ 0 };
    struct stat st;
    if (!*path)
        return error_set(err, "the name of the folder to write is empty");
    if (lstat(path, &st) == 0)
        return error_set(err, "%s: exists already, expected a new folder", path);
    p->path = mem_string(path, err);
    if (!p->path)
        return false;
    for (size_t n = strlen(p->path); n > 1 && p->path[n - 1] == '/'; n--)
        p->path[n - 1] = '\0';
    bool ok = asprintf(&p->temporary, "%s.partial", p->path) >= 0;
    if (!ok) {
        p->temporary = NULL;
        error_set(err, "out of memory: a path");
    }
    if (ok && take(p, err))
        return true;
    partial_folder_end(p);
    return false;
}

/* rename would replace an empty folder that came into being meanwhile; where the file system
 * cannot promise not to, look first. */
static bool rename_to_place(const struct partial_folder *p, struct error *err)
{
    int failed = renameat2(AT_FDCWD, p->temporary, AT_FDCWD, p->path, RENAME_NOREPLACE);
    if (failed && (errno == EINVAL || errno == ENOSYS)) {
        struct stat st;
        failed = lstat(p->path, &st) == 0 ? (errno = EEXIST, -1) : rename(p->temporary, p->path);
    }
    return !failed || error_set(err, "%s: cannot rename to it: %s", p->path, error_reason(errno));
}

/* The new name outlives a power cut; where the file system cannot say so, it is only less sure. */
static void sync_parent(const struct partial_folder *p)
{
    char *copy = strdup(p->path);
    int parent = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (parent >= 0) {
        fsync(parent);
        close(parent);
    }
    free(copy);
}

bool partial_folder_commit(struct partial_folder *p, struct error *err)
{
    bool ok = fsync(p->lock) == 0
           || error_set(err, "%s: cannot write: %s", p->temporary, error_reason(errno));
    ok = ok && rename_to_place(p, err);
    if (ok) {
        sync_parent(p);
        free(p->temporary);
        p->temporary = NULL;
        partial_folder_end(p);
    }
    return ok;
}

void partial_folder_end(struct partial_folder *p)
{
    if (p->lock) {
        if (p->temporary)
            rmdir(p->temporary);
        close(p->lock);
    }
    free(p->temporary);
    free(p->path);
    *p = (struct partial_folder){ 0 };
}
