#include "convert/other_files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/output_folder.h"
#include "base/temporary.h"
#include "formats/quantization_file.h"
#include "formats/safetensors_folder.h"
#include "formats/weight_list.h"

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

/* Files that the new config.json stands for, and what was made beside them. */
static bool is_replaced(const char *name)
{
    bool found = strcmp(name, "config.json") == 0 || strcmp(name, CHECKPOINT_INDEX) == 0
              || strcmp(name, OUTPUT_MARK) == 0;
    for (size_t i = 0; quantization_file_names[i]; i++)
        found = found || strcmp(name, quantization_file_names[i]) == 0;
    return found;
}

/* *wanted: it is to be copied; else it is one of the weights' files, or left out with a warning. */
static bool judge(bool *wanted, size_t *bytes, const struct checkpoint *ck, const char *name,
                  const struct progress *progress, struct error *err)
{
    *wanted = false;
    if (is_replaced(name))
        return true;
    char *path = file_join(ck->folder, name, err);
    struct stat st = { 0 };
    bool found = path && stat(path, &st) == 0, aside = is_aside(name);
    bool ok = path && (found || aside || error_set(err, "%s: %s", path, error_reason(errno)));
    if (ok && !found)
        warn(progress, ck->path, name, error_reason(errno));
    else if (ok && S_ISDIR(st.st_mode))
        warn(progress, ck->path, name, "a link to a folder, or one that may not be read");
    else if (ok && aside && (!S_ISREG(st.st_mode) || access(path, R_OK) != 0))
        warn(progress, ck->path, name, "not a regular file, or one that may not be read");
    else if (ok && weight_name_ends_with(name, CHECKPOINT_SUFFIX)) {
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
    if (ck->reader->is_self_described)
        return true;
    bool ok = file_list_below(&o->names, &n, ck->folder, err), wanted;
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

#define MOST_COPIES 3                   /* of a file whose inode is changed under the copy */

static bool copy_bytes(const struct mapped_file *f, struct output_file *out,
                       const struct progress *progress, size_t *done, size_t total,
                       struct error *err)
{
    for (size_t at = 0, n; at < f->size; at += n) {
        n = size_min(PIECE_BYTES, f->size - at);
        *done += n;
        if (!file_populate(f, at, n, err) || !output_file_write_at(out, at, f->data + at, n, err)
            || !progress_report(progress, "other files", (double)*done, (double)total, "bytes",
                                err))
            return false;
        file_release(f, at, n, false);
    }
    return true;
}

/* *again: the inode has changed since, perhaps with its bytes. */
static bool copy_once(const char *from, const char *to, const struct progress *progress,
                      size_t *done, size_t total, bool *again, struct error *err)
{
    struct input_files read = { 0 };
    struct mapped_file f;
    struct output_file out;
    if (!file_map(&f, from, err))
        return false;
    struct error why = { 0 };
    bool ok = output_file_create(&out, to, err), created = ok;
    ok = ok && input_files_add_mapped(&read, &f, err)
      && copy_bytes(&f, &out, progress, done, total, err);
    *again = ok && !input_files_check(&read, NULL, NULL, &why);
    if (created && (!ok || *again))
        output_file_abandon(&out);
    else
        ok = ok && output_file_commit(&out, err);
    if (*again)
        *err = why;
    input_files_free(&read);
    file_unmap(&f);
    return ok && !*again;
}

static bool copy(const char *from, const char *to, const struct progress *progress, size_t *done,
                 size_t total, struct error *err)
{
    size_t before = *done;
    bool again = true, ok = false;
    for (int i = 0; !ok && again && i < MOST_COPIES; i++) {
        *done = before;
        ok = copy_once(from, to, progress, done, total, &again, err);
    }
    return ok;
}

/* Creates the folder of `path`. */
static bool make_folder_of(char *path, struct error *err)
{
    char *slash = strrchr(path, '/');
    *slash = '\0';
    bool ok = output_folder_make(path, err);
    *slash = '/';
    return ok;
}

bool other_files_copy(const struct other_files *o, const char *from, const char *to,
                      const struct progress *progress, struct error *err)
{
    bool ok = true;
    size_t done = 0;
    for (size_t i = 0; ok && i < o->n; i++) {
        char *source = file_join(from, o->names[i], err), *target = file_join(to, o->names[i], err);
        ok = source && target && make_folder_of(target, err)
          && copy(source, target, progress, &done, o->bytes, err);
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
