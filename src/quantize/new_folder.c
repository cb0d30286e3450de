#include "quantize/new_folder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "quantize/other_files.h"

/* ---- where -------------------------------------------------------------------------- */

/* Gives the real path of the folder in which `path` stands or will. */
static char *real_parent(const char *path, struct error *err)
{
    char *copy = mem_string(path, err);
    if (!copy)
        return NULL;
    for (size_t n = strlen(copy); n > 1 && copy[n - 1] == '/'; n--)
        copy[n - 1] = '\0';
    char *slash = strrchr(copy, '/');
    if (slash)
        slash[slash == copy] = '\0';
    char *parent = realpath(slash ? copy : ".", NULL);
    if (!parent)
        error_set(err, "%s: %s", path, error_reason(errno));
    free(copy);
    return parent;
}

static bool is_within(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (!path[n] || path[n] == '/');
}

bool new_folder_check(const char *path, const struct checkpoint *ck, struct error *err)
{
    struct stat st;
    if (!*path)
        return error_set(err, "the name of the folder to write is empty");
    if (lstat(path, &st) == 0)
        return error_set(err, "%s: exists already, expected a new folder", path);
    char *parent = real_parent(path, err), *source = parent ? realpath(ck->path, NULL) : NULL;
    bool ok = source || !parent || error_set(err, "%s: %s", ck->path, error_reason(errno));
    if (source && is_within(parent, source))
        ok = error_set(err, "%s: lies in %s, from which it is made", path, ck->path);
    ok = ok && parent;
    free(parent);
    free(source);
    return ok;
}

/* ---- what an interrupted process left ------------------------------------------------------ */

static bool is_ours(const struct new_folder *f, const struct other_files *others, const char *name)
{
    char shard[SHARD_NAME_BYTES];
    const char *const fixed[] = { STATE_NAME, CHECKPOINT_INDEX, "config.json" };
    size_t n = strlen(name);
    const char *dot = NULL;                     /* NAME.PID.tmp, of file_create */
    if (name_ends_with(name, ".tmp") && (dot = memrchr(name, '.', n - 4)))
        n = (size_t)(dot - name);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        if (strlen(fixed[i]) == n && memcmp(fixed[i], name, n) == 0)
            return true;
    for (size_t i = 0; i < others->n; i++)
        if (strlen(others->names[i]) == n && memcmp(others->names[i], name, n) == 0)
            return true;
    for (size_t i = 0; i < f->work.layout->n_shards; i++) {
        layout_shard_name(shard, f->work.layout, i);
        if (strlen(shard) == n && memcmp(shard, name, n) == 0)
            return true;
    }
    return false;
}

/* Of an interrupted process's: the state, and the shards it names. */
static bool is_kept(const struct new_folder *f, const char *name)
{
    return strcmp(name, STATE_NAME) == 0 || json_get(shard_state_known(&f->state), name);
}

/* A folder that one of the other files is in. */
static bool is_folder_of(const struct other_files *others, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < others->n; i++)
        if (strncmp(others->names[i], name, n) == 0 && others->names[i][n] == '/')
            return true;
    return false;
}

/* Refuses what is not ours, before anything is touched: files, and folders that may be empty. */
static bool expect_ours(const struct new_folder *f, const struct other_files *others,
                        char *const *names, size_t n, struct error *err)
{
    char **top = NULL;
    size_t n_top = 0;
    const char *foreign = NULL;
    bool ok = file_list(&top, &n_top, f->partial.temporary, "", err);
    for (size_t i = 0; !foreign && i < n_top; i++)
        if (!is_ours(f, others, top[i]) && !is_folder_of(others, top[i]))
            foreign = top[i];
    for (size_t i = 0; !foreign && i < n; i++)
        if (!is_ours(f, others, names[i]))
            foreign = names[i];
    if (foreign)
        ok = error_set(err, "%s/%s: is nothing that surprisal left there; remove it",
                       f->partial.temporary, foreign);
    file_list_free(top, n_top);
    return ok;
}

/* Removes what is not kept. */
static bool clear(const struct new_folder *f, const struct other_files *others, struct error *err)
{
    char **names = NULL;
    size_t n = 0;
    bool ok = file_list_below(&names, &n, f->partial.temporary, err)
           && expect_ours(f, others, names, n, err);
    for (size_t i = 0; ok && i < n; i++) {
        if (is_kept(f, names[i]))
            continue;
        char *path = file_join(f->partial.temporary, names[i], err);
        ok = path && (unlink(path) == 0
                      || error_set(err, "%s: cannot remove: %s", path, error_reason(errno)));
        free(path);
    }
    file_list_free(names, n);
    return ok;
}

/* More than headers, index and config will have. */
static size_t text_bytes(const struct work *w)
{
    size_t n = strlen(w->config) + (64 << 10);
    for (size_t i = 0; i < w->layout->n_tensors; i++)
        n += 2 * strlen(w->layout->tensors[i].name) + 256;
    return n;
}

/* Space for all but what an earlier process has written. */
static bool check_space(const struct new_folder *f, size_t others, struct error *err)
{
    size_t needed = f->work.layout->bytes + text_bytes(&f->work) + others, size;
    const cJSON *item;
    cJSON_ArrayForEach(item, shard_state_known(&f->state)) {
        char *path = file_join(f->partial.temporary, item->string, NULL);
        if (path && is_regular_file(path, &size))
            needed -= size_min(needed, size);
        free(path);
    }
    struct statvfs fs;
    if (statvfs(f->partial.temporary, &fs) != 0)
        return error_set(err, "%s: %s", f->partial.temporary, error_reason(errno));
    size_t free_bytes;
    if (!size_product(&free_bytes, fs.f_bavail, fs.f_frsize) || free_bytes >= needed)
        return true;
    return error_set(err, "%s: needs %zu bytes, but only %zu are free there", f->path, needed,
                     free_bytes);
}

