#include "eval/scratch_folder.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

char *scratch_folder_make(const char *parent, struct error *err)
{
    char *path;
    if (asprintf(&path, "%s/surprisal-compare-XXXXXX", parent) < 0) {
        error_set(err, "out of memory: a path");
        return NULL;
    }
    if (mkdtemp(path))
        return path;
    error_set(err, "%s: cannot create a temporary folder: %s", parent, error_reason(errno));
    free(path);
    return NULL;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    remove(path);
    return 0;
}

void scratch_folder_remove(char *path)
{
    if (path)
        nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(path);
}

bool scratch_folder_space(size_t *bytes, const char *folder, struct error *err)
{
    struct statvfs fs;
    if (statvfs(folder, &fs) != 0)
        return error_set(err, "%s: cannot tell its free space: %s", folder, error_reason(errno));
    *bytes = (size_t)fs.f_bavail * fs.f_frsize;
    return true;
}
