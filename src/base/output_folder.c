#include "base/output_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/json.h"
#include "base/output_file.h"
#include "base/temporary.h"

#define MOST_RACES 1000                 /* lost to other processes before giving up */

/* ---- the mark -------------------------------------------------------------------------- */

static char *mark_path(const struct output_folder *f, struct error *err)
{
    return file_join(f->building, OUTPUT_MARK, err);
}

/* Gives the text of the mark: the folder's inode first (temporary.c looks for it there), then kind
 * and content. */
static char *mark_text(const struct output_folder *f, const cJSON *content, struct error *err)
{
    struct stat st;
    char *text = NULL, *rest = NULL;
    if (fstat(f->lock, &st) != 0) {
        error_set(err, "%s: %s", f->building, error_reason(errno));
        return NULL;
    }
    rest = json_print_line(content);
    const char *comma = rest && strcmp(rest, "{}") == 0 ? "" : ",";
    if (!rest || asprintf(&text, "{\"folder\":\"%llu\",\"unfinished\":\"%s\"%s%s\n",
                          (unsigned long long)st.st_ino, f->kind, comma, rest + 1) < 0) {
        text = NULL;
        error_set(err, "out of memory: the mark of %s", f->building);
    }
    cJSON_free(rest);
    return text;
}

/* Replaces the mark.  The first one is written in place, in a folder that has no name yet, so that
 * a folder without a mark is always empty. */
static bool write_mark(const struct output_folder *f, const char *text, bool first,
                       struct error *err)
{
    char *path = mark_path(f, err);
    struct output_file file;
    bool ok = path != NULL;
    if (ok && first) {
        ok = output_file_create_in_place(&file, path, err);
        if (ok && output_file_write_at(&file, 0, text, strlen(text), err))
            ok = output_file_commit(&file, err);
        else if (ok) {
            output_file_abandon(&file);
            ok = false;
        }
    } else if (ok)
        ok = output_file_write(path, text, strlen(text), err);
    free(path);
    return ok;
}

bool output_folder_mark(struct output_folder *f, cJSON *content, struct error *err)
{
    char *text = content ? mark_text(f, content, err) : NULL;
    bool ok = content || error_set(err, "out of memory: the mark of %s", f->building);
    ok = text && write_mark(f, text, !f->mark, err);
    free(text);
    if (content != f->mark)
        cJSON_Delete(f->mark);
    f->mark = content;
    return ok;
}

const char *output_folder_marked(const struct output_folder *f, const char *key)
{
    return cJSON_GetStringValue(json_get(f->mark, key));
}

/* Reads the mark.  A link in its place does not count. */
static bool read_mark(struct output_folder *f, struct error *err)
{
    struct stat st;
    char *path = mark_path(f, err);
    bool there = path && lstat(path, &st) == 0 && S_ISREG(st.st_mode);
    f->mark = there ? json_read(path, err) : NULL;
    free(path);
    if (path && !there)
        error_set(err, "%s: was not left by surprisal (it has no %s), so nothing in it is touched; "
                  "remove it, or write elsewhere", f->building, OUTPUT_MARK);
    if (!f->mark)
        return false;
    const char *kind = output_folder_marked(f, "unfinished");
    if (!kind || strcmp(kind, f->kind) != 0)
        return error_set(err, "%s: holds an unfinished %s, expected an unfinished %s; remove it, "
                         "or write elsewhere", f->building, kind ? kind : "work of another version",
                         f->kind);
    cJSON_DeleteItemFromObjectCaseSensitive(f->mark, "folder");
    cJSON_DeleteItemFromObjectCaseSensitive(f->mark, "unfinished");
    return true;
}

/* ---- where -------------------------------------------------------------------------------- */

static char *parent_of(const char *path, struct error *err)
{
    char *copy = mem_string(path, err), *parent = copy ? mem_string(dirname(copy), err) : NULL;
    free(copy);
    return parent;
}

/* A plain rename would replace an empty folder that another process has just created.  If the file
 * system cannot rule that out, look first. */
static int rename_to_new(const char *from, const char *to)
{
    int failed = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (failed && (errno == EINVAL || errno == ENOSYS)) {
        struct stat st;
        failed = lstat(to, &st) == 0 ? (errno = EEXIST, -1) : rename(from, to);
    }
    return failed;
}