/* ---- shards ---------------------------------------------------------------------------------- */

static bool fill_shard(const struct new_folder *f, struct stream *s, size_t shard, const char *path,
                       struct error *err)
{
    const struct layout *l = f->work.layout;
    struct safetensors_writer w;
    size_t n;
    struct safetensors_entry *entries = layout_entries(&n, l, shard, err);
    bool ok = entries && safetensors_create(&w, path, entries, n, err);
    free(entries);
    if (!ok)
        return false;
    for (size_t i = 0; ok && i < l->n_tasks; i++)
        if (l->tensors[l->tasks[i].tensor].shard == shard)
            ok = stream_task(s, i, &w, err);
    if (ok)
        return safetensors_commit(&w, err);
    safetensors_abandon(&w);
    return false;
}

static bool write_shard(struct new_folder *f, struct stream *s, size_t shard, struct error *err)
{
    char name[SHARD_NAME_BYTES];
    layout_shard_name(name, f->work.layout, shard);
    char *path = file_join(f->partial.temporary, name, err);
    bool ok = path != NULL;
    size_t size = 0;
    if (ok && shard_state_holds(&f->state, name, path, s->n_threads)) {
        f->kept++;
        for (size_t i = 0; i < f->work.layout->n_tasks; i++)
            if (f->work.layout->tensors[f->work.layout->tasks[i].tensor].shard == shard)
                stream_skip(s, i);
    } else if (ok) {
        shard_state_forget(&f->state, name);
        if (unlink(path) != 0 && errno != ENOENT)
            ok = error_set(err, "%s: cannot remove: %s", path, error_reason(errno));
        ok = ok && fill_shard(f, s, shard, path, err)
          && (shard + 1 == f->work.layout->n_shards
              || shard_state_add(&f->state, name, path, s->n_threads, err));
    }
    if (ok && is_regular_file(path, &size))
        f->bytes += size;
    free(path);
    return ok;
}

/* ---- the rest ---------------------------------------------------------------------------------- */

static bool write_text(const struct new_folder *f, const char *name, const char *text,
                       struct error *err)
{
    char *path = file_join(f->partial.temporary, name, err);
    bool ok = path && file_write(path, text, strlen(text), err);
    free(path);
    return ok;
}

static int compare_names(const void *a, const void *b)
{
    const struct new_tensor *x = *(const struct new_tensor *const *)a;
    const struct new_tensor *y = *(const struct new_tensor *const *)b;
    return strcmp(x->name, y->name);
}

static bool append_index(struct buffer *b, const struct layout *l,
                         const struct new_tensor *const *sorted, struct error *err)
{
    bool ok = buffer_printf(b, err, "{\n  \"metadata\": {\n    \"total_size\": %zu\n  },\n"
                            "  \"weight_map\": {", l->bytes);
    for (size_t i = 0; ok && i < l->n_tensors; i++) {
        char shard[SHARD_NAME_BYTES];
        layout_shard_name(shard, l, sorted[i]->shard);
        ok = buffer_printf(b, err, i ? ",\n    " : "\n    ")
          && json_append_string(b, sorted[i]->name, strlen(sorted[i]->name), err)
          && buffer_printf(b, err, ": \"%s\"", shard);
    }
    return ok && buffer_printf(b, err, "\n  }\n}\n");
}

static bool write_index(const struct new_folder *f, struct error *err)
{
    const struct layout *l = f->work.layout;
    const struct new_tensor **sorted = mem_array(l->n_tensors, sizeof *sorted, "the index", err);
    struct buffer b = { 0 };
    for (size_t i = 0; sorted && i < l->n_tensors; i++)
        sorted[i] = &l->tensors[i];
    if (sorted)
        qsort(sorted, l->n_tensors, sizeof *sorted, compare_names);
    bool ok = sorted && append_index(&b, l, sorted, err)
           && write_text(f, CHECKPOINT_INDEX, b.data, err);
    buffer_free(&b);
    free(sorted);
    return ok;
}

static bool write_all(struct new_folder *f, struct stream *s, const struct other_files *others,
                      struct error *err)
{
    f->bytes = others->bytes;
    bool ok = shard_state_open(&f->state, f->partial.temporary, &f->work, f->resume, err)
           && clear(f, others, err)
           && check_space(f, others->bytes, err);
    for (size_t i = 0; ok && i < f->work.layout->n_shards; i++)
        ok = write_shard(f, s, i, err);
    return ok && other_files_copy(others, f->work.ck->path, f->partial.temporary, f->progress,
                                  err)
        && write_text(f, "config.json", f->work.config, err) && write_index(f, err)
        && shard_state_remove(&f->state, err) && partial_folder_commit(&f->partial, err);
}

bool new_folder_write(struct new_folder *f, struct stream *s, struct error *err)
{
    struct other_files others;
    bool listed = new_folder_check(f->path, f->work.ck, err)
               && other_files_list(&others, f->work.ck, f->progress, err);
    bool ok = listed && partial_folder_begin(&f->partial, f->path, err)
           && write_all(f, s, &others, err);
    partial_folder_end(&f->partial);
    shard_state_close(&f->state);
    if (listed)
        other_files_free(&others);
    return ok;
}
