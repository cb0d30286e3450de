#include "quantize/other_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quantize/modules.h"

#define PIECE_BYTES ((size_t)8 << 20)

static void warn(const struct progress *p, const char *folder, const char *name, const char *why)
{
    struct error line = { 0 };
    error_set(&line, "%s/%s: not copied: %s", folder, name, why);
    if (p && p->warn)
        p->warn(p->user, line.message);
}

/* What a loader may need is not left out in silence: hidden files and those in folders may be. */
static bool is_aside(const char *name)
{
    return name[0] == '.' || strchr(name, '/');
}

/* *wanted: it is to be copied; else it is one of the weights' files, or left out with a warning. */
static bool judge(bool *wanted, size_t *bytes, const struct checkpoint *ck, const char *name,
                  const struct progress *progress, struct error *err)
{
    *wanted = false;
    if (strcmp(name, "config.json") == 0 || strcmp(name, CHECKPOINT_INDEX) == 0
        || strcmp(name, STATE_NAME) == 0)
        return true;
    char *path = file_join(ck->path, name, err);
    struct stat st = { 0 };
    bool found = path && stat(path, &st) == 0, aside = is_aside(name);
    bool ok = path && (found || aside || error_set(err, "%s: %s", path, strerror(errno)));
    if (ok && !found)
        warn(progress, ck->path, name, strerror(errno));
    else if (ok && S_ISDIR(st.st_mode))
        warn(progress, ck->path, name, "a link to a folder, or one that may not be read");
    else if (ok && aside && (!S_ISREG(st.st_mode) || access(path, R_OK) != 0))
        warn(progress, ck->path, name, "not a regular file, or one that may not be read");
    else if (ok && name_ends_with(name, CHECKPOINT_SUFFIX)) {
        bool is_read = false;
        for (size_t i = 0; i < ck->n_files; i++)
            is_read = is_read || strcmp(ck->files[i].map.path, path) == 0;
        if (!is_read)
            warn(progress, ck->path, name, "weights that the checkpoint does not use");
    } else if (ok && !S_ISREG(st.st_mode))
        ok = error_set(err, "%s: is not a regular file", path);
    else if (ok) {
        *wanted = true;
        *bytes += (size_t)st.st_size;
    }
    free(path);
    return ok;
}

bool other_files_list(struct other_files *o, const struct checkpoint *ck,
                      const struct progress *progress, struct error *err)
{
    *o = (struct other_files){ 0 };
    size_t n = 0;
    bool ok = file_list_below(&o->names, &n, ck->path, err), wanted;
    for (size_t i = 0; i < n; i++) {
        char *name = o->names[i];
        wanted = false;
        ok = ok && judge(&wanted, &o->bytes, ck, name, progress, err);
        if (wanted)
            o->names[o->n++] = name;
        else
            free(name);
    }
    if (!ok)
        other_files_free(o);
    return ok;
}

static bool copy(const char *from, const char *to, const struct progress *progress, size_t *done,
                 size_t total, struct error *err)
{
    struct mapped_file f;
    struct output_file out;
    if (!file_map(&f, from, err))
        return false;
    bool ok = file_create(&out, to, err), created = ok;
    for (size_t at = 0, n; ok && at < f.size; at += n) {
        n = size_min(PIECE_BYTES, f.size - at);
        *done += n;
        ok = file_populate(&f, at, n, err) && file_write_at(&out, at, f.data + at, n, err)
          && progress_report(progress, "other files", (double)*done, (double)total, "bytes", err);
        file_release(&f, at, n, false);
    }
    if (created && !ok)
        file_abandon(&out);
    ok = ok && file_commit(&out, err);
    file_unmap(&f);
    return ok;
}

/* Of each folder that `path` names below `to`, outermost first. */
static bool each_folder(char *path, const char *to, bool (*act)(const char *folder),
                        const char *failed, struct error *err)
{
    bool ok = true;
    for (char *slash = path + strlen(to) + 1; ok && (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        ok = act(path) || error_set(err, "%s: %s: %s", path, failed, strerror(errno));
        *slash = '/';
    }
    return ok;
}

static bool make_folder(const char *folder)
{
    return mkdir(folder, 0777) == 0 || errno == EEXIST;
}

static bool sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

bool other_files_copy(const struct other_files *o, const char *from, const char *to,
                      const struct progress *progress, struct error *err)
{
    bool ok = true;
    size_t done = 0;
    for (size_t i = 0; ok && i < o->n; i++) {
        char *source = file_join(from, o->names[i], err), *target = file_join(to, o->names[i], err);
        ok = source && target && each_folder(target, to, make_folder, "cannot create", err)
          && copy(source, target, progress, &done, o->bytes, err)
          && each_folder(target, to, sync_folder, "cannot write", err);
        free(source);
        free(target);
    }
    return ok;
}

void other_files_free(struct other_files *o)
{
    file_list_free(o->names, o->n);
    *o = (struct other_files){ 0 };
}