/* If a process was killed in its commit, the mark lies beside the folder: moves it back. */
static void move_mark_back(const struct output_folder *f, const char *parent)
{
    struct stat st;
    if (fstat(f->lock, &st) != 0)
        return;
    DIR *d = opendir(parent);
    char wanted[32];
    snprintf(wanted, sizeof wanted, "%llu", (unsigned long long)st.st_ino);
    for (const struct dirent *e; d && (e = readdir(d));) {
        struct stat of_file;
        char *path = temporary_is_name(e->d_name) ? file_join(parent, e->d_name, NULL) : NULL;
        bool is_file = path && lstat(path, &of_file) == 0 && S_ISREG(of_file.st_mode);
        cJSON *json = is_file ? json_read(path, NULL) : NULL;
        const char *folder = cJSON_GetStringValue(json_get(json, "folder"));
        char *to = folder && strcmp(folder, wanted) == 0 ? mark_path(f, NULL) : NULL;
        if (to)
            rename_to_new(path, to);
        free(to);
        cJSON_Delete(json);
        free(path);
    }
    if (d)
        closedir(d);
}

/* Removes the folder and everything in it.  Renames it to a temporary name first, so that a process
 * killed here leaves no OUT.partial without its mark. */
static void remove_all(struct output_folder *f)
{
    char *parent = parent_of(f->building, NULL);
    char *to = parent ? temporary_path(parent, NULL) : NULL;
    if (to && rename_to_new(f->building, to) == 0) {
        temporary_empty(f->lock);
        rmdir(to);
    }
    free(to);
    free(parent);
}

/* ---- beginning ------------------------------------------------------------------------------ */

enum attempt { FAILED, DONE, RACED };

/* Creates a folder with its mark under a temporary name, then renames it to f->building. */
static bool create_marked(struct output_folder *f, const char *parent, struct error *err)
{
    struct error why = { 0 };
    char *named = f->building;
    f->building = NULL;
    f->lock = temporary_create(&f->building, parent, true, &why);
    if (f->lock < 0) {
        f->building = named;
        return error_set(err, "%s: cannot create%s: %s", named ? named : parent,
                         named ? "" : " a temporary folder", why.message);
    }
    bool ok = output_folder_mark(f, cJSON_CreateObject(), err);
    if (ok && !named)
        return true;
    int failed = ok ? rename_to_new(f->building, named) : -1, reason = errno;
    if (failed) {
        if (ok)
            error_set(err, "%s: cannot create: %s", named, error_reason(reason));
        temporary_empty(f->lock);
        rmdir(f->building);
        close(f->lock);
        f->lock = -1;
    }
    free(f->building);
    f->building = named;
    errno = ok ? reason : 0;
    return !failed;
}

static enum attempt create(struct output_folder *f, const char *parent, struct error *err)
{
    if (create_marked(f, parent, err))
        return DONE;
    return errno == EEXIST || errno == ENOTEMPTY ? RACED : FAILED;
}

