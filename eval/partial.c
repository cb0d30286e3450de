#include "eval/partial.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "eval/run_folder.h"

static const char state_name[] = "state.safetensors";

/* "NAME.PID.tmp", which file.h writes before it renames, of a process that was killed. */
static bool is_unfinished(const char *file, const char *name)
{
    size_t n = strlen(name), end = strlen(file);
    return strncmp(file, name, n) == 0 && file[n] == '.' && end > n + 4
        && strcmp(file + end - 4, ".tmp") == 0;
}

/* Removes files that were not finished and, with `runs`, what runs have written, in a folder and (at
 * depth 1) in those below it.  Nothing else goes, and no link is followed. */
static void clear(int folder, bool runs, int depth)
{
    int again = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    for (const struct dirent *e; d && (e = readdir(d));) {
        const char *name = e->d_name;
        if (is_unfinished(name, state_name) || is_unfinished(name, RUN_SUMMARY)
            || (runs && (strcmp(name, RUN_TOKENS) == 0 || strcmp(name, RUN_SUMMARY) == 0)))
            unlinkat(folder, name, 0);
        if (depth == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        int below = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (below < 0)
            continue;
        clear(below, runs, depth - 1);
        close(below);
        if (runs)
            unlinkat(folder, name, AT_REMOVEDIR);
    }
    if (d)
        closedir(d);
}

bool partial_begin(struct partial *p, const char *path, bool resume, struct error *err)
{
    *p = (struct partial){ 0 };
    if (!partial_folder_begin(&p->building, path, err))
        return false;
    p->folder = p->building.temporary;
    p->state = file_join(p->folder, state_name, err);
    bool has_state = partial_has_state(p);
    if (p->state && (resume || !has_state)) {
        clear(p->building.lock, !has_state, 1);
        return true;
    }
    if (has_state)
        error_set(err, "%s: holds an interrupted run; --resume goes on with it, or remove it",
                  p->folder);
    partial_abandon(p);
    return false;
}

bool partial_has_state(const struct partial *p)
{
    return p->state && file_exists(p->state);
}

bool partial_commit(struct partial *p, struct error *err)
{
    bool ok = (unlink(p->state) == 0 || errno == ENOENT
               || error_set(err, "%s: cannot remove: %s", p->state, error_reason(errno)))
           && partial_folder_commit(&p->building, err);
    partial_abandon(p);
    return ok;
}

void partial_abandon(struct partial *p)
{
    if (p->building.lock && p->state && !partial_has_state(p))
        clear(p->building.lock, true, 1);
    partial_folder_end(&p->building);
    free(p->state);
    *p = (struct partial){ 0 };
}
