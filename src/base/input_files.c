#include "base/input_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file_digest.h"
#include "base/memory.h"

void input_files_free(struct input_files *in)
{
    for (size_t i = 0; i < in->n; i++)
        free(in->list[i].path);
    free(in->list);
    *in = (struct input_files){ 0 };
}

/* ---- gathering ------------------------------------------------------------------- */

static bool append(struct input_files *in, const char *path, const struct input_file *file,
                   struct error *err)
{
    if (!mem_grow(&in->list, &in->capacity, in->n + 1, sizeof *in->list, "input files", err))
        return false;
    in->list[in->n] = *file;
    in->list[in->n].path = mem_string(path, err);
    return in->list[in->n].path && ++in->n;
}

/* Looks up the file or folder at path; false: nothing there can be an input. */
static bool look(struct input_file *file, const char *path)
{
    struct stat st;
    if (!path || strcmp(path, "-") == 0 || stat(path, &st) != 0
        || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)))
        return false;
    *file = (struct input_file){ .stamp = file_stamp_of(&st), .is_folder = S_ISDIR(st.st_mode) };
    return true;
}

bool input_files_add(struct input_files *in, const char *path, struct error *err)
{
    struct input_file file;
    /* If the file cannot be read, its reader says why. */
    if (!look(&file, path) || (!file.is_folder && !file_digest(&file.digest, path, NULL)))
        return true;
    return append(in, path, &file, err);
}