/* Locks an existing OUT.partial; RACED: it is gone. */
static enum attempt lock_existing(struct output_folder *f, bool resume, struct error *err)
{
    f->lock = open(f->building, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (f->lock < 0) {
        if (errno == ENOENT)
            return RACED;
        error_set(err, "%s: cannot open: %s", f->building, error_reason(errno));
        return FAILED;
    }
    enum temporary_lock lock = temporary_lock(f->lock);
    bool there = temporary_is_at(f->lock, f->building);
    if (lock == LOCK_HELD)
        error_set(err, "%s: another run is writing it", f->building);
    else if (there && lock == LOCK_IMPOSSIBLE && !resume)
        error_set(err, "%s: another run left it or is writing it, and this file system has no "
                  "locks to tell; --resume goes on with it, or remove it", f->building);
    else if (there)
        return DONE;
    close(f->lock);
    f->lock = -1;
    return there || lock == LOCK_HELD ? FAILED : RACED;
}

static enum attempt take_over(struct output_folder *f, const char *parent, bool resume,
                              struct error *err)
{
    enum attempt attempt = lock_existing(f, resume, err);
    if (attempt != DONE)
        return attempt;
    char *mark = mark_path(f, err);
    if (mark && !file_exists(mark))
        move_mark_back(f, parent);
    free(mark);
    f->taken_over = true;
    return mark && read_mark(f, err) ? DONE : FAILED;
}

static bool is_new(const char *path, struct error *err)
{
    struct stat st;
    return lstat(path, &st) != 0
        || error_set(err, "%s: exists already, expected a new folder", path);
}

static enum attempt begin_once(struct output_folder *f, const char *parent, bool resume,
                               struct error *err)
{
    struct stat st;
    if (!is_new(f->path, err))
        return FAILED;
    enum attempt attempt = lstat(f->building, &st) == 0 ? take_over(f, parent, resume, err)
                                                        : create(f, parent, err);
    /* Another run may have committed OUT between the two looks.  Now OUT.partial is ours, so no
     * other run can. */
    if (attempt != DONE || is_new(f->path, err))
        return attempt;
    if (!f->taken_over)
        remove_all(f);
    return FAILED;
}

static bool set_paths(struct output_folder *f, const char *path, struct error *err)
{
    if (!*path)
        return error_set(err, "the name of the folder to write is empty");
    f->path = mem_string(path, err);
    if (!f->path)
        return false;
    for (size_t n = strlen(f->path); n > 1 && f->path[n - 1] == '/'; n--)
        f->path[n - 1] = '\0';
    if (asprintf(&f->building, "%s.partial", f->path) >= 0)
        return true;
    f->building = NULL;
    return error_set(err, "out of memory: a path");
}

bool output_folder_begin(struct output_folder *f, const struct output_request *request,
                         struct error *err)
{
    *f = (struct output_folder){ .kind = request->kind, .lock = -1 };
    bool ok = set_paths(f, request->path, err) && is_new(f->path, err);
    char *parent = ok ? parent_of(f->path, err) : NULL;
    enum attempt attempt = FAILED;
    if (parent && input_files_refuse_folder(request->inputs, f->path, err)
        && input_files_refuse_folder(request->inputs, f->building, err)) {
        attempt = RACED;
        for (int i = 0; attempt == RACED && i < MOST_RACES; i++)
            attempt = begin_once(f, parent, request->resume, err);
        if (attempt == RACED)
            error_set(err, "%s: other runs keep creating and removing it", f->building);
        /* Only now: begin_once may have needed a mark that lay there under a temporary name. */
        temporary_sweep(parent, request->progress);
    }
    free(parent);
    if (attempt == DONE)
        return true;
    output_folder_end(f);
    return false;
}

bool output_folder_scratch(struct output_folder *f, const char *parent, const char *kind,
                           const struct progress *progress, struct error *err)
{
    *f = (struct output_folder){ .kind = kind, .lock = -1 };
    temporary_sweep(parent, progress);
    if (create_marked(f, parent, err))
        return true;
    output_folder_end(f);
    return false;
}

/* ---- what is in it ------------------------------------------------------------------------- */

/* One walk checks that all names are ours; a second one removes. */
struct walk {
    const struct output_names *names;
    size_t n_folder;            /* bytes of each path that are not part of the name */
    bool remove;
    struct error *err;
};

static bool walk(const struct walk *w, const char *folder);

/* Ours by name alone: the mark, a temporary, and anything inside a temporary. */
static bool is_known(const char *name)
{
    if (strcmp(name, OUTPUT_MARK) == 0)
        return true;
    for (const char *part = name, *slash; part; part = slash ? slash + 1 : NULL) {
        char one[TEMPORARY_NAME_BYTES];
        slash = strchr(part, '/');
        size_t n = slash ? (size_t)(slash - part) : strlen(part);
        snprintf(one, sizeof one, "%.*s", (int)size_min(n, sizeof one), part);
        if (n < sizeof one && temporary_is_name(one))
            return true;
    }
    return false;
}

static bool visit(const struct walk *w, const char *path, bool is_folder)
{
    const struct output_names *names = w->names;
    const char *name = path + w->n_folder;
    char *spelled;
    if (asprintf(&spelled, "%s%s", name, is_folder ? "/" : "") < 0)
        return error_set(w->err, "out of memory: a path");
    bool known = is_known(name), ours = known || names->is_ours(names->user, spelled);
    bool kept = strcmp(name, OUTPUT_MARK) == 0
             || (!known && names->is_kept && names->is_kept(names->user, spelled));
    free(spelled);
    if (!ours)
        return w->remove || error_set(w->err, "%s: was not left by surprisal; remove it", path);
    if (is_folder && !walk(w, path))
        return false;
    if (!w->remove || kept)
        return true;
    bool gone = (is_folder ? rmdir(path) : unlink(path)) == 0 || errno == ENOENT
             || (is_folder && (errno == ENOTEMPTY || errno == EEXIST));
    return gone || error_set(w->err, "%s: cannot remove: %s", path, error_reason(errno));
}

static bool walk(const struct walk *w, const char *folder)
{
    DIR *d = opendir(folder);
    if (!d)
        return error_set(w->err, "%s: %s", folder, error_reason(errno));
    bool ok = true;
    for (const struct dirent *e; ok && (e = readdir(d));) {
        struct stat st;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        char *path = file_join(folder, e->d_name, w->err);
        ok = path
          && (lstat(path, &st) == 0 ? visit(w, path, S_ISDIR(st.st_mode)) : errno == ENOENT);
        free(path);
    }
    closedir(d);
    return ok;
}

static bool walk_all(const struct output_folder *f, const struct output_names *names, bool remove,
                     struct error *err)
{
    const struct walk w = { names, strlen(f->building) + 1, remove, err };
    return walk(&w, f->building);
}

bool output_folder_clear(const struct output_folder *f, const struct output_names *names,
                         struct error *err)
{
    return walk_all(f, names, false, err) && walk_all(f, names, true, err);
}

bool output_folder_make(const char *path, struct error *err)
{
    char *copy = mem_string(path, err);
    bool ok = copy != NULL;
    for (char *slash = copy; ok && (slash = strchr(slash + 1, '/'));) {
        *slash = '\0';
        ok = mkdir(copy, 0777) == 0 || file_is_directory(copy)
          || error_set(err, "%s: cannot create: %s", copy, error_reason(errno));
        *slash = '/';
    }
    ok = ok && (mkdir(path, 0777) == 0 || file_is_directory(path)
                || error_set(err, "%s: cannot create: %s", path, error_reason(errno)));
    free(copy);
    return ok;
}

bool output_folder_space(size_t *bytes, const char *folder, struct error *err)
{
    struct statvfs fs;
    if (statvfs(folder, &fs) != 0)
        return error_set(err, "%s: cannot tell its free space: %s", folder, error_reason(errno));
    if (!size_product(bytes, fs.f_bavail, fs.f_frsize))
        *bytes = SIZE_MAX;
    return true;
}

/* ---- the end ------------------------------------------------------------------------------- */

/* The mark, moved beside the folder under a temporary name, and locked against sweeps. */
struct moved_mark {
    char *from, *to;            /* owned */
    int fd;
};

static void moved_mark_free(struct moved_mark *m)
{
    if (m->fd >= 0)
        close(m->fd);
    free(m->from);
    free(m->to);
}

static bool move_mark(struct moved_mark *m, const struct output_folder *f, const char *parent,
                      struct error *err)
{
    *m = (struct moved_mark){ .fd = -1 };
    if (!(m->from = mark_path(f, err)) || !(m->to = temporary_path(parent, err)))
        return false;
    m->fd = open(m->from, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (m->fd >= 0)
        temporary_lock(m->fd);
    return rename_to_new(m->from, m->to) == 0
        || error_set(err, "%s: cannot rename: %s", m->from, error_reason(errno));
}

/* Gives the folder its name; if that fails, puts the mark back. */
static bool leave(const struct output_folder *f, const char *parent, struct error *err)
{
    struct moved_mark m;
    bool ok = move_mark(&m, f, parent, err);
    if (ok && rename_to_new(f->building, f->path) != 0) {
        ok = error_set(err, "%s: cannot rename to it: %s; everything is complete in %s, and the "
                       "same command with --resume gives it its name", f->path, error_reason(errno),
                       f->building);
        rename_to_new(m.to, m.from);
    } else if (ok) {
        temporary_sync(parent);
        unlink(m.to);
    }
    moved_mark_free(&m);
    return ok;
}

bool output_folder_commit(struct output_folder *f, const char *state, struct error *err)
{
    char *parent = parent_of(f->path, err);
    bool ok = parent
           && (fsync(f->lock) == 0
               || error_set(err, "%s: cannot write: %s", f->building, error_reason(errno)))
           && (!state || temporary_remove(state, err)) && leave(f, parent, err);
    free(parent);
    if (ok) {
        free(f->building);
        f->building = NULL;
        output_folder_end(f);
    }
    return ok;
}

void output_folder_discard(struct output_folder *f, const struct output_names *names)
{
    const struct output_names all = { .is_ours = names->is_ours, .user = names->user };
    if (f->building && walk_all(f, &all, false, NULL))
        remove_all(f);
    else if (f->building)
        walk_all(f, &all, true, NULL);
    output_folder_end(f);
}

void output_folder_end(struct output_folder *f)
{
    if ((f->path || f->building) && f->lock >= 0)
        close(f->lock);
    cJSON_Delete(f->mark);
    free(f->building);
    free(f->path);
    *f = (struct output_folder){ .lock = -1 };
}