static bool is_data(const char *name)
{
    static const char *const ends[] = { ".json", ".safetensors", ".jinja", ".txt", ".model",
                                        ".gguf" };
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n > strlen(ends[i]) && strcmp(name + n - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

static bool add_names(struct input_files *in, const char *path, int depth, struct error *err)
{
    struct input_file file;
    char **names = NULL;
    size_t n = 0;
    bool ok = !look(&file, path) || append(in, path, &file, err);
    if (!ok || !path || !depth || !file_is_directory(path))
        return ok;
    file_list(&names, &n, path, "", NULL);
    for (size_t i = 0; ok && i < n; i++) {
        char *below = file_join(path, names[i], err);
        ok = below && (!(file_is_directory(below) || is_data(names[i]))
                       || add_names(in, below, depth - 1, err));
        free(below);
    }
    file_list_free(names, n);
    return ok;
}

bool input_files_add_names(struct input_files *in, const char *path, struct error *err)
{
    return add_names(in, path, 2, err);
}

bool input_files_add_in(struct input_files *in, const char *folder, const char *name,
                        struct error *err)
{
    char *path = file_join(folder, name, err);
    bool ok = path && input_files_add(in, path, err);
    free(path);
    return ok;
}

bool input_files_add_mapped(struct input_files *in, const struct mapped_file *f, struct error *err)
{
    const struct input_file file = { .stamp = f->stamp, .is_mapped = true };
    return append(in, f->path, &file, err);
}

bool input_files_add_all(struct input_files *in, const struct input_files *from, struct error *err)
{
    for (size_t i = 0; i < from->n; i++)
        if (!append(in, from->list[i].path, &from->list[i], err))
            return false;
    return true;
}

/* ---- refusals --------------------------------------------------------------------- */

static bool is_inode(const struct input_file *f, const struct stat *st)
{
    return f->stamp.device == st->st_dev && f->stamp.inode == st->st_ino;
}

bool input_files_refuse(const struct input_files *in, const char *real, const char *path,
                        struct error *err)
{
    struct stat st;
    if (!in || stat(real, &st) != 0)
        return true;
    for (size_t i = 0; i < in->n; i++)
        if (is_inode(&in->list[i], &st))
            return error_set(err, "%s: is an input (%s), which is not written over", path,
                             in->list[i].path);
    return true;
}

/* Gives the folder that holds `path`, with links resolved: cutting off its last name then goes one
 * folder up. */
static char *real_parent(const char *path, struct error *err)
{
    char *copy = mem_string(path, err);
    if (!copy)
        return NULL;
    char *slash = strrchr(copy, '/');
    if (slash)
        slash[slash == copy] = '\0';
    char *parent = realpath(slash ? copy : ".", NULL);
    free(copy);
    return parent;
}

/* Is the folder with this inode among those from `path` (real) up to the root? */
static bool is_above(const struct stat *folder, const char *path)
{
    char *at = strdup(path);
    bool found = false;
    while (at && !found) {
        struct stat st;
        found = stat(at, &st) == 0 && st.st_dev == folder->st_dev && st.st_ino == folder->st_ino;
        char *slash = strrchr(at, '/');
        if (!slash || !slash[1])
            break;
        slash[slash == at] = '\0';
    }
    free(at);
    return found;
}

static bool refuse_inside(const struct input_file *f, const char *path, const char *parent,
                          struct error *err)
{
    const struct stat st = { .st_dev = f->stamp.device, .st_ino = f->stamp.inode };
    return !f->is_folder || !is_above(&st, parent)
        || error_set(err, "%s: lies in %s, from which it is made", path, f->path);
}

static bool refuse_around(const struct input_file *f, const char *path, const struct stat *st,
                          struct error *err)
{
    if (is_inode(f, st))
        return error_set(err, "%s: is %s, from which it is made", path, f->path);
    char *real = realpath(f->path, NULL);
    bool holds = real && is_above(st, real);
    free(real);
    return !holds || error_set(err, "%s: holds %s, from which it is made", path, f->path);
}

bool input_files_refuse_folder(const struct input_files *in, const char *path, struct error *err)
{
    struct stat st;
    char *parent = in ? real_parent(path, err) : NULL;
    bool there = in && stat(path, &st) == 0, ok = true;
    for (size_t i = 0; parent && ok && i < in->n; i++)
        ok = refuse_inside(&in->list[i], path, parent, err)
          && (!there || refuse_around(&in->list[i], path, &st, err));
    free(parent);
    return ok;
}

/* ---- changes ----------------------------------------------------------------------- */

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool changed(const struct input_file *f, const char *what, struct error *err)
{
    return error_set(err, "%s: was changed while it was in use (%s); the results mix two "
                     "versions of it", f->path, what);
}

/* One check of all files, and the answer for mapped ones. */
struct check {
    const struct input_files_again *again;
    const struct progress *progress;
    bool asked, same;
};

static bool mapped_equal(const struct input_file *f, struct check *c, bool *same, struct error *err)
{
    if (c->again && !(c->asked && c->again->of_all)) {
        if (!c->again->same(c->again->user, f->path, &c->same, err))
            return false;
        c->asked = true;
    }
    *same = c->same;
    return true;
}

static bool hashes_equal(const struct input_file *f, struct check *c, bool *same, struct error *err)
{
    struct digest digest;
    *same = false;
    if (f->is_mapped)
        return mapped_equal(f, c, same, err);
    if (!file_digest(&digest, f->path, err))
        return false;
    *same = memcmp(&digest, &f->digest, sizeof digest) == 0;
    return true;
}

static bool check_file(struct input_file *f, struct check *c, struct error *err)
{
    struct stat st;
    if (stat(f->path, &st) != 0)
        return changed(f, error_reason(errno), err);
    if (!is_inode(f, &st))
        return changed(f, "another file has its name now", err);
    if (st.st_size != f->stamp.size)
        return changed(f, "it has another size", err);
    if (!same_time(st.st_mtim, f->stamp.mtime))
        return changed(f, "it has another time", err);
    if (same_time(st.st_ctim, f->stamp.ctime))
        return true;
    bool same;
    if (!hashes_equal(f, c, &same, err))
        return false;
    if (!same)
        return changed(f, "it has other bytes under its old time", err);
    struct error line = { 0 };
    error_set(&line, "%s: its inode was changed while it was in use (rights, name or time); its "
              "bytes were hashed again and are the same", f->path);
    if (c->progress && c->progress->warn)
        c->progress->warn(c->progress->user, line.message);
    f->stamp = file_stamp_of(&st);
    return true;
}

bool input_files_check(struct input_files *in, const struct input_files_again *again,
                       const struct progress *progress, struct error *err)
{
    struct check c = { .again = again, .progress = progress };
    for (size_t i = 0; i < in->n; i++)
        if (!in->list[i].is_folder && !check_file(&in->list[i], &c, err))
            return false;
    return true;
}
